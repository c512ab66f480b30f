"""The first block of both streams, in one pass over the pixels.

Both streams start with a convolution of the same image, and its output is the largest array of
the network: 62 x 62 x 48 numbers an image, 738 KB. It is never stored. Batch norm wants its mean
and variance beforehand and its values again in backward; both follow from sums over the *input*,
because z = w . q is linear in the patch q of pixels under the window (27 numbers).

Forward. With the mean q_ and covariance C (27 x 27) of all patches of the batch,

    mean z = w . q_        var z = w . C w

so one pass sums q and q q^T, a second computes h = scale z + shift, the activation and the pooled
result. Pixels are integers; their sums are exact, which a variance as the difference of two large
numbers needs (neighbouring pixels are so alike that w . C w may be a thousandth of C's entries).
For backward a byte per pooled number is kept: which of its four pixels pass the gradient.

Backward. With g the gradient at h, one pass sums G = sum q g (27 x 48) and S0 = sum g. Then, M
patches, r = 1 / sqrt(var + eps) and D = G - q_ S0 = sum (q - q_) g,

    S1 = sum g (z - mean z) = w . D        gbeta = S0        ggamma = r S1
    gw = gamma r (D - r^2 S1 C w)

which is batch norm's gradient (see `batch_norm.numpy_ref`) summed against the patches: the term
of S0 vanishes as D's patches have mean zero, and sum (q - q_)(z - mean z) = M C w.

The network's number for a pixel is pixel * unit + offset; the kernels take pixel - centre instead,
and unit and offset go into w and the mean. (An offset of the input moves z, batch norm moves it
back.) The first pass takes 128 for the centre; the others, which round, the batch's mean colour:
where all pixels are alike, 128 w and the mean of z would be large numbers with a small difference.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minissr.kernels.block.numba_simd import QUARTER, first_takes
from minissr.kernels.conv2d.numba_simd import chunk_count, over_pixels, part, slide
from minissr.kernels.jit import njit, pjit, prange
from minissr.kernels.simd import (
    LANES,
    add,
    either,
    flag,
    flagged,
    greater,
    load,
    load_flags,
    load_pixels,
    load_tile,
    maximum,
    multiply,
    outer,
    registers,
    run,
    select,
    splat,
    store,
    store_flags,
    store_tile,
    subtract,
    tanh,
    zeros,
)

WINDOW = 3  # height and width of the window
COLOURS = 3
TAPS = WINDOW * COLOURS  # consecutive numbers under one row of the window
PERIOD = COLOURS * LANES  # numbers after which both colours and registers start again
MIDDLE = np.full(PERIOD, 128, np.float32)  # the centre of whoever knows nothing of the pixels


def fits(images: np.ndarray, w_relu: np.ndarray, w_tanh: np.ndarray) -> bool:
    """Whether these kernels compute this stem: pixels, 3x3x3 windows, whole registers."""
    window = (WINDOW, WINDOW, COLOURS)
    return (
        images.dtype == np.uint8
        and w_relu.dtype == np.float32
        and w_relu.shape[:3] == w_tanh.shape[:3] == window
        and w_relu.shape[3] % LANES == w_tanh.shape[3] % LANES == 0
    )


@njit
def read_pixels(images, at, count, x, x_at, centre):
    """x = pixels - centre: `count` numbers of whole pixels; `centre` (PERIOD,) repeats a colour."""
    whole = count - count % PERIOD
    for i in range(0, whole, PERIOD):
        for c in range(0, PERIOD, LANES):
            pixels = load_pixels(images, at + i + c)
            store(x, x_at + i + c, subtract(pixels, load(centre, c)))
    flat = images.reshape(-1)
    for i in range(whole, count):
        x[x_at + i] = np.float32(flat[at + i]) - centre[i - whole]


# ---- moments of the patches ---------------------------------------------------------------------


@njit
def add_moments(x, h, width, total, product):
    """Add the sums of one image's patches and of their products, by row of the window.

    total : float64 (3, 9), product : float64 (3, 3, 9, 9), the blocks u <= u2 of sum q q^T.

    Row y of the image, as row u of the window, meets row y + d as row u + d. Along the row the
    sums are of integers below 2^24 and therefore exact in float32.
    """
    row, oh, ow = width * COLOURS, h - WINDOW + 1, width - WINDOW + 1
    line = np.empty(TAPS * LANES, np.float32)
    for y in range(h):
        for d in range(min(WINDOW, h - y)):
            for c in range(0, TAPS, LANES):
                here, there = y * row, (y + d) * row + c
                taps = run(here, 1, TAPS)
                sums, plain = registers(TAPS, 1), zeros()
                for p in range(0, ow * COLOURS, COLOURS):
                    sums = outer(sums, x, taps, p, x, there + p)
                    plain = add(plain, load(x, there + p))
                store_tile(line, run(0, LANES, TAPS), sums)
                for u in range(max(0, y - oh + 1), min(WINDOW - d, y + 1)):
                    for i in range(TAPS):
                        for j in range(min(LANES, TAPS - c)):
                            product[u, u + d, i, c + j] += line[i * LANES + j]
                if d == 0:
                    store(line, 0, plain)
                    for u in range(max(0, y - oh + 1), min(WINDOW, y + 1)):
                        for j in range(min(LANES, TAPS - c)):
                            total[u, c + j] += line[j]


@pjit
def patch_moments(images, totals, products):
    """Sums over chunks of images; see `add_moments`."""
    n, h, width, _ = images.shape
    size = h * width * COLOURS
    for k in prange(len(totals)):
        x = np.zeros(size + LANES, np.float32)
        first, end = part(k, len(totals), n)
        for i in range(first, end):
            read_pixels(images, i * size, size, x, 0, MIDDLE)
            add_moments(x, h, width, totals[k], products[k])


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (27,) and covariance (27, 27) of all patches of pixels - 128."""
    n, h, width, _ = images.shape
    chunks = chunk_count(n)
    totals = np.zeros((chunks, WINDOW, TAPS))
    products = np.zeros((chunks, WINDOW, WINDOW, TAPS, TAPS))
    patch_moments(images, totals, products)
    count = n * (h - WINDOW + 1) * (width - WINDOW + 1)
    mean = totals.sum(axis=0).reshape(-1) / count
    blocks = products.sum(axis=0).transpose(0, 2, 1, 3).reshape(27, 27) / count
    upper = np.triu(blocks)  # only the blocks u <= u2 were summed
    return mean, upper + np.triu(blocks, 1).T - np.outer(mean, mean)


