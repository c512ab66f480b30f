"""Lesson 07, answered."""

import numpy as np


def max_pool_backward(gy, x):
    n, h, w, c = x.shape
    oh, ow = h // 2, w // 2
    whole = x[:, : 2 * oh, : 2 * ow]
    windows = whole.reshape(n, oh, 2, ow, 2, c).transpose(0, 1, 3, 5, 2, 4).reshape(n, oh, ow, c, 4)
    won = np.arange(4) == windows.argmax(axis=4)[..., None]  # argmax gives the first of equals
    pieces = (gy[..., None] * won).reshape(n, oh, ow, c, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    gx = np.zeros_like(x)
    gx[:, : 2 * oh, : 2 * ow] = pieces.reshape(whole.shape)
    return gx


def avg_pool_backward(gy, x):
    oh, ow = gy.shape[1:3]
    gx = np.zeros_like(x)
    for u, v in np.ndindex(3, 3):  # += : a pixel may lie in four windows
        gx[:, u : u + 2 * oh - 1 : 2, v : v + 2 * ow - 1 : 2] += gy / 9
    return gx


def softplus(x):
    e = np.exp(-np.abs(x))  # never above 1
    return np.maximum(x, 0) + np.log1p(e), np.where(x >= 0, 1, e) / (1 + e)


def dead_units(z):
    return np.flatnonzero((z <= 0).all(axis=0)).tolist()  # at exactly 0 the slope is 0, too
