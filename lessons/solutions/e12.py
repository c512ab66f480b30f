"""Lesson 12, one answer to each exercise."""

import numpy as np


def backward_index(g_q, p, eta):
    """q = sum p_i (i + eta_i): the slope in p_i is i + eta_i, in eta_i it is p_i."""
    g_q = g_q[:, None]
    return g_q * (np.arange(p.shape[1]) + eta), g_q * p


def backward_widths(g_w, delta, stages, V):
    """Every w_k with k >= j has the slope -w_k / f_j: add up g_w w from the finest stage back."""
    f = 1 + delta
    w = V / np.cumprod(np.array(stages) * f, axis=1)
    return -np.cumsum((g_w * w)[:, ::-1], axis=1)[:, ::-1] / f


def backward_age(g, p, eta, delta, stages, V, floor):
    """The two exercises before, and 0 for delta where the floor holds."""
    f = np.maximum(1 + delta, floor)
    w = V / np.cumprod(np.array(stages) * f, axis=1)
    gp, geta, q, first = [], [], [], 0
    for k, s in enumerate(stages):
        bins = slice(first, first + s)
        shifted = np.arange(s) + eta[:, bins]
        q.append((p[:, bins] * shifted).sum(axis=1))
        gp.append((g * w[:, k])[:, None] * shifted)
        geta.append((g * w[:, k])[:, None] * p[:, bins])
        first += s
    years = w * np.stack(q, axis=1)
    gdelta = -g[:, None] * np.cumsum(years[:, ::-1], axis=1)[:, ::-1] / f
    gdelta = np.where(1 + delta > floor, gdelta, 0.0)
    return np.concatenate(gp, axis=1), np.concatenate(geta, axis=1), gdelta


def backward_logit(g, age_part, z):
    """-(age_part / f) (1 - tanh^2): f = 1 + tanh cancels, and 1 - tanh is left. (The age isn't
    finite at the pole; but a loss that saw it through `age_part` has a finite gradient.)
    """
    return -g * age_part * (1 - np.tanh(z))
