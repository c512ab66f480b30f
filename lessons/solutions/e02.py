"""Lesson 02, answered."""

import numpy as np


def sigmoid_backward(g, z):
    h = 1 / (1 + np.exp(-z))
    return g * h * (1 - h)


def dense_backward(g, x, w, b):
    # The shapes leave no choice; b is used once in each row.
    return g @ w.T, x.T @ g, g.sum(axis=0)


def huber_backward(g, y, t):
    # The slope of e^2/2 is e, that of |e| - 1/2 the sign: e, cut off at one year.
    return g * np.clip(y - t, -1, 1) / len(y)


def softmax_backward(g, z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))  # less the maximum, so that nothing overflows
    p = e / e.sum(axis=-1, keepdims=True)
    # dp_i/dz_j = p_i [i = j] - p_i p_j; summed over i with g_i:
    return p * (g - (g * p).sum(axis=-1, keepdims=True))


def gradients_of(x, t, w1, b1, w2, b2):
    z = x @ w1 + b1  # (N, H)
    both = np.maximum(z, 0) + z  # (N, H), what w2 meets
    y = (both @ w2 + b2)[:, 0]  # (N,)
    g = (np.sign(y - t) / len(t))[:, None]  # (N, 1)
    both_bar = g @ w2.T  # (N, H)
    z_bar = both_bar * (z > 0) + both_bar  # over the bend, and past it
    return x.T @ z_bar, z_bar.sum(axis=0), both.T @ g, g.sum(axis=0)
