"""The stream block on vector registers: what is kept, and what is computed a second time.

Forward, with z the convolution's output without its bias (batch norm would subtract it again):

    pass 1   z = x * w, image by image; the image's mean and sum of squares while z is in the cache
    between  mean and variance of the batch, in float64, image after image
    pass 2   h = scale z + shift,  y = pool f(h);   scale = gamma r,  shift = beta - scale mean,
             r = 1 / sqrt(var + eps)

Only z is kept for backward (and four numbers a channel). h, the activation and which pixel of a
window won are a few instructions each, cheaper to repeat than to store and load.

Backward, with g the gradient at h (unpooled, times f'(h)) and M the samples of a channel:

    pass 1   S0 = sum g,  S1 = sum g (z - mean)                   gbeta = S0,  ggamma = r S1
    pass 2   gz = scale g + b z + c,  b = -scale r^2 S1 / M,  c = -scale S0 / M - b mean
             with a rim of zeros, and from it the gradients of the weights and of x
             while it is in the cache

The second is batch norm's gradient (see `batch_norm.numpy_ref`) with its terms collected by what
they multiply. Images are worked on in parallel, weight gradients are summed over chunks of images
that depend on the batch size alone, and so are the bits of the result.
"""

from __future__ import annotations

import numpy as np

from minissr.kernels.conv2d.numba_simd import (
    add_weight_grad_image,
    chunk_count,
    correlate_image,
    part,
    turned,
    widened,
)
from minissr.kernels.jit import njit, pjit, prange
from minissr.kernels.simd import (
    LANES,
    add,
    fma,
    greater,
    load,
    maximum,
    multiply,
    select,
    splat,
    store,
    subtract,
    tanh,
    zeros,
)

AVG, MAX, NONE = 0, 1, 2
POOL_CODES = {"avg": AVG, "max": MAX, "none": NONE}
QUARTER = np.float32(0.25)


def fits(x: np.ndarray, w: np.ndarray) -> bool:
    """Whether these kernels compute a block of this kind."""
    return w.shape[3] % LANES == 0 and w.dtype == np.float32 and x.dtype in (np.float32, np.uint8)


# ---- forward ------------------------------------------------------------------------------------


@njit
def image_moments(z, at, pixels, co, mean, squares, out):
    """Mean, and sum of squares around it, of each channel of one image, to index `out` and on."""
    share = splat(np.float32(1.0 / pixels))
    for c in range(0, co, LANES):
        even, odd = zeros(), zeros()
        for p in range(0, pixels - 1, 2):
            even = add(even, load(z, at + p * co + c))
            odd = add(odd, load(z, at + (p + 1) * co + c))
        if pixels % 2:
            even = add(even, load(z, at + (pixels - 1) * co + c))
        centre = multiply(add(even, odd), share)
        store(mean, out + c, centre)
        even, odd = zeros(), zeros()
        for p in range(0, pixels - 1, 2):
            here = subtract(load(z, at + p * co + c), centre)
            next_one = subtract(load(z, at + (p + 1) * co + c), centre)
            even, odd = fma(here, here, even), fma(next_one, next_one, odd)
        if pixels % 2:
            here = subtract(load(z, at + (pixels - 1) * co + c), centre)
            even = fma(here, here, even)
        store(squares, out + c, add(even, odd))


@njit
def batch_moments(means, squares, pixels, mean, var):
    """Mean and biased variance over all images, in float64 (Chan et al. 1979)."""
    images, channels = means.shape
    for c in range(channels):
        centre = 0.0
        for n in range(images):
            centre += means[n, c]
        centre /= images
        spread = 0.0
        for n in range(images):
            spread += squares[n, c] + pixels * (means[n, c] - centre) ** 2
        mean[c] = centre
        var[c] = spread / (images * pixels)


@njit(forceinline=True)
def activate(h, relu):
    return maximum(h, zeros()) if relu else tanh(h)


@njit(forceinline=True)
def normed(z, at, scale, shift, c):
    return fma(load(z, at), load(scale, c), load(shift, c))


