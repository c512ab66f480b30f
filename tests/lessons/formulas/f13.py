"""The formulas of lesson 13."""

import numpy as np

from minissr.models.streams import TwoStreams
from tests.lessons.formulas.registry import formula


@formula(r"n' = \left\lfloor \frac{n - 2}{2} \right\rfloor")
def size_after_a_block() -> None:
    for image_size in (50, 64, 77):
        n, sizes = image_size, []
        for _ in range(4):
            n = (n - 2) // 2
            sizes.append(n)
        assert TwoStreams(image_size, pool_last=True, rng=np.random.default_rng(0)).sizes == sizes


@formula(r"n_{\text{block}} = 9 \, C_{in} C_{out} + C_{out} + 4 \, C_{out}")
def numbers_of_a_block() -> None:
    streams = TwoStreams(filters_s=5, filters_x=7, rng=np.random.default_rng(0))
    for blocks, c_out in ((streams.s, 5), (streams.x, 7)):
        for c_in, block in zip((3, c_out, c_out, c_out), blocks, strict=True):
            assert block.parameter_count() == 9 * c_in * c_out + c_out + 4 * c_out
