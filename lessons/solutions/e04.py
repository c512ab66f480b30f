"""Lesson 04, answered."""

import numpy as np


def output_size(length, window, stride, before, after):
    room = length + before + after - window  # where the last window may begin
    if room < 0:
        raise ValueError(f"a window of {window} doesn't fit")
    return room // stride + 1


def places(x, w, stride):
    kh, kw = w.shape[:2]
    return output_size(x.shape[1], kh, stride, 0, 0), output_size(x.shape[2], kw, stride, 0, 0)


def met(x, u, v, oh, ow, stride):
    """The pixels that offset (u, v) of the window meets, (N, OH, OW, C); a view."""
    return x[:, u : u + stride * (oh - 1) + 1 : stride, v : v + stride * (ow - 1) + 1 : stride]


def conv_stride(x, w, stride):
    oh, ow = places(x, w, stride)
    return sum(met(x, u, v, oh, ow, stride) @ w[u, v] for u, v in np.ndindex(w.shape[:2]))


def conv_stride_backward(gy, x, w):
    oh, ow = gy.shape[1:3]
    gx, gw = np.zeros_like(x), np.zeros_like(w)  # pixels that no window met keep a gradient of 0
    for u, v in np.ndindex(w.shape[:2]):
        gw[u, v] = np.tensordot(met(x, u, v, oh, ow, 2), gy, axes=((0, 1, 2), (0, 1, 2)))
        met(gx, u, v, oh, ow, 2)[...] += gy @ w[u, v].T
    return gx, gw


def depthwise_backward(gy, x, w):
    oh, ow = gy.shape[1:3]
    gx, gw = np.zeros_like(x), np.zeros_like(w)
    for u, v in np.ndindex(w.shape[:2]):
        gw[u, v] = (met(x, u, v, oh, ow, 1) * gy).sum(axis=(0, 1, 2))
        met(gx, u, v, oh, ow, 1)[...] += gy * w[u, v]
    return gx, gw
