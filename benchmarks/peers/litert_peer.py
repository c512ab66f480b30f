"""LiteRT (TensorFlow Lite) on the file that TensorFlow converts the Keras network to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ai_edge_litert.interpreter import Interpreter

from benchmarks.peers import exports
from benchmarks.workload import Workload


class LiteRT:
    """See `peers`."""

    def __init__(self, workload: Workload, file: str, threads: int) -> None:
        self.workload, self.file, self.threads = workload, file, threads

    def inference(self, batch: int) -> Callable[[], Any]:
        path = exports.path(self.workload, self.file, batch)
        interpreter = Interpreter(model_path=path, num_threads=self.threads)
        interpreter.allocate_tensors()
        entrance = interpreter.get_input_details()[0]["index"]
        exit_ = interpreter.get_output_details()[0]["index"]
        pixels = self.workload.pixels(batch)

        def answer() -> Any:
            interpreter.set_tensor(entrance, pixels)
            interpreter.invoke()
            return interpreter.get_tensor(exit_)

        return answer


def open(workload: Workload, flavour: str, threads: int) -> LiteRT:
    return LiteRT(workload, flavour, threads)
