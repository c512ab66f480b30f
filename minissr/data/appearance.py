"""Augmentations that change pixels where they are: light, colour, blur, erasing.

The paper has none of them; they are extras for data sets that are small or all of one kind. Each
takes images (N, S, S, 3) uint8 and draws (N, D) in [0, 1), one row an image, and returns new
images. The first draw decides whether anything happens.
"""

from __future__ import annotations

import numpy as np

# name_SHARE: of the images it happens to
LIGHT_SHARE, CONTRAST, BRIGHTNESS = 0.5, (0.7, 1.3), (-32.0, 32.0)
COLOR_SHARE, GAIN = 0.5, (0.85, 1.15)
BLUR_SHARE, SIGMA, RADIUS = 0.25, (0.4, 1.4), 2  # pixels
ERASE_SHARE, AREA, ASPECT = 0.5, (0.02, 0.2), (0.3, 3.3)  # area: share of the image


def spread(u: np.ndarray, low: float, high: float) -> np.ndarray:
    """Numbers in [0, 1) to numbers in [low, high)."""
    return low + u * (high - low)


def light(images: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Contrast about mid-grey and brightness: 128 + g (x - 128) + b."""
    on = u[:, 0] < LIGHT_SHARE
    g = np.where(on, spread(u[:, 1], *CONTRAST), 1.0)[:, None, None]
    b = np.where(on, spread(u[:, 2], *BRIGHTNESS), 0.0)[:, None, None]
    x = np.arange(256.0)[:, None]
    return _through_table(images, 128.0 + g * (x - 128.0) + b, on)


def color(images: np.ndarray, u: np.ndarray) -> np.ndarray:
    """White balance: each channel times a number near 1."""
    on = u[:, 0] < COLOR_SHARE
    gains = spread(u[:, 1:4], *GAIN)[:, None, :]  # (N, 1, 3)
    return _through_table(images, np.arange(256.0)[:, None] * gains, on)


def _through_table(images: np.ndarray, tables: np.ndarray, on: np.ndarray) -> np.ndarray:
    """Replace each pixel x of channel k by tables[n, x, k] (N, 256, 3 or 1), where `on`."""
    tables = np.clip(np.rint(tables), 0, 255).astype(np.uint8)
    tables = np.broadcast_to(tables, (len(images), 256, images.shape[3]))
    out = images.copy()
    for n in np.flatnonzero(on):
        for k in range(images.shape[3]):
            out[n, :, :, k] = tables[n, :, k][images[n, :, :, k]]
    return out


def blur(images: np.ndarray, u: np.ndarray) -> np.ndarray:
    """A Gaussian of 5 x 5 pixels; beyond the edge the nearest pixel stands."""
    on = np.flatnonzero(u[:, 0] < BLUR_SHARE)
    out = images.copy()
    if not on.size:
        return out
    sigma = spread(u[on, 1], *SIGMA)[:, None]
    weights = np.exp(-0.5 * (np.arange(-RADIUS, RADIUS + 1) / sigma) ** 2)  # (n, 5)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    y = images[on].astype(np.float32)
    for axis in (1, 2):
        size = y.shape[axis]
        places = np.arange(size)
        taps = [
            weights[:, i, None, None, None] * y.take((places + i - RADIUS).clip(0, size - 1), axis)
            for i in range(2 * RADIUS + 1)
        ]
        y = sum(taps[1:], taps[0])
    out[on] = np.rint(y).astype(np.uint8)
    return out


def erase(images: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Cover a rectangle with one colour (random erasing, Zhong et al. 2017)."""
    _, H, W, _ = images.shape
    area = spread(u[:, 1], *AREA) * H * W
    aspect = np.exp(spread(u[:, 2], *np.log(ASPECT).tolist()))
    heights = np.clip(np.rint(np.sqrt(area * aspect)), 1, H).astype(int)
    widths = np.clip(np.rint(np.sqrt(area / aspect)), 1, W).astype(int)
    tops = (u[:, 3] * (H - heights + 1)).astype(int)
    lefts = (u[:, 4] * (W - widths + 1)).astype(int)
    colors = (u[:, 5:8] * 256).astype(np.uint8)
    out = images.copy()
    for n in np.flatnonzero(u[:, 0] < ERASE_SHARE):
        top, left = tops[n], lefts[n]
        out[n, top : top + heights[n], left : left + widths[n]] = colors[n]
    return out
