"""Lesson 04: places of a window, strides forward and back, a filter for each channel."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from lessons.check import exercise
from lessons.checking import Case, attempted, gradients, require, same
from minissr import Tensor, ops


def places(length: int, window: int, stride: int, before: int, after: int) -> int:
    """Counted, not computed."""
    return sum(1 for i in range(0, length + before + after, stride)
               if i + window <= length + before + after)  # fmt: skip


@exercise(
    "04.1",
    "output_size",
    (
        "The last window must end inside. Where may it begin at most?",
        "At length + before + after - window; places 0, stride, 2 stride, ... up to there.",
        "room = length + before + after - window; room // stride + 1, and an error if room < 0.",
    ),
)
def output_size(answer: Any) -> None:
    every = itertools.product((1, 2, 5, 6), (1, 2, 3, 4), (1, 2, 3), (0, 1), (0, 1, 2))
    for arguments in sorted(every, key=lambda a: (sum(a), a)):
        names = ("length", "window", "stride", "before", "after")
        case: Case = dict(zip(names, arguments, strict=True))
        if wanted := places(*arguments):
            same(answer, lambda *_, n=wanted: n, [case], name="output_size")
            continue
        try:
            got = attempted(answer(*arguments))
        except ValueError:
            continue
        require(False, f"output_size{arguments} gave {got}; the window never fits: ValueError")


def conv(x: Any, w: Any, stride: int) -> Any:
    return ops.conv2d(Tensor(x), Tensor(w), stride=stride).data


SIZES = [
    # n, h, w, kh, kw, c, co
    (1, 1, 1, 1, 1, 1, 1), (1, 2, 1, 1, 1, 1, 1), (1, 3, 1, 2, 1, 1, 1), (1, 1, 4, 1, 2, 1, 1),
    (1, 3, 3, 2, 2, 1, 1), (2, 4, 5, 3, 2, 2, 3), (2, 6, 5, 3, 3, 2, 2),
]  # fmt: skip


def pairs() -> list[Case]:
    rng = np.random.default_rng(0)
    return [
        {"x": rng.normal(size=(n, h, w, c)), "w": rng.normal(size=(kh, kw, c, co))}
        for n, h, w, kh, kw, c, co in SIZES
    ]


@exercise(
    "04.2",
    "conv_stride",
    (
        "Compute the convolution at every place and keep every stride-th. Then don't compute the "
        "rest.",
        "In conv_offsets, the shifted picture becomes x[:, u : u + reach : stride, ...]. How far "
        "is reach?",
        "oh = (H - KH) // stride + 1; the rows of offset u are x[:, u : u + oh * stride : stride], "
        "which NumPy cuts at the end; take exactly oh of them: [:, :oh].",
    ),
)
def conv_stride(answer: Any) -> None:
    cases = [{**pair, "stride": stride} for pair in pairs() for stride in (1, 2, 3)]
    same(answer, conv, cases, name="conv_stride")


@exercise(
    "04.3",
    "conv_stride_backward",
    (
        "It is lesson 04's backward with windows that begin at every second pixel.",
        "For each offset (u, v): the pixels of x at u, u + 2, ... met gy, all of it, by w[u, v].",
        "met = x[:, u : u + 2 * oh - 1 : 2, v : v + 2 * ow - 1 : 2]; gw[u, v] is the product of "
        "met and gy summed over n, i, j; the same slice of gx gets += gy @ w[u, v].T.",
    ),
)
def conv_stride_backward(answer: Any) -> None:
    gradients(lambda x, w: conv(x, w, 2), answer, pairs(), name="conv_stride_backward")


def depthwise(x: Any, w: Any) -> Any:
    return ops.conv2d(Tensor(x), Tensor(w[:, :, None, :]), groups=x.shape[3]).data


@exercise(
    "04.4",
    "depthwise_backward",
    (
        "Without a sum over channels there is no matrix product: everything is number by number.",
        "For each offset: gw[u, v] = (shifted x * gy) summed over n, i, j, one for each channel.",
        "gx[:, u : u + oh, v : v + ow] += gy * w[u, v]",
    ),
)
def depthwise_backward(answer: Any) -> None:
    rng = np.random.default_rng(0)
    cases = [
        {"x": rng.normal(size=(n, h, w, c)), "w": rng.normal(size=(kh, kw, c))}
        for n, h, w, kh, kw, c, _ in SIZES
    ]
    gradients(depthwise, answer, cases, name="depthwise_backward")


def one_too_few(length: Any, window: Any, stride: Any, before: Any, after: Any) -> Any:
    room = length + before + after - window
    if room < 0:
        raise ValueError
    return -(-room // stride) + 1


def never_refuses(length: Any, window: Any, stride: Any, before: Any, after: Any) -> Any:
    return (length + before + after - window) // stride + 1


def windows_that_touch(x: Any, w: Any, stride: Any) -> Any:
    return conv(x, w, 1)[:, : x.shape[1] // stride * stride : stride, ::stride][:, :1]


def turned(gy: Any, x: Any, w: Any) -> Any:
    tx, tw = Tensor(x, requires_grad=True), Tensor(w[::-1, ::-1].copy(), requires_grad=True)
    ops.conv2d(tx, tw, stride=2).backward(gy)
    return tx.grad, tw.grad


def mixes_channels(gy: Any, x: Any, w: Any) -> Any:
    gx, gw = np.zeros_like(x), np.zeros_like(w)
    oh, ow = gy.shape[1:3]
    for u, v in np.ndindex(w.shape[:2]):
        met = x[:, u : u + oh, v : v + ow]
        gw[u, v] = (met * gy).sum()
        gx[:, u : u + oh, v : v + ow] += gy * w[u, v]
    return gx, gw


WRONG = {
    "04.1": [one_too_few, never_refuses],
    "04.2": [windows_that_touch],
    "04.3": [turned],
    "04.4": [mixes_channels],
}
