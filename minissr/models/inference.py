"""From faces to ages as fast as this machine can: what predict, serve and demo use.

The engine takes a trained SSR-Net apart once, folds every batch norm into its convolution, and lays
all numbers out as `kernels.inference` wants them. After that a call is one kernel.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any, cast

import numpy as np

from minissr.autograd.function import no_grad
from minissr.data.preprocessing import Preprocessing
from minissr.kernels.backend import array_module, cpu_backend
from minissr.kernels.head.composed import ACTIVATIONS, codes
from minissr.models.device_inference import DeviceRun
from minissr.models.heads import FusionBlock
from minissr.models.ssrnet import SSRNet
from minissr.nn.layers import StreamBlock
from minissr.nn.module import Module

CENTRE = 128.0  # the kernel reads pixels as pixel - 128


class InferenceEngine:
    """A trained network as a function of faces.

    Parameters
    ----------
    model : Module
        In evaluation mode: its moving statistics are used. What `fits` runs on the fused kernel,
        any other network, or another backend, on its own layers.
    preprocessing : Preprocessing
        What the network wants its pixels to be; RGB in 0..255 by default.
    graph : bool
        For a network on a GPU: start its kernels as one CUDA graph; see `DeviceRun`.

    Attributes
    ----------
    fused : bool
        Whether the fused kernel is used.

    Notes
    -----
    The network is copied: training it further doesn't change the engine. Calls may come from
    several threads at once. The ages don't depend on the number of threads, nor on which other
    faces are in the batch.

    Examples
    --------
    >>> engine = InferenceEngine(model)                      # doctest: +SKIP
    >>> engine(faces)                                        # doctest: +SKIP
    array([31.4, 8.9], dtype=float32)
    """

    def __init__(
        self, model: Module, preprocessing: Preprocessing | None = None, graph: bool = False
    ) -> None:
        preprocessing = Preprocessing() if preprocessing is None else preprocessing
        self.size = preprocessing.size
        self._run: Callable[[np.ndarray, np.ndarray], None]
        if array_module(next(model.parameters()).data) is not np:
            self.fused, self._run = False, DeviceRun(model, preprocessing, graph)
        elif fits(model, preprocessing):
            self.fused, self._run = True, FusedRun(Plan(cast(SSRNet, model), preprocessing))
        else:
            self.fused, self._run = False, LayerRun(model, preprocessing)

    def __call__(self, faces: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Ages in years, not clamped.

        Parameters
        ----------
        faces : ndarray (N, size, size, 3), uint8
            RGB, whatever the network eats.
        out : ndarray (N,), float32, optional
            Where to write the ages.

        Returns
        -------
        ndarray (N,), float32
        """
        faces = np.asarray(faces)
        if faces.dtype != np.uint8 or faces.shape[1:] != (self.size, self.size, 3):
            raise ValueError(
                f"faces of shape {faces.shape} and dtype {faces.dtype}; "
                f"expected (N, {self.size}, {self.size}, 3) and uint8"
            )
        ages = np.empty(len(faces), np.float32) if out is None else out
        if len(faces):
            self._run(np.ascontiguousarray(faces), ages)
        return ages


class LayerRun:
    """Ages by the network's own layers."""

    def __init__(self, model: Module, preprocessing: Preprocessing) -> None:
        self.model = copy.deepcopy(model).eval()
        self.preprocessing = preprocessing

    def __call__(self, faces: np.ndarray, ages: np.ndarray) -> None:
        p = self.preprocessing
        pixels = p.arrange(faces)
        if (p.scale, p.offset) != (1.0, 0.0):
            pixels = pixels * np.float32(p.scale) + np.float32(p.offset)
        with no_grad():
            ages[...] = self.model(pixels).numpy()


def fits(model: Module, preprocessing: Preprocessing) -> bool:
    """Whether the fused kernel computes this network, here and now: an SSR-Net of whole registers
    and 3x3 windows, no part of it replaced, in NumPy arrays, where Numba is the backend."""
    if not isinstance(model, SSRNet) or not model.may_fuse or cpu_backend() != "numba":
        return False
    from minissr.kernels.simd import LANES

    streams = model.streams
    shapes = [block.conv.w.shape for block in (*streams.s, *streams.x)]
    whole = all(shape[:2] == (3, 3) and shape[3] % LANES == 0 for shape in shapes)
    named = {name for stage in model.stages for name in stage.prediction.activations}
    usual = streams.differ and named <= {*ACTIVATIONS, "none"}
    here = array_module(next(model.parameters()).data) is np and model.dtype == np.float32
    return whole and usual and here and model.settings.image_size == preprocessing.size


