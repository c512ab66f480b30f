"""Lesson 04: a convolution and its gradients, index by index, and the adjoint."""

from __future__ import annotations

import itertools

import numpy as np

from minissr import Tensor, ops
from tests.lessons.formulas.registry import formula

RNG = np.random.default_rng(0)
X, W, B = (Tensor(RNG.normal(size=s), requires_grad=True) for s in ((2, 4, 3, 2), (3, 2, 2, 3), 3))
Y = ops.conv2d(X, W, B)
GY = RNG.normal(size=Y.shape)
Y.backward(GY)


@formula(r"y_{nijq} = b_q + \sum_{u} \sum_{v} \sum_{k} x_{n,\, i+u,\, j+v,\, k} \; w_{uvkq}")
def convolution() -> None:
    for n, i, j, q in np.ndindex(Y.shape):
        total = B.data[q] + sum(
            X.data[n, i + u, j + v, k] * W.data[u, v, k, q] for u, v, k in np.ndindex(3, 2, 2)
        )
        assert np.isclose(total, Y.data[n, i, j, q])


@formula(r"\bar{W} = M^T \bar{y}, \qquad \bar{b} = \sum_{n,i,j} \bar{y}_{nij}")
def as_a_matrix() -> None:
    _, oh, ow, co = Y.shape
    rows = [
        [X.data[n, i + u, j + v, k] for u, v, k in np.ndindex(3, 2, 2)]
        for n, i, j in np.ndindex(2, oh, ow)
    ]
    assert np.allclose((np.array(rows).T @ GY.reshape(-1, co)).reshape(W.shape), W.grad)
    assert np.allclose(sum(GY[n, i, j] for n, i, j in np.ndindex(2, oh, ow)), B.grad)


@formula(r"\bar{w}_{uvkq} = \sum_{n,i,j} x_{n,\, i+u,\, j+v,\, k} \; \bar{y}_{nijq}")
def weights() -> None:
    for u, v, k, q in np.ndindex(W.shape):
        total = sum(
            X.data[n, i + u, j + v, k] * GY[n, i, j, q] for n, i, j in np.ndindex(GY.shape[:3])
        )
        assert np.isclose(total, W.grad[u, v, k, q])


@formula(r"\bar{x}_{nhmk} = \sum_{u} \sum_{v} \sum_{q} \bar{y}_{n,\, h-u,\, m-v,\, q} \; w_{uvkq}")
def picture() -> None:
    _, oh, ow, co = GY.shape
    for n, h, m, k in np.ndindex(X.shape):
        total = sum(
            GY[n, h - u, m - v, q] * W.data[u, v, k, q]
            for u, v, q in itertools.product(range(3), range(2), range(co))
            if 0 <= h - u < oh and 0 <= m - v < ow
        )
        assert np.isclose(total, X.grad[n, h, m, k])


@formula(r"\sum \bar{y} \cdot \operatorname{conv}(x) = \sum \bar{x} \cdot x")
def adjoint() -> None:
    without_bias = Y.data - B.data
    assert np.isclose((GY * without_bias).sum(), (X.grad * X.data).sum())