# ---- forward ------------------------------------------------------------------------------------


@njit(forceinline=True)
def relu_average(h0, h1, h2, h3, y, y_at, flags, at):
    """y = mean of relu; flagged are the pixels above 0."""
    low = zeros()
    total = add(add(maximum(h0, low), maximum(h1, low)), add(maximum(h2, low), maximum(h3, low)))
    store(y, y_at, multiply(total, splat(QUARTER)))
    upper = either(flag(greater(h0, low), 1), flag(greater(h1, low), 2))
    lower = either(flag(greater(h2, low), 4), flag(greater(h3, low), 8))
    store_flags(flags, at, either(upper, lower))


@njit(forceinline=True)
def tanh_maximum(h0, h1, h2, h3, y, y_at, flags, at):
    """y = largest of tanh; flagged are the pixels below the largest."""
    top = maximum(maximum(h0, h1), maximum(h2, h3))
    store(y, y_at, tanh(top))
    upper = either(flag(greater(top, h0), 1), flag(greater(top, h1), 2))
    store_flags(flags, at, either(upper, flag(greater(top, h2), 4)))


@njit
def stem_image(x, h, width, w, shift, split, y_relu, relu_at, y_tanh, tanh_at, flags, at):
    """Both pooled results of one image, and the flags, from their places on.

    `w` (27, CO) and `shift` (CO,) hold both streams and the batch norm; channels below `split` are
    the ReLU stream's.
    """
    row, co = width * COLOURS, len(shift)
    for py in range((h - WINDOW + 1) // 2):
        for px in range((width - WINDOW + 1) // 2):
            corner = (2 * py * width + 2 * px) * COLOURS
            pixels = (corner, corner + COLOURS, corner + row, corner + row + COLOURS)
            for c in range(0, co, LANES):
                start = load_tile(shift, run(c, 0, 4), 1)
                h0, h1, h2, h3 = slide(start, x, pixels, row, WINDOW, TAPS, w, c, co)
                if c < split:
                    relu_average(h0, h1, h2, h3, y_relu, relu_at + c, flags, at + c)
                else:
                    tanh_maximum(h0, h1, h2, h3, y_tanh, tanh_at + c - split, flags, at + c)
            relu_at, tanh_at, at = relu_at + split, tanh_at + co - split, at + co


@pjit
def stem_images(images, centre, w, shift, split, y_relu, y_tanh, flags):
    n, h, width, _ = images.shape
    size = h * width * COLOURS
    relu_size, tanh_size, flags_size = y_relu.size // n, y_tanh.size // n, flags.size // n
    for i in prange(n):
        x = np.empty(size, np.float32)
        read_pixels(images, i * size, size, x, 0, centre)
        stem_image(
            x, h, width, w, shift, split,
            y_relu, i * relu_size, y_tanh, i * tanh_size, flags, i * flags_size,
        )  # fmt: skip


class Saved(NamedTuple):
    """What `backward` reads; see the head of this module."""

    y_tanh: np.ndarray  # (N, OH, OW, CO - split)
    kept: np.ndarray  # the flags, uint8 (N, OH, OW, CO)
    centre: np.ndarray  # (PERIOD,)
    q_mean: np.ndarray  # of pixels - centre, (27,)
    w: np.ndarray  # (27, CO), times the unit
    spread: np.ndarray  # C w, (27, CO)
    var: np.ndarray  # (CO,)
    gamma: np.ndarray  # (CO,)


def forward(images, unit, offset, eps, w_relu, bias_relu, gamma_relu, beta_relu,
            w_tanh, bias_tanh, gamma_tanh, beta_tanh):  # fmt: skip
    """`composed.forward` for the stems of `fits`; saved is read by `backward` alone."""
    split, co = w_relu.shape[3], w_relu.shape[3] + w_tanh.shape[3]
    w = join(w_relu.reshape(-1, split), w_tanh.reshape(-1, co - split)) * unit  # (27, CO)
    gamma, beta = join(gamma_relu, gamma_tanh), join(beta_relu, beta_tanh)
    q_mean, covariance = moments(images)
    colour = np.rint(q_mean.reshape(-1, COLOURS).mean(axis=0))  # as far from 128
    q_mean -= np.tile(colour, WINDOW * WINDOW)
    centre = (MIDDLE.reshape(-1, COLOURS) + colour.astype(np.float32)).reshape(-1)
    spread = covariance @ w  # C w, (27, CO)
    z_mean = q_mean @ w
    var = np.maximum((w * spread).sum(axis=0), 0)
    scale = gamma / np.sqrt(var + eps)

    n, h, width, _ = images.shape
    pooled = n, (h - WINDOW + 1) // 2, (width - WINDOW + 1) // 2
    y_relu = np.empty((*pooled, split), np.float32)
    y_tanh = np.empty((*pooled, co - split), np.float32)
    flags = np.empty((*pooled, co), np.uint8)
    folded = (w * scale).astype(np.float32), (beta - z_mean * scale).astype(np.float32)
    stem_images(images, centre, *folded, split, y_relu, y_tanh, flags)

    # What `pixel - centre` left out of z:
    moved = (offset / unit + np.tile(centre[:COLOURS], WINDOW * WINDOW).astype(np.float64)) @ w
    mean = (z_mean + moved + join(bias_relu, bias_tanh)).astype(np.float32)
    var32 = var.astype(np.float32)
    saved = Saved(y_tanh, flags, centre, q_mean, w, spread, var, gamma)
    return (
        (y_relu, y_tanh),
        (mean[:split], var32[:split]),
        (mean[split:], var32[split:]),
        saved,
    )


def join(relu: np.ndarray, tanh: np.ndarray) -> np.ndarray:
    """Both streams' channels side by side, in float64."""
    return np.concatenate([relu, tanh], axis=-1, dtype=np.float64)


# ---- backward -----------------------------------------------------------------------------------


@njit(forceinline=True)
def share_out(bits, g, g_at, row, co, out, relu):
    """Write the gradient of one pooled number to the four pixels of its window."""
    nothing = zeros()
    if relu:
        g = multiply(g, splat(QUARTER))
        g0, g1 = select(flagged(bits, 1), g, nothing), select(flagged(bits, 2), g, nothing)
        g2, g3 = select(flagged(bits, 4), g, nothing), select(flagged(bits, 8), g, nothing)
    else:
        g0, g1, g2, g3 = first_takes(flagged(bits, 1), flagged(bits, 2), flagged(bits, 4), g)
    store(out, g_at, g0)
    store(out, g_at + co, g1)
    store(out, g_at + row, g2)
    store(out, g_at + row + co, g3)
    return add(add(g0, g1), add(g2, g3))


@njit
def spread_row(g_relu, relu_at, g_tanh, tanh_at, y_tanh, flags, at, columns, split, co, out, total):
    """The gradient at h of two rows of the image, from one pooled row; adds its sum to `total`."""
    row = 2 * columns * co
    for c in range(0, co, LANES):
        sofar = load(total, c)
        for px in range(columns):
            bits = load_flags(flags, at + px * co + c)
            if c < split:
                g = load(g_relu, relu_at + px * split + c)
            else:
                place = tanh_at + px * (co - split) + c - split
                g, value = load(g_tanh, place), load(y_tanh, place)
                g = subtract(g, multiply(g, multiply(value, value)))
            sofar = add(sofar, share_out(bits, g, 2 * px * co + c, row, co, out, c < split))
        store(total, c, sofar)


@njit
def add_patch_grad(x, x_at, row, g, columns, co, gw):
    """gw (27, CO) += patches of two rows of pixels, `columns` wide, times their gradients."""
    taps = run(0, 1, TAPS)
    for u in range(WINDOW):
        for c in range(0, co, LANES):
            places = run(u * TAPS * co + c, co, TAPS)
            sums = load_tile(gw, places, 1)
            sums = over_pixels(
                sums, x, taps, x_at + u * row, row, COLOURS, g, c, columns * co, co, 2, columns
            )
            store_tile(gw, places, sums)


@pjit
def stem_gradients(images, centre, g_relu, g_tanh, y_tanh, flags, gw, totals):
    """G (27, CO) and S0 (CO,) of every chunk of images."""
    n, h, width, _ = images.shape
    _, rows, columns, co = flags.shape
    split = g_relu.shape[3]
    size, pooled = h * width * COLOURS, rows * columns
    for k in prange(len(gw)):
        x = np.empty(size, np.float32)
        g = np.empty(4 * columns * co, np.float32)
        first, end = part(k, len(gw), n)
        for i in range(first, end):
            read_pixels(images, i * size, size, x, 0, centre)
            for py in range(rows):
                at = i * pooled + py * columns
                spread_row(
                    g_relu, at * split, g_tanh, at * (co - split), y_tanh, flags, at * co,
                    columns, split, co, g, totals[k],
                )  # fmt: skip
                add_patch_grad(
                    x, 2 * py * width * COLOURS, width * COLOURS, g, 2 * columns, co, gw[k]
                )


def backward(g_relu, g_tanh, images, unit, eps, saved):
    """Gradients of `forward`: (gw, ggamma, gbeta) of the ReLU stream, then of the tanh stream."""
    y_tanh, flags, centre, q_mean, w, spread, var, gamma = saved
    chunks, co = chunk_count(len(images)), len(gamma)
    gw, totals = np.zeros((chunks, *w.shape), np.float32), np.zeros((chunks, co), np.float32)
    stem_gradients(images, centre, g_relu, g_tanh, y_tanh, flags, gw, totals)

    s0 = totals.sum(axis=0, dtype=np.float64)
    d = gw.sum(axis=0, dtype=np.float64) - np.outer(q_mean, s0)  # (27, CO)
    s1 = (w * d).sum(axis=0)
    r = 1 / np.sqrt(var + eps)
    g_weights = (unit * gamma * r * (d - r * r * s1 * spread)).astype(np.float32)
    g_gamma, g_beta = (r * s1).astype(np.float32), s0.astype(np.float32)
    split, window = g_relu.shape[3], (WINDOW, WINDOW, COLOURS)
    return (
        (g_weights[:, :split].reshape(*window, -1), g_gamma[:split], g_beta[:split]),
        (g_weights[:, split:].reshape(*window, -1), g_gamma[split:], g_beta[split:]),
    )
