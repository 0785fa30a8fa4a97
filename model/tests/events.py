"""Prints what TensorBoard sees in a folder of event files, as JSON: scalars, pictures and texts by tag."""

import json
import sys

from tensorboard.backend.event_processing import event_accumulator
from tensorboard.util import tensor_util

seen = event_accumulator.EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "images": 0, "tensors": 0})
seen.Reload()
tags = seen.Tags()
texts = {tag: [(e.step, tensor_util.make_ndarray(e.tensor_proto)[0].decode()) for e in seen.Tensors(tag)] for tag in tags["tensors"]}
print(json.dumps({
    "scalars": {tag: [(e.step, e.wall_time, repr(e.value)) for e in seen.Scalars(tag)] for tag in tags["scalars"]},
    "pictures": {tag: [(e.step, e.width, e.height, list(e.encoded_image_string)) for e in seen.Images(tag)] for tag in tags["images"]},
    "texts": texts,
}))
