"""One call of every CUDA kernel, small enough for a sanitizer and odd enough to reach every edge.

A case is written once for all backends: it draws its inputs, hands each array to `put` (which
moves it to the device, or does nothing) and calls kernels by name. So the same text computes what
is compared and what it is compared with. Sizes don't fit the kernels' tiles on purpose: 8 x 16
pixels, slices of 8 channels, groups of 32, parts of 64 rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minissr.kernels import cuda, lookup
from minissr.kernels.conv2d import cupy_gpu as conv_gpu
from minissr.kernels.stem import cupy_gpu as stem_gpu

ONE, SIDE_BY_SIDE = (1, 1), (2, 2)
VALID = (0, 0, 0, 0)


@dataclass(frozen=True)
class World:
    """Where a case runs.

    Attributes
    ----------
    backend : "numpy" | "cupy"
    rng : Generator
        In the same state in every world.
    dtype : dtype
        float32 or float64.
    """

    backend: str
    rng: np.random.Generator
    dtype: np.dtype

    def put(self, array: Any) -> Any:
        return cuda.xp().asarray(array) if self.backend == "cupy" else np.array(array)

    def normal(self, *shape: int, scale: float = 1.0) -> Any:
        return self.put((self.rng.standard_normal(shape) * scale).astype(self.dtype))

    def whole(self, low: int, high: int, *shape: int) -> Any:
        """Whole numbers: many of them equal, and their sums exact."""
        return self.put(self.rng.integers(low, high, shape).astype(self.dtype))

    def bytes(self, *shape: int) -> Any:
        return self.put(self.rng.integers(0, 256, shape).astype(np.uint8))

    def call(self, name: str, *arguments: Any) -> Any:
        return lookup(name, self.backend)(*arguments)


@dataclass(frozen=True)
class Case:
    """A case and what is known about it."""

    name: str
    run: Callable[[World], tuple[Any, ...]]
    waits: bool  # whether threads wait for one another: these run under ThreadSanitizer


CASES: dict[str, Case] = {}


def case(waits: bool = False) -> Callable[[Callable[[World], Any]], Callable[[World], Any]]:
    """Enter the decorated function as a case under its own name."""

    def enter(run: Callable[[World], Any]) -> Callable[[World], Any]:
        CASES[run.__name__] = Case(run.__name__, run, waits)
        return run

    return enter


def results(name: str, backend: str, dtype: str, seed: int = 0) -> list[np.ndarray]:
    """Run a case; everything it computes, as NumPy arrays."""
    found = CASES[name].run(World(backend, np.random.default_rng(seed), np.dtype(dtype)))
    arrays: list[np.ndarray] = []

    def collect(value: Any) -> None:
        if isinstance(value, tuple | list):
            for item in value:
                collect(item)
        elif value is not None:
            arrays.append(value.get() if hasattr(value, "get") else np.asarray(value))

    collect(found)
    return arrays


# ---- convolution ------------------------------------------------------------------------------


def teaching_version(world: World, kernel: str) -> Any:
    """3x3 by one of the three versions of conv3x3.cu."""
    n, h, w, c, co = 2, 13, 21, 11, 35
    x, weights, bias = world.normal(n, h, w, c), world.normal(3, 3, c, co), world.normal(co)
    if world.backend == "numpy":
        return world.call("conv2d_forward", x, weights, bias, ONE, VALID, 1)
    y = cuda.xp().empty((n, h - 2, w - 2, co), world.dtype)
    grids = {
        "conv3x3_naive": (cuda.blocks(y.size, 256), 256),
        "conv3x3_tiled": ((3 * 3, 5, n), (8, 8, 4)),
        "conv3x3_blocked": ((2 * 2, 2, n), 256),
    }
    grid, block = grids[kernel]
    arguments = (x, weights, bias, y, n, h, w, c, co)
    conv_gpu.CONV3X3.launch(kernel, world.dtype, grid, block, *arguments)
    return y


@case()
def conv3x3_naive(world: World) -> Any:
    return teaching_version(world, "conv3x3_naive")


@case(waits=True)
def conv3x3_tiled(world: World) -> Any:
    return teaching_version(world, "conv3x3_tiled")


@case(waits=True)
def conv3x3_blocked(world: World) -> Any:
    return teaching_version(world, "conv3x3_blocked")


def convolution(world: World, x: Any, w: Any, stride: Any, padding: Any, groups: int) -> Any:
    """Forward and both gradients."""
    settings = (stride, padding, groups)
    y = world.call("conv2d_forward", x, w, world.normal(w.shape[3]), *settings)
    without_bias = world.call("conv2d_forward", x, w, None, *settings)
    gy = world.normal(*y.shape)
    gx = world.call("conv2d_input_grad", gy, w, x.shape, *settings)
    gw = world.call("conv2d_weight_grad", x, gy, w.shape, *settings)
    return y, without_bias, gx, gw


@case(waits=True)
def conv_3x3(world: World) -> Any:
    return convolution(world, world.normal(2, 10, 18, 9), world.normal(3, 3, 9, 6), ONE, VALID, 1)


@case(waits=True)
def conv_1x1(world: World) -> Any:
    return convolution(world, world.normal(3, 9, 7, 34), world.normal(1, 1, 34, 35), ONE, VALID, 1)


@case(waits=True)
def conv_strided_and_padded(world: World) -> Any:
    x, w = world.normal(2, 11, 10, 5), world.normal(3, 2, 5, 7)
    return convolution(world, x, w, (2, 3), (1, 0, 2, 1), 1)


@case()
def conv_depthwise(world: World) -> Any:
    x, w = world.normal(3, 13, 12, 5), world.normal(3, 3, 1, 5)
    return convolution(world, x, w, ONE, (0, 1, 0, 1), 5)


@case()
def conv_grouped(world: World) -> Any:
    x, w = world.normal(2, 9, 7, 6), world.normal(2, 3, 2, 9)
    return convolution(world, x, w, (2, 1), (1, 1, 1, 1), 3)


# ---- pooling ----------------------------------------------------------------------------------


def pooling(world: World, x: Any, size: Any, stride: Any, padding: Any) -> Any:
    """Both kinds, forward and backward."""
    y, argmax = world.call("max_pool_forward", x, size, stride, padding)
    gy = world.normal(*y.shape)
    found = [y, argmax, world.call("max_pool_backward", gy, argmax, x.shape, size, stride, padding)]
    for count_padding in (False, True):
        settings = (size, stride, padding, count_padding)
        found += [world.call("avg_pool_forward", x, *settings)]
        found += [world.call("avg_pool_backward", gy, x.shape, *settings)]
    return found


@case()
def pool_side_by_side(world: World) -> Any:
    return pooling(world, world.normal(2, 11, 17, 5), SIDE_BY_SIDE, SIDE_BY_SIDE, VALID)


@case()
def pool_overlapping_with_ties(world: World) -> Any:
    return pooling(world, world.whole(-1, 2, 2, 9, 7, 3), (3, 2), (1, 2), (1, 1, 0, 1))


@case()
def pool_nan_and_infinity(world: World) -> Any:
    x = world.rng.standard_normal((1, 9, 9, 4)).astype(world.dtype)
    x[0, ::3, 1::2, 0], x[0, 4, 4, 1], x[0, :, :, 2] = np.nan, np.inf, -np.inf
    y, argmax = world.call("max_pool_forward", world.put(x), (3, 3), SIDE_BY_SIDE, (1, 1, 1, 1))
    return y, argmax


# ---- batch norm -------------------------------------------------------------------------------


@case(waits=True)
def batch_norm(world: World) -> Any:
    c = 37
    x = world.put((world.rng.standard_normal((3, 8, 7, c)) * 3 + 20).astype(world.dtype))
    gamma, beta, eps = world.normal(c), world.normal(c), 1e-3
    y, mean, var = world.call("batch_norm_train_forward", x, gamma, beta, eps)
    gy = world.normal(*x.shape)
    moving_mean, moving_var = world.normal(c), world.normal(c) ** 2
    return (
        (y, mean, var),
        world.call("batch_norm_train_backward", gy, x, gamma, mean, var, eps),
        world.call("batch_norm_eval_forward", x, gamma, beta, moving_mean, moving_var, eps),
        world.call("batch_norm_eval_backward", gy, x, gamma, moving_mean, moving_var, eps),
    )


# ---- fused blocks -----------------------------------------------------------------------------


def block(world: World, x: Any, w: Any, activation: str, pool: str, need_gx: bool = True) -> Any:
    """Forward and backward of one stream block."""
    co = w.shape[3]
    bias, gamma, beta, eps = world.normal(co), world.normal(co), world.normal(co), 1e-3
    settings = (eps, activation, pool)
    y, mean, var, saved = world.call("block_forward", x, w, bias, gamma, beta, *settings)
    gy = world.normal(*y.shape)
    grads = world.call(
        "block_backward", gy, x, w, gamma, beta, *settings, mean, var, saved, need_gx
    )
    return y, mean, var, grads


@case(waits=True)
def block_relu_avg(world: World) -> Any:
    return block(world, world.normal(2, 15, 22, 10), world.normal(3, 3, 10, 9), "relu", "avg")


@case(waits=True)
def block_tanh_max(world: World) -> Any:
    return block(world, world.normal(2, 12, 19, 5), world.normal(3, 3, 5, 34), "tanh", "max")


@case(waits=True)
def block_without_pool(world: World) -> Any:
    return block(world, world.normal(3, 7, 8, 33), world.normal(3, 3, 33, 6), "tanh", "none")


@case(waits=True)
def block_of_pixels(world: World) -> Any:
    w = world.normal(3, 3, 3, 7, scale=0.01)
    return block(world, world.bytes(2, 12, 14, 3), w, "relu", "none", need_gx=False)


@case(waits=True)
def block_of_many_tiles(world: World) -> Any:
    """More tiles of 4 x 16 pixels than blocks that sum the weight gradient."""
    x, w = world.normal(130, 6, 4, 2), world.normal(3, 3, 2, 3)
    return block(world, x, w, "relu", "none")


@case(waits=True)
def block_with_ties(world: World) -> Any:
    x, w = world.whole(0, 2, 2, 10, 11, 2), world.whole(-1, 2, 3, 3, 2, 4)
    return block(world, x, w, "tanh", "max")


@case(waits=True)
def block_of_another_window(world: World) -> Any:
    return block(world, world.normal(2, 8, 9, 3), world.normal(2, 3, 3, 5), "relu", "max")


@case(waits=True)
def block_composed(world: World) -> Any:
    return block(world, world.normal(1, 9, 9, 2), world.normal(5, 5, 2, 3), "tanh", "avg")


@case(waits=True)
def stem(world: World) -> Any:
    images, unit, offset, eps = world.bytes(2, 14, 20, 3), 1 / 128, -1.0, 1e-3
    parameters = []
    for co in (6, 4):
        parameters += [world.normal(3, 3, 3, co), *(world.normal(co) for _ in range(3))]
    ys, relu, tanh, saved = world.call("stem_forward", images, unit, offset, eps, *parameters)
    gys = [world.normal(*y.shape) for y in ys]
    grads = world.call("stem_backward", *gys, images, unit, offset, eps, saved)
    return ys, relu, tanh, grads


def fusion(world: World, pool: str, size: int) -> Any:
    x, w, bias = world.normal(2, 9, 11, 12), world.normal(1, 1, 12, 10), world.normal(10)
    y, saved = world.call("fusion_forward", x, w, bias, pool, size)
    return y, world.call("fusion_backward", world.normal(*y.shape), x, w, pool, size, saved)


@case(waits=True)
def stem_of_many_channels(world: World) -> Any:
    """Odd pooled maps, more than one group of channels, and more tiles than fit side by side."""
    images, unit, offset, eps = world.bytes(3, 13, 37, 3), 1.0, 0.0, 1e-3
    parameters = []
    for co in (35, 2):
        parameters += [world.normal(3, 3, 3, co, scale=0.01), *(world.normal(co) for _ in range(3))]
    ys, relu, tanh, saved = world.call("stem_forward", images, unit, offset, eps, *parameters)
    gys = [world.normal(*y.shape) for y in ys]
    grads = world.call("stem_backward", *gys, images, unit, offset, eps, saved)
    return ys, relu, tanh, grads


@case(waits=True)
def stem_of_few_blocks(world: World) -> Any:
    """Every block sums several tiles."""
    workers, stem_gpu.WORKERS = stem_gpu.WORKERS, 2
    try:
        return stem(world)
    finally:
        stem_gpu.WORKERS = workers


@case(waits=True)
def stem_of_another_window(world: World) -> Any:
    images, eps = world.bytes(2, 9, 8, 2), 1e-3
    parameters = []
    for co in (3, 2):
        parameters += [world.normal(2, 2, 2, co, scale=0.01), *(world.normal(co) for _ in range(3))]
    ys, relu, tanh, saved = world.call("stem_forward", images, 1.0, 0.0, eps, *parameters)
    gys = [world.normal(*y.shape) for y in ys]
    return ys, relu, tanh, world.call("stem_backward", *gys, images, 1.0, 0.0, eps, saved)


def block_answer(world: World, x: Any, w: Any, activation: str, pool: str) -> Any:
    """A block of given statistics."""
    co = w.shape[3]
    bias, gamma, beta, mean = (world.normal(co) for _ in range(4))
    var = world.put(world.rng.uniform(0.5, 2, co).astype(world.dtype))
    settings = (mean, var, 1e-3, activation, pool)
    return world.call("block_eval_forward", x, w, bias, gamma, beta, *settings)


@case(waits=True)
def answer_relu_avg(world: World) -> Any:
    return block_answer(world, world.normal(2, 13, 20, 9), world.normal(3, 3, 9, 34), "relu", "avg")


@case(waits=True)
def answer_tanh_max(world: World) -> Any:
    w = world.normal(3, 3, 3, 5, scale=0.01)
    return block_answer(world, world.bytes(2, 12, 19, 3), w, "tanh", "max")


@case(waits=True)
def answer_without_pool(world: World) -> Any:
    return block_answer(world, world.normal(3, 6, 7, 3), world.normal(3, 3, 3, 6), "relu", "none")


@case(waits=True)
def fusion_max(world: World) -> Any:
    return fusion(world, "max", 4)


@case(waits=True)
def fusion_avg(world: World) -> Any:
    return fusion(world, "avg", 2)


# ---- the head ---------------------------------------------------------------------------------


def head(
    world: World,
    sizes: tuple[tuple[int, int, int], ...],
    activations: tuple[str, str, str, str],
    dropped: bool = False,
) -> Any:
    """Forward and backward of stages of (height, pool, bins).

    The weights are small, so that nothing saturates: 1 - tanh^2 then loses its digits.
    """
    n, channels_s, channels_x, compact = 3, 5, 34, 3
    maps, parameters, masks = [], [], []
    for height, pool, bins in sizes:
        width = height + 2
        features = height // pool * (width // pool) * compact
        maps += [world.normal(n, height, width, c) for c in (channels_s, channels_x)]
        mixed = bins if activations[2] == "none" else 2 * bins
        mix = [None, None] if mixed == bins else [world.normal(bins, mixed), world.normal(mixed)]
        few = features**-0.5
        parameters += [
            *(world.normal(1, 1, channels_s, compact, scale=0.3), world.normal(compact)),
            *(world.normal(1, 1, channels_x, compact, scale=0.1), world.normal(compact)),
            *(world.normal(features, 1, scale=few / 3), world.normal(1)),
            *(world.normal(features, bins, scale=few), world.normal(bins, scale=0.3)),
            *(world.normal(features, bins, scale=few / 3), world.normal(bins, scale=0.3)),
            *mix,
            *(world.normal(mixed, bins, scale=0.3), world.normal(bins, scale=0.3)),
            *(world.normal(mixed, bins, scale=0.3), world.normal(bins, scale=0.3)),
        ]
        for _ in "sx":
            mask = (world.rng.random((n, features)) > 0.3) / 0.7
            masks.append(world.put(mask.astype(world.dtype)) if dropped else None)
    pools = [pool for _, pool, _ in sizes]
    arguments = (maps, parameters, masks, pools, activations)
    p, eta, delta, saved = world.call("head_forward", *arguments)
    grads = [world.normal(*y.shape) for y in (p, eta, delta)]
    return p, eta, delta, world.call("head_backward", *grads, *arguments, saved)


@case(waits=True)
def head_as_ours(world: World) -> Any:
    sizes = ((4, 1, 3), (7, 3, 2), (9, 4, 4))
    return head(world, sizes, ("tanh", "tanh", "tanh", "softmax"), dropped=True)


@case(waits=True)
def head_as_released(world: World) -> Any:
    return head(world, ((6, 2, 3), (5, 5, 3)), ("relu", "leaky_relu", "relu6", "softplus"))


@case(waits=True)
def head_without_mix(world: World) -> Any:
    return head(world, ((5, 2, 3),), ("linear", "softplus", "none", "relu"))


@case(waits=True)
def head_composed(world: World) -> Any:
    """More features than the fused head has room for."""
    return head(world, ((14, 1, 2),), ("tanh", "tanh", "tanh", "softmax"))


# ---- the rest ---------------------------------------------------------------------------------


@case()
def stagewise(world: World) -> Any:
    stages, n = (3, 2, 4), 133
    p, eta = world.normal(n, 9), world.normal(n, 9)
    delta = world.put(np.tanh(world.rng.standard_normal((n, 3)) * 3).astype(world.dtype))
    formula = (stages, 2.0, 101.0, 0.9, 0.8, 0.2)  # with many a delta below the floor
    age, width, index = world.call("stagewise_forward", p, eta, delta, *formula)
    g_age = world.normal(n)
    grads = world.call("stagewise_backward", g_age, p, eta, delta, width, index, *formula)
    return age, width, index, grads


@case()
def gather(world: World) -> Any:
    """More arrays than a launch takes; one of them left out, one a view with gaps."""
    parts = [world.normal(7 * k % 300 + 1, 2) for k in range(19)]
    parts[3], parts[5] = None, world.normal(9, 4)[:, :2]
    sizes = [6 if part is None else part.shape[0] * 2 for part in parts]
    starts = np.cumsum([0, *sizes]).tolist()
    flat = world.normal(starts[-1])
    world.call("gather", parts, starts, flat)
    return flat


@case()
def batch_norm_follow(world: World) -> Any:
    moving = [(world.normal(c), world.normal(c)) for c in (3, 300, 7, 1, 5)]
    batch = [(world.normal(len(m)), world.normal(len(m))) for m, _ in moving]
    world.call("batch_norm_follow", moving, batch, [0.1, 0.2, 0.3, 0.4, 0.5], [1, 1.5, 1, 2, 1])
    return moving


@case()
def activations(world: World) -> Any:
    x = world.put(np.concatenate([world.rng.standard_normal(300) * 4, [0, 6, 90, -90]]))
    x, g = x.astype(world.dtype), world.normal(304)
    found = []
    for name in ("relu", "relu6", "leaky_relu", "tanh", "sigmoid", "softplus"):
        y = world.call("activation_forward", x, name, 0.2)
        known = x if name in ("leaky_relu", "softplus") else y
        found += [y, world.call("activation_backward", g, known, name, 0.2)]
    return found


@case()
def softmax(world: World) -> Any:
    found = []
    for log in (False, True):
        y = world.call("softmax_forward", world.normal(131, 5, scale=30), log)
        found += [y, world.call("softmax_backward", world.normal(131, 5), y, log)]
    return found


@case(waits=True)
def dense(world: World) -> Any:
    x, w, g = world.normal(70, 19), world.normal(19, 3), world.normal(70, 3)
    return (
        world.call("dense_forward", x, w, world.normal(3)),
        world.call("dense_forward", x, w, None),
        world.call("dense_input_grad", g, w),
        world.call("dense_weight_grad", x, g),
        world.call("dense_bias_grad", g),
    )


@case()
def pixels_to_float(world: World) -> Any:
    return world.call("pixels_to_float", world.bytes(7, 5, 3), world.dtype)


@case(waits=True)
def errors(world: World) -> Any:
    x, target = world.whole(-3, 3, 531), world.whole(-3, 3, 531)  # with ties
    found = []
    for kind in ("absolute", "squared"):
        found += [world.call("error_forward", x, target, kind)]
        found += [world.call("error_backward", found[-1], x, target, kind)]
    return found


@case()
def adam(world: World) -> Any:
    found = []
    for form in ("keras", "pytorch"):
        param, grad, m, v = (world.normal(333) for _ in range(4))
        v = v * v
        world.call("adam_step", param, grad, m, v, 3, 0.01, 0.9, 0.999, 1e-7, form)
        found += [param, m, v]
    return found


@case()
def sgd(world: World) -> Any:
    found = []
    for nesterov in (False, True):
        param, grad, velocity = (world.normal(333) for _ in range(3))
        world.call("sgd_step", param, grad, velocity, 0.01, 0.9, nesterov)
        found += [param, velocity]
    return found


@case()
def warp(world: World) -> Any:
    images = world.bytes(3, 17, 13, 3)
    matrices = np.tile(np.eye(2, 3), (3, 1, 1)) + world.rng.standard_normal((3, 2, 3)) * 0.3
    matrices[:, :, 2] += world.rng.standard_normal((3, 2)) * 4
    places = world.put(matrices)
    return [world.call("warp_affine", images, places, way) for way in ("nearest", "bilinear")]
