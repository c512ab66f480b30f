"""Random numbers without a state: Philox4x32-10 (Salmon et al. 2011), for many counters at once.

A generator that is stepped along gives image 17 other numbers when image 16 was drawn elsewhere. A
counter-based one is a function: key and counter in, numbers out. With the seed as key and (index,
epoch, block) as counter, what happens to an image depends on nothing else, whatever the batch
size, the order, or where a training was resumed.
"""

from __future__ import annotations

import numpy as np

ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = 0x9E3779B9, 0xBB67AE85  # the key's steps: golden ratio, sqrt(3) - 1


def philox4x32(counter: np.ndarray, key: tuple[int, int]) -> np.ndarray:
    """Ten rounds of Philox.

    Parameters
    ----------
    counter : ndarray (..., 4), uint64 holding 32-bit words.
    key : two 32-bit words.

    Returns
    -------
    ndarray (..., 4), uint64 holding 32-bit words, random ones.
    """
    c0, c1, c2, c3 = (counter[..., i] for i in range(4))
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = _M0 * c0, _M1 * c2  # 64-bit products of 32-bit words
        c0, c1, c2, c3 = (
            (p1 >> _32) ^ c1 ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> _32) ^ c3 ^ np.uint64(k1),
            p0 & _LOW,
        )
        k0, k1 = (k0 + _W0) & 0xFFFFFFFF, (k1 + _W1) & 0xFFFFFFFF
    return np.stack([c0, c1, c2, c3], axis=-1)


def uniform(seed: int, epoch: int, index: np.ndarray, blocks: range) -> np.ndarray:
    """Numbers in [0, 1) that depend on (seed, epoch, index, block) and nothing else.

    Parameters
    ----------
    seed : 0 to 2^64 - 1.
    epoch : 0 to 2^32 - 1.
    index : ndarray (N,), int, not negative: which images.
    blocks : which blocks of 4 numbers; different uses take different blocks.

    Returns
    -------
    ndarray (N, 4 * len(blocks)), float64, multiples of 2^-32.
    """
    index = np.asarray(index, np.uint64)
    counter = np.empty((len(index), len(blocks), 4), np.uint64)
    counter[..., 0] = (index & _LOW)[:, None]
    counter[..., 1] = (index >> _32)[:, None]
    counter[..., 2] = epoch
    counter[..., 3] = np.array(blocks, np.uint64)
    words = philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))
    return words.reshape(len(index), -1) * 2.0**-32
