import importlib.util
import re

from conftest import ROOT, run


def test_the_examples_of_the_readme_run(model, tmp_path):
    run("run", "examples/quickstart.yaml", "--set", f"stages.sink_shards.path={tmp_path / 'quickstart'}", "--progress", "plain")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "python/README.md").read_text(), re.DOTALL)
    assert len(blocks) == 5
    names = {}
    for block in blocks:
        if "xares" in block and importlib.util.find_spec("torch") is None:
            continue
        block = block.replace("out/quickstart", str(tmp_path / "quickstart")).replace("out/train", str(model))
        exec(compile(block, "python/README.md", "exec"), names)
    assert names["picture"].shape == names["row"]["mel"].shape == (512, 96)
    assert names["batch"]["mel"].shape[1:] == (512, 64)
