"""Cases of the fused kernels: stream block, stem, fusion, head. See `world.py`."""

from __future__ import annotations

from typing import Any

import numpy as np

from minissr.kernels.stem import cupy_gpu as stem_gpu
from tests.cuda.world import World, case

# ---- fused blocks -----------------------------------------------------------------------------


def block(
    world: World,
    x: Any,
    w: Any,
    activation: str,
    pool: str,
    need_gx: bool = True,
    bias: Any = None,
    beta: Any = None,
) -> Any:
    """Forward and backward of one stream block."""
    co = w.shape[3]
    gamma, eps = world.normal(co), 1e-3
    bias = world.normal(co) if bias is None else bias
    beta = world.normal(co) if beta is None else beta
    settings = (eps, activation, pool)
    y, mean, var, saved = world.call("block_forward", x, w, bias, gamma, beta, *settings)
    gy = world.normal(*y.shape)
    arguments = (gy, x, w, gamma, beta, *settings, mean, var, saved, need_gx)
    grads = world.call("block_backward", *arguments)
    if not need_gx:
        return y, mean, var, grads
    onto = world.normal(*x.shape)
    return y, mean, var, grads, world.call("block_backward", *arguments, onto)[0]


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
def block_far_from_zero(world: World) -> Any:
    """Means much larger than what varies around them; and a channel that is 0 all over, where h,
    like its beta, is exactly 0: at the ReLU's kink. Whole numbers, so that z is exact."""
    w = world.rng.integers(-1, 2, (3, 3, 2, 4)).astype(world.dtype)
    bias, beta = np.full(4, 100, world.dtype), np.full(4, 0.5, world.dtype)
    w[..., 1] = bias[1] = beta[1] = 0
    x, given = world.whole(0, 2, 2, 18, 21, 2), {"bias": world.put(bias), "beta": world.put(beta)}
    return block(world, x, world.put(w), "relu", "avg", **given)


@case(waits=True)
def block_of_another_window(world: World) -> Any:
    return block(world, world.normal(2, 8, 9, 3), world.normal(2, 3, 3, 5), "relu", "max")


@case(waits=True)
def block_composed(world: World) -> Any:
    return block(world, world.normal(1, 9, 9, 2), world.normal(5, 5, 2, 3), "tanh", "avg")


def both_blocks(
    world: World, images: Any, weights: Any, unit: float = 1.0, offset: float = 0.0
) -> Any:
    """Forward and backward of the stem, from its two streams' weights."""
    eps, parameters = 1e-3, []
    for w in weights:
        parameters += [w, *(world.normal(w.shape[3]) for _ in range(3))]
    ys, relu, tanh, saved = world.call("stem_forward", images, unit, offset, eps, *parameters)
    gys = [world.normal(*y.shape) for y in ys]
    grads = world.call("stem_backward", *gys, images, unit, offset, eps, saved)
    return ys, relu, tanh, grads


@case(waits=True)
def stem(world: World) -> Any:
    weights = [world.normal(3, 3, 3, co) for co in (6, 4)]
    return both_blocks(world, world.bytes(2, 14, 20, 3), weights, 1 / 128, -1.0)


@case(waits=True)
def stem_with_ties(world: World) -> Any:
    """Black and white pixels and whole weights: many windows have equal maxima."""
    images = world.put(world.rng.integers(0, 2, (2, 14, 20, 3)).astype(np.uint8) * 255)
    return both_blocks(world, images, [world.whole(-1, 2, 3, 3, 3, co) for co in (3, 4)], 1 / 255)


def fusion(world: World, pool: str, size: int) -> Any:
    x, w, bias = world.normal(2, 9, 11, 12), world.normal(1, 1, 12, 10), world.normal(10)
    y, saved = world.call("fusion_forward", x, w, bias, pool, size)
    return y, world.call("fusion_backward", world.normal(*y.shape), x, w, pool, size, saved)


@case(waits=True)
def stem_of_many_channels(world: World) -> Any:
    """Odd pooled maps, more than one group of channels, and more tiles than fit side by side."""
    weights = [world.normal(3, 3, 3, co, scale=0.01) for co in (35, 2)]
    return both_blocks(world, world.bytes(3, 13, 37, 3), weights)


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
    weights = [world.normal(2, 2, 2, co, scale=0.01) for co in (3, 2)]
    return both_blocks(world, world.bytes(2, 9, 8, 2), weights)


def block_answer(world: World, x: Any, w: Any, activation: str, pool: str) -> Any:
    """A block of given statistics."""
    co = w.shape[3]
    bias, gamma, beta, mean = (world.normal(co) for _ in range(4))
    var = world.put(world.rng.uniform(0.5, 2, co).astype(world.dtype))
    settings = (mean, var, 1e-3, activation, pool)
    return world.call("block_eval_forward", x, w, bias, gamma, beta, *settings)


@case(waits=True)
def answer_relu_avg(world: World) -> Any:
    x = world.rng.standard_normal((2, 13, 20, 9)).astype(world.dtype)
    x[1, 5, 6, 0] = np.nan
    return block_answer(world, world.put(x), world.normal(3, 3, 9, 34), "relu", "avg")


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
    ties: bool = False,
) -> Any:
    """Forward and backward of stages of (height, pool, bins).

    The weights are small, so that nothing saturates: 1 - tanh^2 then loses its digits. With `ties`,
    maps and 1x1 convolutions are whole numbers and eighths, so that many a window has equal maxima,
    and the last bin's p has no chance against the others.
    """
    n, channels_s, channels_x, compact = 3, 5, 34, 3
    maps, parameters, masks = [], [], []
    for height, pool, bins in sizes:
        width = height + 2
        features = height // pool * (width // pool) * compact
        for channels in (channels_s, channels_x):
            shape = (n, height, width, channels)
            maps.append(world.whole(0, 3, *shape) if ties else world.normal(*shape))
        mixed = bins if activations[2] == "none" else 2 * bins
        mix = [None, None] if mixed == bins else [world.normal(bins, mixed), world.normal(mixed)]
        few = features**-0.5
        if ties:
            convolutions = [
                world.put((world.rng.integers(-1, 2, (1, 1, c, compact)) / 8).astype(world.dtype))
                for c in (channels_s, channels_x)
            ]
            of_p = world.put(np.array([100.0] * (bins - 1) + [-100.0], world.dtype))
        else:
            convolutions = [
                world.normal(1, 1, channels_s, compact, scale=0.3),
                world.normal(1, 1, channels_x, compact, scale=0.1),
            ]
            of_p = world.normal(bins, scale=0.3)
        parameters += [
            *(convolutions[0], world.normal(compact)),
            *(convolutions[1], world.normal(compact)),
            *(world.normal(features, 1, scale=few / 3), world.normal(1)),
            *(world.normal(features, bins, scale=few), world.normal(bins, scale=0.3)),
            *(world.normal(features, bins, scale=few / 3), world.normal(bins, scale=0.3)),
            *mix,
            *(world.normal(mixed, bins, scale=0.3), of_p),
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
def head_with_ties(world: World) -> Any:
    return head(world, ((6, 3, 3),), ("tanh", "tanh", "tanh", "softmax"), ties=True)


@case(waits=True)
def head_without_mix(world: World) -> Any:
    return head(world, ((5, 2, 3),), ("linear", "softplus", "none", "relu"))


@case(waits=True)
def head_composed(world: World) -> Any:
    """More features than the fused head has room for."""
    return head(world, ((14, 1, 2),), ("tanh", "tanh", "tanh", "softmax"))