class Plan:
    """A network as the kernel's tables and flat arrays.

    Attributes
    ----------
    blocks, stages : record arrays
        Of `BLOCK` and `STAGE` in `kernels.inference.numba_simd`.
    numbers : ndarray (P,), float32
        Weights and biases.
    formula : ndarray (5,), float32
        min_age, max_age, c_delta, c_eta, floor.
    scratch_size : int
        Numbers of scratch an image needs.
    """

    def __init__(self, model: SSRNet, preprocessing: Preprocessing) -> None:
        from minissr.kernels.inference import numba_simd as kernel

        self.kernel = kernel
        self.scratch_size = 0
        self._pieces: list[np.ndarray] = []
        self._size = 0
        self.places: dict[int, list[int]] = {}
        self.sizes = read_sizes(model)
        self.widths = {0: model.settings.image_size}
        self.blocks = self.plan_blocks(model, preprocessing)
        self.stages = np.array(
            [
                self.plan_stage(stage, level)
                for stage, level in zip(model.stages, model.levels, strict=True)
            ],
            kernel.STAGE,
        )
        self.numbers = aligned((1, self._size))[0]
        np.concatenate(self._pieces, out=self.numbers)
        s = model.settings
        floor = s.floor if s.floor > 0 else -np.inf
        constants = (s.min_age, s.max_age, s.lambda_d, s.lambda_local, floor)
        self.formula = np.array(constants, np.float32)

    def keep(self, array: np.ndarray) -> int:
        """Put an array's numbers away; their place."""
        flat = np.asarray(array, np.float32).reshape(-1)
        padding = np.zeros(-flat.size % 16, np.float32)  # so that the next starts a cache line
        place, self._size = self._size, self._size + flat.size + padding.size
        self._pieces += [flat, padding]
        return place

    def room(self, count: int) -> int:
        """Reserve scratch; its place."""
        place = self.scratch_size
        self.scratch_size += -(-count // 16) * 16
        return place

    def plan_blocks(self, model: SSRNet, preprocessing: Preprocessing) -> np.ndarray:
        """The records of both streams' blocks, level by level, X before S."""
        winograd = self.kernel.winograd
        pixels = self.room(model.settings.image_size**2 * 3)
        self.places[0] = [pixels, pixels]
        records, work = [], 0
        for level, pair in enumerate(zip(model.streams.x, model.streams.s, strict=True), start=1):
            size, pools = self.sizes[level], pair[0].pool != "none"
            numbers = [folded(block, preprocessing if level == 1 else None) for block in pair]
            if level == 1:  # side by side
                both = [np.concatenate(one, axis=-1) for one in zip(*numbers, strict=True)]
                places = [tuple(map(self.keep, both))] * 2
            else:
                if pools:
                    numbers = [winograd.transformed(*one) for one in numbers]
                places = [(self.keep(w), self.keep(bias)) for w, bias in numbers]
            self.places[level] = []
            for stream, block in enumerate(pair):
                channels, filters = block.conv.w.shape[2:]
                if level > 1 and pools:
                    work = max(work, winograd.room(channels, filters))
                output = self.room(size * size * filters)
                self.places[level].append(output)
                before = self.places[level - 1][stream], self.widths[level - 1]
                records.append((*before, channels, *places[stream], filters, output, size, pools))
            self.widths[level] = size
        place = self.room(work)
        return np.array([(*record, place) for record in records], self.kernel.BLOCK)

    def plan_stage(self, stage: FusionBlock, level: int) -> tuple[Any, ...]:
        """The record of one stage."""
        lanes = self.kernel.LANES
        convs = (stage.conv_x, stage.conv_s)
        compact = convs[0].w.shape[3]
        wide = -(-compact // lanes) * lanes
        spare = [(0, 0), (0, wide - compact)]
        weights = [self.keep(np.pad(conv.w.data[0, 0], spare)) for conv in convs]
        biases = [self.keep(np.pad(bias_of(conv), spare[1])) for conv in convs]
        prediction, bins = stage.prediction, stage.prediction.p.w.shape[1]
        of_s, of_x, of_mix, of_p = prediction.activations
        cells = stage.delta.w.shape[0] // compact
        grid = round(cells**0.5)

        def transposed(w: np.ndarray) -> np.ndarray:
            """(cells x compact, units) -> (units, cells x wide)."""
            apart = w.reshape(cells, compact, -1).transpose(2, 0, 1)
            return np.pad(apart, [(0, 0), *spare])

        parts: list[np.ndarray] = []
        for layer in (prediction.x, prediction.s, stage.delta):
            parts += [transposed(layer.w.data), bias_of(layer)]
        for small in (prediction.mix, prediction.p, prediction.eta):
            parts += [small.w.data, bias_of(small)] if small else []
        dense = self.keep(np.concatenate([part.reshape(-1) for part in parts]))
        mixed = prediction.mix.w.shape[1] if prediction.mix else 0
        features = [self.room(cells * wide) for _ in convs]
        return (
            self.places[level], [self.widths[level]] * 2, [conv.w.shape[2] for conv in convs],
            weights, biases, features, level, wide, stage.pool, grid, bins, mixed, dense,
            self.room(6 * bins), codes((of_x, of_s, of_mix, of_p)),
        )  # fmt: skip


def bias_of(layer: Any) -> np.ndarray:
    """A layer's bias, or the zeros that stand for none."""
    return np.zeros(layer.w.shape[-1], np.float32) if layer.b is None else layer.b.data


def read_sizes(model: SSRNet) -> dict[int, int]:
    """By level, how much of each side of the map anybody reads."""
    sizes: dict[int, int] = {}
    wanted = 0  # by the block of the next level
    for level in range(len(model.streams.x), 0, -1):
        block = model.streams.x[level - 1]
        by_stages = [
            stage.pool * round((stage.delta.w.shape[0] / stage.conv_x.w.shape[3]) ** 0.5)
            for stage, its_level in zip(model.stages, model.levels, strict=True)
            if its_level == level
        ]
        sizes[level] = max([wanted, *by_stages])
        window = block.conv.w.shape[0]
        wanted = sizes[level] * (1 if block.pool == "none" else 2) + window - 1
    return sizes


def folded(block: StreamBlock, pixels: Preprocessing | None) -> tuple[np.ndarray, np.ndarray]:
    """A block's weights and bias with its batch norm in them, and with `pixels` what is done to
    the pixels first: w q + b = scale (w x + bias - mean) + beta, x the network's number for a pixel
    and q the kernel's."""
    norm, conv = block.norm, block.conv
    w, bias = conv.w.data.astype(np.float64), bias_of(conv).astype(np.float64)
    if pixels is not None:
        if pixels.color == "bgr":  # faces come as RGB
            w = w[:, :, ::-1]
        bias = bias + (pixels.offset + CENTRE * pixels.scale) * w.sum(axis=(0, 1, 2))
        w = w * pixels.scale
    scale = norm.gamma.data / np.sqrt(norm.moving_variance.astype(np.float64) + norm.eps)
    return w * scale, (bias - norm.moving_mean) * scale + norm.beta.data


class FusedRun:
    """Ages by the fused kernel. Scratch is kept between calls; calls at one time have their own."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.free: list[np.ndarray] = []

    def __call__(self, faces: np.ndarray, ages: np.ndarray) -> None:
        from minissr.kernels import threads

        plan, kernel, n, team = self.plan, self.plan.kernel, len(faces), threads.get_threads()
        tables = (plan.blocks, plan.stages, plan.numbers, plan.formula)
        if not faces.flags.writeable:  # to Numba another type, to be compiled for
            faces = faces.copy()
        # A few images can't be shared out evenly; those left over are computed by all together.
        left_over = n % team if n < 8 * team else 0
        whole = n - left_over
        with self.scratch(team) as scratch:
            if whole:
                kernel.infer_batch(faces[:whole], *tables, scratch, ages[:whole])
            for i in range(whole, n):
                kernel.infer_bands(faces, i, *tables, scratch, ages)

    @contextlib.contextmanager
    def scratch(self, team: int) -> Iterator[np.ndarray]:
        """A row of scratch for each thread; list.pop and append are safe among threads."""
        try:
            memory = self.free.pop()
        except IndexError:
            memory = aligned((team, self.plan.scratch_size))
        if len(memory) != team:
            memory = aligned((team, self.plan.scratch_size))
        yield memory
        self.free.append(memory)


def aligned(shape: tuple[int, int]) -> np.ndarray:
    """Zeros that start a cache line."""
    count = shape[0] * shape[1]
    memory = np.zeros(count + 16, np.float32)
    skip = -memory.ctypes.data % 64 // 4
    return memory[skip : skip + count].reshape(shape)
