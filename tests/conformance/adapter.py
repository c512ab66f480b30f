"""Each ONNX operator as a call of ours: names and layouts are translated, nothing is computed.

An entry of `OPERATORS` takes the operator's inputs as arrays (None for one left out) and its
attributes as keywords, and returns the outputs in order. An attribute or input that ours has no
word for is no parameter here either, so a case that uses it fails instead of being ignored.

ONNX has images as (N, C, H, W) and weights as (CO, C, KH, KW), we as (N, H, W, C) and
(KH, KW, C, CO); a signal (N, C, L) is an image of height 1. ONNX lists the beginnings of a padding
and then the ends, (top, left, bottom, right); we have (top, bottom, left, right).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minissr import Tensor, ops
from minissr.nn.layers import BatchNorm, Dropout
from minissr.nn.module import Parameter
from minissr.training.optim import SGD, Adam

# ---- images -----------------------------------------------------------------------------------


def to_image(x: np.ndarray) -> Tensor:
    """(N, C, H, W), or (N, C, L) with H = 1 -> (N, H, W, C)."""
    return Tensor(np.moveaxis(x[:, :, None] if x.ndim == 3 else x, 1, -1))


def from_image(y: Tensor, rank: int) -> np.ndarray:
    """The way back, to as many axes as there were."""
    y = np.moveaxis(y.data, -1, 1)
    return y[:, :, 0] if rank == 3 else y


def window(
    rank: int,
    kernel_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    auto_pad: str = "NOTSET",
) -> dict[str, Any]:
    """Size, stride and padding in our words."""
    flat = (1,) * (4 - rank)  # what a signal's height adds
    begins, ends = np.reshape(pads or [0] * 2 * (rank - 2), (2, -1)).tolist()
    sides = [n for side in zip(begins, ends, strict=True) for n in side]
    words = {"VALID": "valid", "SAME_UPPER": "same", "SAME_LOWER": "same_lower"}
    return {
        "size": (*flat, *kernel_shape),
        "stride": (*flat, *(strides or [1] * len(kernel_shape))),
        "padding": words.get(auto_pad, (*(0, 0) * len(flat), *sides)),
    }


def conv(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    *,
    kernel_shape: Sequence[int],
    group: int = 1,
    **geometry: Any,
) -> np.ndarray:
    settings = window(x.ndim, kernel_shape, **geometry)
    del settings["size"]  # the weights tell
    weights = Tensor(np.moveaxis(w[:, :, None] if w.ndim == 3 else w, (0, 1), (3, 2)))
    bias = None if b is None else Tensor(b)
    return from_image(ops.conv2d(to_image(x), weights, bias, groups=group, **settings), x.ndim)


def max_pool(x: np.ndarray, **geometry: Any) -> np.ndarray:
    return from_image(ops.max_pool(to_image(x), **window(x.ndim, **geometry)), x.ndim)


def average_pool(x: np.ndarray, *, count_include_pad: int = 0, **geometry: Any) -> np.ndarray:
    settings = window(x.ndim, **geometry)
    pooled = ops.avg_pool(to_image(x), **settings, count_include_pad=bool(count_include_pad))
    return from_image(pooled, x.ndim)


def global_average_pool(x: np.ndarray) -> np.ndarray:
    return ops.global_avg_pool(to_image(x)).data[:, :, None, None]


def batch_normalization(
    x: np.ndarray,
    scale: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> tuple[np.ndarray, ...]:
    """The layer: it holds the moving statistics, which are outputs in training."""
    layer = BatchNorm(len(scale), momentum, epsilon).train(bool(training_mode))
    layer.load_state_dict(
        {"gamma": scale, "beta": bias, "moving_mean": mean, "moving_variance": var}
    )
    y = from_image(layer(to_image(x)), x.ndim)
    return y, layer.moving_mean, layer.moving_variance


# ---- matrices, shapes, sums -------------------------------------------------------------------


def gemm(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Tensor:
    x = ops.transpose(Tensor(a)) if transA else Tensor(a)
    w = ops.transpose(Tensor(b)) if transB else Tensor(b)
    y = ops.dense(x, w) * alpha
    return y if c is None else y + Tensor(c) * beta


def reshape(x: np.ndarray, shape: np.ndarray, *, allowzero: int = 0) -> Tensor:
    """A length of 0 means the one that was there, unless `allowzero`."""
    kept = [x.shape[i] if n == 0 and not allowzero else int(n) for i, n in enumerate(shape)]
    return ops.reshape(Tensor(x), tuple(kept))


def reduction(op: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """No axes mean all of them or, with `noop_with_empty_axes`, none."""

    def reduce(
        x: np.ndarray,
        axes: np.ndarray | None = None,
        *,
        keepdims: int = 1,
        noop_with_empty_axes: int = 0,
    ) -> Tensor:
        listed = tuple(axes.tolist()) if axes is not None else ()
        everything = not listed and not noop_with_empty_axes
        return op(Tensor(x), None if everything else listed, bool(keepdims))

    return reduce


def clip(x: np.ndarray, low: np.ndarray | None = None, high: np.ndarray | None = None) -> Tensor:
    return ops.clip(Tensor(x), *(None if n is None else n.item() for n in (low, high)))


# ---- training ---------------------------------------------------------------------------------


class Twister(np.random.Generator):
    """Draws as the cases' authors did: the twister of NumPy's old `seed`, in float64."""

    def __init__(self, seed: int) -> None:
        super().__init__(np.random.RandomState(seed)._bit_generator)

    def random(self, size: Any = None, dtype: Any = None, out: Any = None) -> Any:
        return super().random(size)


def dropout(
    x: np.ndarray,
    ratio: Any = 0.5,
    training_mode: Any = False,
    *,
    seed: int = 0,
) -> tuple[Tensor, np.ndarray]:
    """The mask is where a gradient passes."""
    inputs = Tensor(x, requires_grad=True)
    layer = Dropout(float(ratio)).train(bool(training_mode))
    y = layer(inputs, rng=Twister(seed))
    y.backward(np.ones_like(x))
    return y, inputs.grad.astype(bool)


def softmax_cross_entropy(
    scores: np.ndarray, labels: np.ndarray, *, reduction: str = "mean"
) -> tuple[np.ndarray, Tensor]:
    """Scores (N, S, ...) and a class number for each of N times ...; ours has rows of scores."""
    rows = Tensor(np.moveaxis(scores, 1, -1).reshape(-1, scores.shape[1]))
    loss = ops.cross_entropy(rows, labels.reshape(-1), reduction)
    shape = labels.shape if reduction == "none" else ()
    return loss.data.reshape(shape), ops.log_softmax(Tensor(scores), axis=1)


def parameters_at(
    values: Sequence[np.ndarray], gradients: Sequence[np.ndarray], decay: float
) -> list[Parameter]:
    """Parameters after the backward of a loss: it has these gradients, and a decay's on top."""
    parameters = [Parameter(value.copy()) for value in values]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        (parameter * gradient + parameter * parameter * (decay / 2)).sum().backward()
    return parameters


