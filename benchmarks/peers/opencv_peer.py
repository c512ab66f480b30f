"""OpenCV's dnn module on the ONNX file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2

from benchmarks.peers import exports
from benchmarks.workload import Workload


class OpenCV:
    """See `peers`."""

    def __init__(self, workload: Workload, file: str) -> None:
        self.workload, self.file = workload, file

    def inference(self, batch: int) -> Callable[[], Any]:
        net = cv2.dnn.readNetFromONNX(exports.path(self.workload, self.file, batch))
        pixels = self.workload.pixels(batch, "NCHW")

        def answer() -> Any:
            net.setInput(pixels)
            return net.forward()

        return answer


def open(workload: Workload, flavour: str, threads: int) -> OpenCV:
    cv2.setNumThreads(threads)
    return OpenCV(workload, flavour)
