"""The ops hand the kernels contiguous arrays: a caller's memory order changes no bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

from minissr import Tensor, ops, use_backend
from tests.conftest import CPU_BACKENDS
from tests.strategies import LAYOUTS, Convolution, convolutions, layouts


@settings(max_examples=10)
@given(convolutions(), layouts, layouts)
def test_memory_order_changes_nothing(case: Convolution, of_x: str, of_w: str) -> None:
    x, w = case.x(np.float32), case.w(np.float32)
    channel = np.ones(x.shape[3], np.float32)
    for name in CPU_BACKENDS:
        with use_backend(name):
            for fx, fw in ((np.ascontiguousarray,) * 2, (LAYOUTS[of_x], LAYOUTS[of_w])):
                images = Tensor(fx(x))
                found = [
                    ops.conv2d(images, Tensor(fw(w)), None, *case.settings),
                    ops.max_pool(images, 1, 2),
                    ops.avg_pool(images, 1, 2),
                ]
                if x.size > x.shape[3]:
                    found.append(ops.batch_norm(images, Tensor(channel), Tensor(channel))[0])
                if fx is np.ascontiguousarray and fw is np.ascontiguousarray:
                    expected = found
                for a, b in zip(found, expected, strict=True):
                    np.testing.assert_array_equal(a.data, b.data)
