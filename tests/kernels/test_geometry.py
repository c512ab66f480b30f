"""Where windows lie, by counting them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from minissr.kernels.geometry import crop, cut, output_size, pad, shifted, windows
from tests.strategies import Convolution, convolutions


@given(convolutions())
def test_windows_by_counting(case: Convolution) -> None:
    (_, height, width), (kh, kw), (sh, sw) = case.images, case.size, case.stride
    top, bottom, left, right = case.padding
    rows = [i for i in range(0, top + height + bottom, sh) if i + kh <= top + height + bottom]
    columns = [j for j in range(0, left + width + right, sw) if j + kw <= left + width + right]
    out = output_size(height, width, case.size, case.stride, case.padding)
    assert out == (len(rows), len(columns))

    x = case.x(np.float64)
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=7)
    np.testing.assert_array_equal(pad(x, case.padding, 7), padded)
    np.testing.assert_array_equal(crop(padded, x.shape, case.padding), x)
    every = windows(padded, case.size, case.stride)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            window = padded[:, row : row + kh, column : column + kw].transpose(0, 3, 1, 2)
            np.testing.assert_array_equal(every[:, i, j], window)
    for u, v in np.ndindex(kh, kw):
        under = shifted(padded, u, v, out, case.stride)
        np.testing.assert_array_equal(under, every[..., u, v])


@given(
    st.tuples(*[st.integers(1, 5)] * 2),
    st.tuples(*[st.integers(-9, 9)] * 2),
    st.tuples(*[st.integers(1, 9)] * 2),
)
def test_cut_is_a_part_of_endless_zeros(shape: tuple, corner: tuple, size: tuple) -> None:
    a = np.arange(1.0, 1 + np.prod(shape)).reshape(1, *shape, 1)
    endless = np.pad(a, ((0, 0), (20, 20), (20, 20), (0, 0)))
    (top, left), (height, width) = corner, size
    expected = endless[:, 20 + top : 20 + top + height, 20 + left : 20 + left + width]
    np.testing.assert_array_equal(cut(a, top, left, height, width), expected)
