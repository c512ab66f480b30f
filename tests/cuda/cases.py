"""The cases of every CUDA kernel; `world.py` says what a case is."""

from __future__ import annotations

from typing import Any

import numpy as np

from minissr.kernels import cuda
from minissr.kernels.conv2d import cupy_gpu as conv_gpu
from tests.cuda import network_cases
from tests.cuda.world import CASES, World, case, results

__all__ = ["CASES", "World", "case", "network_cases", "results"]

ONE, SIDE_BY_SIDE = (1, 1), (2, 2)
VALID = (0, 0, 0, 0)

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


# ---- the rest ---------------------------------------------------------------------------------


@case()
def stagewise(world: World) -> Any:
    stages, n = (3, 2, 4), 133
    p, eta = world.normal(n, 9), world.normal(n, 9)
    delta = np.tanh(world.rng.standard_normal((n, 3)) * 3).astype(world.dtype)
    delta[7, 1] = np.nan
    delta = world.put(delta)
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
    x = world.put(np.concatenate([world.rng.standard_normal(300) * 4, [0, 6, 90, -90, np.nan]]))
    x, g = x.astype(world.dtype), world.normal(305)
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
    unknown = world.put(np.array([1, np.nan, 2, 3], world.dtype))
    found = []
    for kind in ("absolute", "squared"):
        found += [world.call("error_forward", x, target, kind)]
        found += [world.call("error_backward", found[-1], x, target, kind)]
        found += [world.call("error_backward", found[-2], x[:4], unknown, kind)]
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
