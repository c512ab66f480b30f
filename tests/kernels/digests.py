"""One digest for each Numba kernel's results, as JSON: `python -m tests.kernels.digests`.

The shapes are large enough that every kernel splits its work: into several chunks where it sums,
into several tasks for each thread elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from minissr.kernels import KERNELS, lookup
from tests.strategies import Convolution, Normalisation, Pooling, Regression

F = np.float32
CONVOLUTIONS = [
    Convolution(1, (5, 13, 11), (3, 2), (2, 1), (1, 0, 2, 1), 1, 5, 40, True),
    Convolution(2, (4, 16, 17), (3, 3), (1, 1), (0, 0, 0, 0), 1, 16, 32, True),  # on registers
    Convolution(3, (5, 13, 11), (2, 3), (1, 2), (1, 1, 1, 1), 2, 3, 4, False),
    Convolution(4, (5, 13, 11), (3, 3), (1, 2), (1, 1, 1, 1), 17, 1, 1, True),
]
POOLING = Pooling(5, (7, 13, 11, 17), (3, 2), (2, 1), (1, 0, 1, 0), False)
NORMALISATION = Normalisation(6, (11, 41, 43, 17))
REGRESSION = Regression(7, 50, (3, 2, 4), 0.0, 101.0, 1.0, 1.0)
IMAGES = np.random.default_rng(8).integers(0, 256, (6, 20, 18, 3), np.uint8)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(F)


def run(kernel: str, *arguments: Any) -> Any:
    return lookup(kernel, "numba")(*arguments)


def convolution() -> Iterator[tuple[str, Any]]:
    for case in CONVOLUTIONS:
        x, w, gy = case.x(F), case.w(F), case.gy(F)
        yield "conv2d_forward", run("conv2d_forward", x, w, case.bias(F), *case.settings)
        yield "conv2d_input_grad", run("conv2d_input_grad", gy, w, x.shape, *case.settings)
        yield "conv2d_weight_grad", run("conv2d_weight_grad", x, gy, w.shape, *case.settings)


def pooling() -> Iterator[tuple[str, Any]]:
    x, gy, geometry = POOLING.x(F), POOLING.gy(F), POOLING.geometry
    y, argmax = run("max_pool_forward", x, *geometry)
    yield "max_pool_forward", (y, argmax)
    yield "max_pool_backward", run("max_pool_backward", gy, argmax, x.shape, *geometry)
    yield "avg_pool_forward", run("avg_pool_forward", x, *geometry, False)
    yield "avg_pool_backward", run("avg_pool_backward", gy, x.shape, *geometry, False)


def batch_norm() -> Iterator[tuple[str, Any]]:
    for t in (F, np.float64):  # sums are float64: rounded to float32 their last bits don't show
        x, gy, (gamma, beta) = NORMALISATION.x(t), NORMALISATION.gy(t), NORMALISATION.parameters(t)
        y, mean, var = run("batch_norm_train_forward", x, gamma, beta, 1e-3)
        yield "batch_norm_train_forward", (y, mean, var)
        for kernel in ("batch_norm_train_backward", "batch_norm_eval_backward"):
            yield kernel, run(kernel, gy, x, gamma, mean, var, 1e-3)
        kernel = "batch_norm_eval_forward"
        yield kernel, run(kernel, x, gamma, beta, mean, var, 1e-3)
        moving = mean * 2, var * 2
        run("batch_norm_follow", [moving], [(mean, var)], [0.1], [1.01])
        yield "batch_norm_follow", moving


def stream_parameters(seed: int, c: int, co: int) -> tuple[np.ndarray, ...]:
    """w, bias, gamma, beta of a block."""
    return (normal(seed, 3, 3, c, co), *(normal(seed + i, co) for i in (1, 2, 3)))


def fused() -> Iterator[tuple[str, Any]]:
    x = normal(1, 6, 15, 13, 16)
    w, bias, gamma, beta = stream_parameters(10, 16, 16)
    for activation, pool in (("relu", "avg"), ("tanh", "max"), ("relu", "none")):
        y, mean, var, saved = run("block_forward", x, w, bias, gamma, beta, 1e-3, activation, pool)
        yield "block_forward", (y, mean, var)
        settings = (1e-3, activation, pool, mean, var, saved, True)
        yield "block_backward", run("block_backward", y, x, w, gamma, beta, *settings)
        settings = (*settings, x.copy())  # the gradient is added onto another
        yield "block_backward", run("block_backward", y, x, w, gamma, beta, *settings)
        settings = (mean, var, 1e-3, activation, pool)
        yield "block_eval_forward", run("block_eval_forward", x, w, bias, gamma, beta, *settings)

    scale = (1 / 255, -0.5, 1e-3)
    parameters = *stream_parameters(20, 3, 32), *stream_parameters(30, 3, 16)
    (relu, tanh), *statistics, saved = run("stem_forward", IMAGES, *scale, *parameters)
    yield "stem_forward", (relu, tanh, *statistics)
    yield "stem_backward", run("stem_backward", relu, tanh, IMAGES, *scale, saved)

    for pool in ("avg", "max"):
        w, bias = normal(40, 1, 1, 16, 10), normal(41, 10)
        y, saved = run("fusion_forward", x, w, bias, pool, 4)
        yield "fusion_forward", y
        yield "fusion_backward", run("fusion_backward", y, x, w, pool, 4, saved)


def head() -> Iterator[tuple[str, Any]]:
    """Two stages of maps 12 x 12 and 6 x 6, so that there are 9 x 10 features of each map."""
    maps, parameters, masks = [], [], []
    for k, size in enumerate((12, 6)):
        maps += [normal(60 + 2 * k + i, 50, size, size, c) for i, c in enumerate((16, 32))]
        shapes = [(1, 1, 16, 10), (10,), (1, 1, 32, 10), (10,), (90, 1), (1,), (90, 3), (3,)]
        shapes += [(90, 3), (3,), (3, 6), (6,), (6, 3), (3,), (6, 3), (3,)]
        parameters += [normal(100 * k + i, *shape) / 8 for i, shape in enumerate(shapes)]
        masks += [F(normal(70 + i, 50, 90) > 0) for i in range(2)]
    arguments = (maps, parameters, masks, (4, 2), ("tanh", "relu", "leaky_relu", "softmax"))
    p, eta, delta, saved = run("head_forward", *arguments)
    yield "head_forward", (p, eta, delta)
    yield "head_backward", run("head_backward", p, eta, delta, *arguments, saved)


def composed() -> Iterator[tuple[str, Any]]:
    """The operations that a network has outside its fused blocks."""
    x, w, b, g = normal(80, 300, 90), normal(81, 90, 40), normal(82, 40), normal(83, 300, 40)
    yield "dense_forward", run("dense_forward", x, w, b)
    yield "dense_input_grad", run("dense_input_grad", g, w)
    yield "dense_weight_grad", run("dense_weight_grad", x, g)
    yield "dense_bias_grad", run("dense_bias_grad", g)
    for name in ("relu", "leaky_relu", "tanh", "softplus"):
        yield "activation_forward", run("activation_forward", x, name, 0.01)
        yield "activation_backward", run("activation_backward", x, x, name, 0.01)
    for log in (False, True):
        y = run("softmax_forward", g, log)
        yield "softmax_forward", y
        yield "softmax_backward", run("softmax_backward", g, y, log)
    yield "pixels_to_float", run("pixels_to_float", IMAGES, np.dtype(F))
    for kind in ("absolute", "squared"):
        yield "error_forward", run("error_forward", g, g[::-1].copy(), kind)
        yield "error_backward", run("error_backward", F(1), g, g[::-1].copy(), kind)


def rest() -> Iterator[tuple[str, Any]]:
    case = REGRESSION
    inputs = case.p(F), case.eta(F), case.delta(F)
    age, width, index = run("stagewise_forward", *inputs, *case.settings)
    yield "stagewise_forward", (age, width, index)
    saved = (*inputs, width, index)
    yield "stagewise_backward", run("stagewise_backward", age, *saved, *case.settings)
    param, grad, m, v = (normal(50 + i, 40_915) for i in range(4))
    run("adam_step", param, grad, m, abs(v), 3, 1e-3, 0.9, 0.999, 1e-7, "keras")
    yield "adam_step", (param, m)
    flat = np.empty(40_000, F)
    run("gather", [param[:30_000], None], [0, 30_000, 40_000], flat)
    yield "gather", flat
    run("sgd_step", param, grad, m, 1e-3, 0.9, True)
    yield "sgd_step", (param, m)
    turn = np.tile([[0.9, 0.2, -1.0], [-0.2, 1.1, 2.0]], (len(IMAGES), 1, 1))
    yield "warp_affine", run("warp_affine", IMAGES, turn, "bilinear")


def feed(digest: Any, result: Any) -> None:
    """Every byte of a result, tuples in order."""
    if isinstance(result, tuple):
        for part in result:
            feed(digest, part)
    elif result is not None:
        digest.update(f"{result.dtype} {result.shape}".encode() + result.tobytes())


def digests() -> dict[str, str]:
    """Kernel -> SHA-256 of all its results."""
    found = {kernel: hashlib.sha256() for kernel in KERNELS}
    called = set()
    for group in (convolution, pooling, batch_norm, fused, head, composed, rest):
        for kernel, result in group():
            feed(found[kernel], result)
            called.add(kernel)
    if called != set(KERNELS):
        raise RuntimeError(f"no digest of {sorted(set(KERNELS) - called)}")
    return {kernel: digest.hexdigest() for kernel, digest in found.items()}


if __name__ == "__main__":
    print(json.dumps(digests()))
