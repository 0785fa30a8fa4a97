"""What the tests work on: shards and a small training, made by the built program from the shipped clips."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

LOW = """
pipeline: low
seed: 3
stages:
  - { id: clips, type: source_folder, path: datasets/sample, labels: parent_dir }
  - { type: decode }
  - { type: resample, rate_hz: 16000 }
  - { type: crop, seconds: 2, position: sliding }
  - { id: mel, type: log_mel, rate_hz: 16000, seconds: 2, frames: 64, n_mels: 32 }
  - { id: out, type: sink_shards, path: out/low, dtype: f16 }
resources: { clips_per_shard: 16 }
"""


def program():
    """The built `ajepa-pipe`."""
    named = os.environ.get("AJEPA_PIPE")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "ajepa-pipe"
    found = named or (str(target) if target.exists() else shutil.which("ajepa-pipe"))
    assert found, "no ajepa-pipe: build it, or name it in AJEPA_PIPE"
    return found


def run(*args):
    """Runs the program from the root of the project."""
    done = subprocess.run([program(), *map(str, args)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session", autouse=True)
def _at_root():
    os.chdir(ROOT)


@pytest.fixture(scope="session")
def low_yaml(tmp_path_factory):
    path = tmp_path_factory.mktemp("graph") / "low.yaml"
    path.write_text(LOW)
    return path


@pytest.fixture(scope="session")
def shards(tmp_path_factory, low_yaml):
    """81 rows [64, 32] of float16, in several parts."""
    folder = tmp_path_factory.mktemp("shards") / "low"
    run("run", low_yaml, "--set", f"stages.out.path={folder}", "--progress", "plain")
    return folder


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """A training of two steps."""
    folder = tmp_path_factory.mktemp("model") / "model"
    sets = [f"stages.model.path={folder}", "stages.model.steps=2", "stages.model.save_every=2"]
    run("run", "examples/train.yaml", "--progress", "plain", *[word for one in sets for word in ("--set", one)])
    return folder


def graph(tmp_path, *stages):
    """A graph of `stages` over the shipped clips that keeps nothing."""
    lines = ["stages:", "  - { type: source_folder, path: datasets/sample, labels: parent_dir }"]
    lines += [f"  - {stage}" for stage in (*stages, "{ type: sink_null }")]
    path = tmp_path / f"graph-{len(list(tmp_path.iterdir()))}.yaml"
    path.write_text("\n".join(lines))
    return path
