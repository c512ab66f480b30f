"""ONNX Runtime on a model file, with every graph optimisation it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime

from benchmarks.peers import exports
from benchmarks.workload import Workload


class OnnxRuntime:
    """See `peers`. It is given pixels as the file's first input wants them."""

    def __init__(self, workload: Workload, file: str, threads: int) -> None:
        self.workload, self.file, self.threads = workload, file, threads

    def inference(self, batch: int) -> Callable[[], Any]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        path = exports.path(self.workload, self.file, batch)
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        wanted = session.get_inputs()[0]
        pixels = exports.pixels_for(self.workload, batch, wanted.shape, "uint8" in wanted.type)
        outputs = [session.get_outputs()[0].name]
        given = {wanted.name: pixels}
        return lambda: np.asarray(session.run(outputs, given)[0])


def open(workload: Workload, flavour: str, threads: int) -> OnnxRuntime:
    return OnnxRuntime(workload, flavour, threads)