@njit
def finish_image(z, z_at, oh, ow, co, scale, shift, relu, pool, y, y_at):
    """y = pool f(scale z + shift) of one image."""
    row = ow * co
    if pool == NONE:
        for i in range(0, oh * row, co):
            for c in range(0, co, LANES):
                h = normed(z, z_at + i + c, scale, shift, c)
                store(y, y_at + i + c, activate(h, relu))
        return
    for py in range(oh // 2):
        for px in range(ow // 2):
            for c in range(0, co, LANES):
                at = z_at + 2 * py * row + 2 * px * co + c
                h0 = normed(z, at, scale, shift, c)
                h1 = normed(z, at + co, scale, shift, c)
                h2 = normed(z, at + row, scale, shift, c)
                h3 = normed(z, at + row + co, scale, shift, c)
                if pool == MAX:  # the activations are monotonic: the largest stays the largest
                    pooled = activate(maximum(maximum(h0, h1), maximum(h2, h3)), relu)
                else:
                    upper = add(activate(h0, relu), activate(h1, relu))
                    lower = add(activate(h2, relu), activate(h3, relu))
                    pooled = multiply(add(upper, lower), splat(QUARTER))
                store(y, y_at + c, pooled)
            y_at += co


@pjit
def forward_images(x, w, gamma, beta, eps, relu, pool, z, y, mean, var, scale, shift):
    """Fill z, y, and what belongs to a channel: mean and var of z, scale and shift."""
    n, h, width, ci = x.shape
    kh, kw, _, co = w.shape
    oh, ow = h - kh + 1, width - kw + 1
    size, y_size = oh * ow * co, y.size // n
    means, squares = np.empty((n, co), np.float32), np.empty((n, co), np.float32)
    for i in prange(n):
        correlate_image(x, i * h * width * ci, h, width, ci, w, kh, kw, z, i * size, co, False)
        image_moments(z, i * size, oh * ow, co, means, squares, i * co)
    batch_moments(means, squares, oh * ow, mean, var)
    for c in range(co):
        scale[c] = gamma[c] / np.sqrt(var[c] + eps)
        shift[c] = beta[c] - mean[c] * scale[c]
    for i in prange(n):
        finish_image(z, i * size, oh, ow, co, scale, shift, relu, pool, y, i * y_size)


def forward(x, w, bias, gamma, beta, eps, activation, pool):
    """`composed.forward` for the shapes of `fits`; saved is (z, its mean, scale, shift)."""
    x = x.astype(np.float32, copy=False)
    n, h, width, _ = x.shape
    kh, kw, _, co = w.shape
    oh, ow = h - kh + 1, width - kw + 1
    z = np.empty((n, oh, ow, co), np.float32)
    y = np.empty_like(z) if pool == "none" else np.empty((n, oh // 2, ow // 2, co), np.float32)
    mean, var, scale, shift = (np.empty(co, np.float32) for _ in range(4))
    settings = np.float64(eps), activation == "relu", POOL_CODES[pool]
    forward_images(x, w, gamma, beta, *settings, z, y, mean, var, scale, shift)
    return y, mean + bias, var, (z, mean, scale, shift)


# ---- backward -----------------------------------------------------------------------------------


@njit(forceinline=True)
def through(h, g, relu):
    """The gradient g at f(h), carried to h: relu'(0) = 0, tanh' = 1 - tanh^2."""
    if relu:
        return select(greater(h, zeros()), g, zeros())
    value = tanh(h)
    return subtract(g, multiply(g, multiply(value, value)))


@njit(forceinline=True)
def first_takes(below0, below1, below2, g):
    """g for the first pixel of a window that is not below the largest, nothing for the others."""
    nothing = zeros()
    g0, g = select(below0, nothing, g), select(below0, g, nothing)
    g1, g = select(below1, nothing, g), select(below1, g, nothing)
    return g0, g1, select(below2, nothing, g), select(below2, g, nothing)


@njit(forceinline=True)
def unpool(h0, h1, h2, h3, g, relu, pool):
    """The gradient g of a pooled pixel, carried to h at the four pixels of its window."""
    if pool == AVG:
        g = multiply(g, splat(QUARTER))
        return (
            through(h0, g, relu),
            through(h1, g, relu),
            through(h2, g, relu),
            through(h3, g, relu),
        )
    top = maximum(maximum(h0, h1), maximum(h2, h3))
    below = greater(top, h0), greater(top, h1), greater(top, h2)
    return first_takes(below[0], below[1], below[2], through(top, g, relu))


@njit
def gradient_sums(gy, g_at, z, z_at, oh, ow, co, mean, scale, shift, relu, pool, s0, s1, out):
    """Sums of g and of g (z - mean) over one image, to index `out` and on."""
    row = ow * co
    for c in range(0, co, LANES):
        centre, total, product = load(mean, c), zeros(), zeros()
        if pool == NONE:
            for i in range(c, oh * row, co):
                value = load(z, z_at + i)
                g = through(normed(z, z_at + i, scale, shift, c), load(gy, g_at + i), relu)
                total = add(total, g)
                product = fma(g, subtract(value, centre), product)
        else:
            pooled_at = g_at + c
            for py in range(oh // 2):
                for at in range(z_at + 2 * py * row + c, z_at + (2 * py + 1) * row - co, 2 * co):
                    h0 = normed(z, at, scale, shift, c)
                    h1 = normed(z, at + co, scale, shift, c)
                    h2 = normed(z, at + row, scale, shift, c)
                    h3 = normed(z, at + row + co, scale, shift, c)
                    g0, g1, g2, g3 = unpool(h0, h1, h2, h3, load(gy, pooled_at), relu, pool)
                    total = add(total, add(add(g0, g1), add(g2, g3)))
                    product = fma(g0, subtract(load(z, at), centre), product)
                    product = fma(g1, subtract(load(z, at + co), centre), product)
                    product = fma(g2, subtract(load(z, at + row), centre), product)
                    product = fma(g3, subtract(load(z, at + row + co), centre), product)
                    pooled_at += co
        store(s0, out + c, total)
        store(s1, out + c, product)


@njit(forceinline=True)
def put_gradient(gz, at, g, z, z_at, scale, b, c_term, c):
    """gz = scale g + b z + c."""
    rest = fma(load(b, c), load(z, z_at), load(c_term, c))
    store(gz, at, fma(load(scale, c), g, rest))


@njit
def put_gradients(
    gy, g_at, z, z_at, oh, ow, co, scale, shift, relu, pool, b, c_term, gz, gz_at, gz_row
):
    """gz of one image, its rows `gz_row` apart."""
    row = ow * co
    for c in range(0, co, LANES):
        if pool == NONE:
            for i in range(oh):
                for j in range(c, row, co):
                    at = z_at + i * row + j
                    g = load(gy, g_at + i * row + j)
                    g = through(normed(z, at, scale, shift, c), g, relu)
                    put_gradient(gz, gz_at + i * gz_row + j, g, z, at, scale, b, c_term, c)
            continue
        pooled_at = g_at + c
        for i in range(0, oh - 1, 2):
            at, to = z_at + i * row + c, gz_at + i * gz_row + c
            for _ in range(ow // 2):
                h0 = normed(z, at, scale, shift, c)
                h1 = normed(z, at + co, scale, shift, c)
                h2 = normed(z, at + row, scale, shift, c)
                h3 = normed(z, at + row + co, scale, shift, c)
                g0, g1, g2, g3 = unpool(h0, h1, h2, h3, load(gy, pooled_at), relu, pool)
                put_gradient(gz, to, g0, z, at, scale, b, c_term, c)
                put_gradient(gz, to + co, g1, z, at + co, scale, b, c_term, c)
                put_gradient(gz, to + gz_row, g2, z, at + row, scale, b, c_term, c)
                put_gradient(gz, to + gz_row + co, g3, z, at + row + co, scale, b, c_term, c)
                at, to, pooled_at = at + 2 * co, to + 2 * co, pooled_at + co
            if ow % 2:  # the last column belongs to no window
                put_gradient(gz, to, zeros(), z, at, scale, b, c_term, c)
                put_gradient(gz, to + gz_row, zeros(), z, at + row, scale, b, c_term, c)
        if oh % 2:  # nor does the last row
            at, to = z_at + (oh - 1) * row + c, gz_at + (oh - 1) * gz_row + c
            for j in range(0, row, co):
                put_gradient(gz, to + j, zeros(), z, at + j, scale, b, c_term, c)


@pjit
def backward_images(
    gy, x, w_turned, eps, relu, pool, z, mean, var, scale, shift, parts, gx, adds, gw, ggamma, gbeta
):
    """Fill gx (unless it is empty), or add to it, and fill gw, ggamma and gbeta.

    `parts` (chunks, ...) is room for the weight gradients of the chunks of images. `w_turned` and
    gx have whole registers of x's channels.
    """
    n, h, width, ci = x.shape
    kh, kw, co, wide = w_turned.shape
    oh, ow = h - kh + 1, width - kw + 1
    x_size, gx_size = h * width * ci, h * width * wide
    z_size, g_size = oh * ow * co, gy.size // n
    s0, s1 = np.empty((n, co), np.float32), np.empty((n, co), np.float32)
    for i in prange(n):
        gradient_sums(
            gy,
            i * g_size,
            z,
            i * z_size,
            oh,
            ow,
            co,
            mean,
            scale,
            shift,
            relu,
            pool,
            s0,
            s1,
            i * co,
        )

    # gz = scale g + b z + c
    b, c_term = np.empty(co, np.float32), np.empty(co, np.float32)
    for c in range(co):
        total, product = 0.0, 0.0
        for i in range(n):
            total += s0[i, c]
            product += s1[i, c]
        samples, spread = n * oh * ow, var[c] + eps
        slope = -scale[c] * product / (spread * samples)
        b[c], c_term[c] = slope, -scale[c] * total / samples - slope * mean[c]
        ggamma[c], gbeta[c] = product / np.sqrt(spread), total

    # The rim of zeros: KH - 1 rows above and below, KW - 1 columns left and right.
    full_h, full_w = oh + 2 * (kh - 1), ow + 2 * (kw - 1)
    inner = ((kh - 1) * full_w + kw - 1) * co
    for k in prange(len(parts)):
        first, end = part(k, len(parts), n)
        parts[k] = 0
        gz = np.zeros(full_h * full_w * co, np.float32)
        for i in range(first, end):
            put_gradients(
                gy, i * g_size, z, i * z_size, oh, ow, co, scale, shift, relu, pool,
                b, c_term, gz, inner, full_w * co,
            )  # fmt: skip
            add_weight_grad_image(
                x, i * x_size, h, width, ci, gz, inner, full_w * co, parts, k * gw.size, kh, kw, co
            )
            if gx.size:
                correlate_image(
                    gz, 0, full_h, full_w, co, w_turned, kh, kw, gx, i * gx_size, wide, adds
                )
    flat = gw.reshape(-1)
    for k in prange(kh * kw * ci):
        for c in range(k * co, (k + 1) * co, LANES):
            total = load(parts, c)
            for i in range(1, len(parts)):
                total = add(total, load(parts, i * gw.size + c))
            store(flat, c, total)


def backward(gy, x, w, gamma, beta, eps, activation, pool, mean, var, saved, need_gx, onto):
    """`composed.backward` for the shapes of `fits`."""
    x = x.astype(np.float32, copy=False)
    z, z_mean, scale, shift = saved
    w_turned = widened(turned(w))
    shape, whole = (*x.shape[:3], w_turned.shape[3]), w_turned.shape[3] == x.shape[3]
    adds = onto is not None and whole
    gx = onto if adds else np.empty(shape if need_gx else (0, 0, 0, 0), np.float32)
    gw, ggamma, gbeta = np.empty_like(w), np.empty_like(gamma), np.empty_like(beta)
    parts = np.empty((chunk_count(len(x)), w.size), np.float32)
    settings = np.float64(eps), activation == "relu", POOL_CODES[pool]
    backward_images(
        gy, x, w_turned, *settings, z, z_mean, var, scale, shift, parts,
        gx, adds, gw, ggamma, gbeta,
    )  # fmt: skip
    if need_gx and not whole:
        gx = np.ascontiguousarray(gx[..., : x.shape[3]])
        gx = gx if onto is None else np.add(onto, gx, out=onto)
    return gx if need_gx else None, gw, np.zeros_like(gamma), ggamma, gbeta