def by_letter(arrays: Sequence[np.ndarray], parts: int) -> list[Sequence[np.ndarray]]:
    """X1, X2, G1, G2, ... by letter."""
    n = len(arrays) // parts
    return [arrays[i * n : (i + 1) * n] for i in range(parts)]


def joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([array.ravel() for array in arrays])


def parted(flat: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    parts = np.split(flat, np.cumsum([array.size for array in like])[:-1])
    return [part.reshape(array.shape) for part, array in zip(parts, like, strict=True)]


def adam(
    r: np.ndarray,
    t: np.ndarray,
    *arrays: np.ndarray,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 0.0,
    norm_coefficient: float = 0.0,
) -> tuple[np.ndarray, ...]:
    """T = 0 leaves the bias correction out, as we do after ever so many steps."""
    values, gradients, means, squares = by_letter(arrays, 4)
    parameters = parameters_at(values, gradients, norm_coefficient)
    optimizer = Adam(parameters, r.item(), beta1=alpha, beta2=beta, eps=epsilon, form="keras")
    steps = t.item() - 1 if t else 10**9
    optimizer.load_state_dict({"m": joined(means), "v": joined(squares), "steps": steps})
    optimizer.step()
    return (
        *(p.data for p in parameters),
        *parted(optimizer.m, means),
        *parted(optimizer.v, squares),
    )


def momentum(
    r: np.ndarray,
    t: np.ndarray,
    *arrays: np.ndarray,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
) -> tuple[np.ndarray, ...]:
    """Our velocity has the learning rate and the sign in it: v = -R V.

    Only at T = 0, or for beta = 1, does ONNX weight the gradient as we do.
    """
    if t and beta != 1:
        raise ValueError(f"T = {t} and beta = {beta}: our momentum dampens no gradient")
    values, gradients, velocities = by_letter(arrays, 3)
    parameters = parameters_at(values, gradients, norm_coefficient)
    optimizer = SGD(parameters, r.item(), momentum=alpha, nesterov=mode == "nesterov")
    ours = Tensor(joined(velocities)) * -r.item()
    optimizer.load_state_dict({"velocity": ours.data, "steps": t})
    optimizer.step()
    theirs = Tensor(optimizer.velocity) / -r.item()
    return (*(p.data for p in parameters), *parted(theirs.data, velocities))


# ---- all of them ------------------------------------------------------------------------------


def on_tensors(op: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """An op that needs no translation but of arrays to tensors."""
    return lambda *arrays, **settings: op(*map(Tensor, arrays), **settings)


OPERATORS: dict[str, Callable[..., Any]] = {
    "Adam": adam,
    "Add": on_tensors(ops.add),
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Clip": clip,
    "Concat": lambda *parts, axis: ops.concat([Tensor(part) for part in parts], axis),
    "Conv": conv,
    "Div": on_tensors(ops.divide),
    "Dropout": dropout,
    "Flatten": on_tensors(ops.flatten),
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "LeakyRelu": lambda x, *, alpha=0.01: ops.leaky_relu(Tensor(x), slope=alpha),
    "LogSoftmax": on_tensors(ops.log_softmax),
    "MatMul": on_tensors(ops.matmul),
    "MaxPool": max_pool,
    "Momentum": momentum,
    "Mul": on_tensors(ops.multiply),
    "ReduceMean": reduction(ops.mean),
    "ReduceSum": reduction(ops.sum),
    "Relu": on_tensors(ops.relu),
    "Reshape": reshape,
    "Softmax": on_tensors(ops.softmax),
    "SoftmaxCrossEntropyLoss": softmax_cross_entropy,
    "Softplus": on_tensors(ops.softplus),
    "Sub": on_tensors(ops.subtract),
    "Tanh": on_tensors(ops.tanh),
    "Transpose": lambda x, *, perm=None: ops.transpose(Tensor(x), perm),
}
