"""Lesson 05, answered."""

import numpy as np


def flat_index(place, shape):
    at = 0
    for index, length in zip(place, shape, strict=True):
        at = at * length + index
    return at


def best_tile(count, most_v):
    best, most = (1, 1), 0.0
    for v in range(1, most_v + 1):
        for p in range(1, count):
            fits = p * v + v + 1 <= count
            if fits and p * v / (p + v) > most:  # not >=: among equals the smaller V stays
                best, most = (p, v), p * v / (p + v)
    return best


def repeatable_sum(values, threads):
    size = 100  # numbers in a piece, whoever adds it up; `threads` only says how many at once
    pieces = [values[i : i + size].sum(dtype=np.float32) for i in range(0, len(values), size)]
    total = np.float32(0)
    for piece in pieces:
        total += piece
    return total, len(pieces)


def roofline(n, side, c, co, peak, bandwidth):
    out = side - 2
    operations = 2 * n * out**2 * co * 9 * c
    moved = 4 * (n * side**2 * c + 9 * c * co + n * out**2 * co)  # bytes
    return operations / max(operations / peak, moved / bandwidth)


def two_results(d, g):
    d0, d1, d2, d3 = d
    g0, g1, g2 = g
    m0 = (d0 - d2) * g0
    m1 = (d1 + d2) * ((g0 + g1 + g2) / 2)
    m2 = (d2 - d1) * ((g0 - g1 + g2) / 2)
    m3 = (d1 - d3) * g2
    return m0 + m1 + m2, m1 - m2 - m3
