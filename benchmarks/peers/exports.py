"""Model files for the runtimes that only run what others wrote.

`python -m benchmarks.peers.exports FOLDER FILE BATCH...` writes `FILE` for each batch size in a
process of its own, so that no runtime is timed with a second framework loaded beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workload import Workload

FILES = ("torch.onnx", "ours.onnx", "keras.tflite")


def path(workload: Workload, file: str, batch: int) -> str:
    """Where the file for a batch size lies."""
    return str(workload.folder / f"{batch}-{file}")


def pixels_for(workload: Workload, batch: int, shape: list[Any], integers: bool) -> np.ndarray:
    """The faces as a file's input wants them: (N, 3, 64, 64) or (N, 64, 64, 3), bytes or floats."""
    order = "NCHW" if shape[1] == 3 else "NHWC"
    pixels = workload.pixels(batch, order)
    return pixels.astype(np.uint8) if integers else pixels


def write(workload: Workload, file: str, batches: list[int]) -> None:
    """Write a model file for each batch size."""
    if file == "torch.onnx":
        from benchmarks.peers.torch_peer import Torch

        for batch in batches:
            Torch(workload, "eager").export(path(workload, file, batch), batch)
    elif file == "keras.tflite":
        from benchmarks.peers.keras_peer import Keras

        for batch in batches:
            Keras(workload).convert(path(workload, file, batch), batch)
    else:
        write_ours(workload, file, batches)


def write_ours(workload: Workload, file: str, batches: list[int]) -> None:
    """By `minissr.export`, with float pixels, so that no cast is timed."""
    from benchmarks.peers.ours import Ours
    from minissr.data.preprocessing import Preprocessing
    from minissr.exporting.onnx_file import to_onnx

    written = to_onnx(Ours(workload, "numpy").model(), Preprocessing(), input_type="float32")
    for batch in batches:
        Path(path(workload, file, batch)).write_bytes(written)


if __name__ == "__main__":
    folder, chosen, *sizes = sys.argv[1:]
    write(Workload(Path(folder)), chosen, [int(size) for size in sizes])
