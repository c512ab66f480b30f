"""From faces to ages on a GPU, by launches or as a CUDA graph.

A pass of SSR-Net is a dozen small kernels; starting them one by one takes the host longer than a
GPU needs to run them. A graph is recorded once for a batch size and started as a whole.
"""

from __future__ import annotations

import copy
import threading
from typing import Any

import numpy as np

from minissr.autograd.function import no_grad
from minissr.data.preprocessing import Preprocessing
from minissr.kernels import cuda
from minissr.nn.module import Module


class DeviceRun:
    """Ages by the network's own kernels on the device.

    Parameters
    ----------
    model : Module
        With its weights on the device. It is copied, in evaluation mode.
    preprocessing : Preprocessing, optional
        What the network wants its pixels to be; RGB in 0..255 by default.
    graph : bool
        Record each batch size's kernels as a CUDA graph. Off by default: no graph of these kernels
        has run on hardware yet (`benchmarks.gpu_check` tries it).
    """

    def __init__(
        self, model: Module, preprocessing: Preprocessing | None = None, graph: bool = False
    ) -> None:
        self.model = copy.deepcopy(model).eval()
        self.preprocessing = preprocessing or Preprocessing()
        self.recorded: dict[tuple[Any, ...], Recorded] | None = {} if graph else None

    def __call__(self, faces: np.ndarray, ages: np.ndarray) -> None:
        """Write the ages (N,) of faces (N, S, S, 3), uint8 RGB, in years."""
        p = self.preprocessing
        pixels = np.ascontiguousarray(p.arrange(faces))
        if (p.scale, p.offset) != (1.0, 0.0):
            pixels = pixels * np.float32(p.scale) + np.float32(p.offset)
        if self.recorded is None:
            ages[...] = self.answer(cuda.xp().asarray(pixels)).get()
            return
        key = (pixels.shape, pixels.dtype)
        if key not in self.recorded:
            self.recorded[key] = Recorded(self.answer, pixels)
        ages[...] = self.recorded[key](pixels)

    def answer(self, pixels: Any) -> Any:
        """Pixels on the device -> ages on the device."""
        with no_grad():
            return self.model(pixels).data


class Recorded:
    """A function of one array on the device, recorded as a graph.

    Parameters
    ----------
    function : callable
        Of kernels of ours alone: nothing in it may copy from or to the host.
    example : ndarray
        Its argument, of the shape and dtype that every later one has.

    Notes
    -----
    It is run once before it is recorded, so that kernels are compiled, constants copied, and the
    memory pool has blocks of all sizes. The pool belongs to this graph: what the recorded kernels
    write to must not be given to anybody else. Input and output belong to one call at a time.
    """

    def __init__(self, function: Any, example: np.ndarray) -> None:
        cp = cuda.xp()
        # A stream that waits for no other: what made the function's weights has to be done.
        cp.cuda.get_current_stream().synchronize()
        self.stream = cp.cuda.Stream(non_blocking=True)
        self.pool = cp.cuda.MemoryPool()
        with self.stream, cp.cuda.using_allocator(self.pool.malloc):
            self.input = cp.empty(example.shape, example.dtype)
            self.input.set(example, stream=self.stream)
            function(self.input)
            self.stream.synchronize()
            self.stream.begin_capture()
            self.output = function(self.input)
            self.graph = self.stream.end_capture()
        self.lock = threading.Lock()

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """The function's result for `values`, in the host's memory."""
        with self.lock:
            self.input.set(values, stream=self.stream)
            self.graph.launch(self.stream)
            result: np.ndarray = self.output.get(stream=self.stream)
            self.stream.synchronize()
        return result
