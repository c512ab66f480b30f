"""OpenVINO on the ONNX file, in float32, for the lowest latency."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openvino

from benchmarks.peers import exports
from benchmarks.workload import Workload


class OpenVino:
    """See `peers`."""

    def __init__(self, workload: Workload, file: str, threads: int) -> None:
        self.workload, self.file, self.threads = workload, file, threads
        self.core = openvino.Core()

    def inference(self, batch: int) -> Callable[[], Any]:
        compiled = self.core.compile_model(
            exports.path(self.workload, self.file, batch),
            "CPU",
            {
                "INFERENCE_NUM_THREADS": self.threads,
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )
        request = compiled.create_infer_request()
        pixels = self.workload.pixels(batch, "NCHW")
        return lambda: request.infer({0: pixels}, share_inputs=True)[0]


def open(workload: Workload, flavour: str, threads: int) -> OpenVino:
    return OpenVino(workload, flavour, threads)
