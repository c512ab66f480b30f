"""The cases of onnx 1.23 that don't pass here, each under its reason.

`outside` tells such cases from others by their own data: nobody can file a case under a reason
that isn't its own. A case that is outside doesn't count towards the share that has to pass; one
under a reason without `outside` does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.conformance.cases import NodeCase

VERSION = "1.23"  # of onnx; another has other cases


@dataclass(frozen=True)
class Reason:
    """A sentence, the cases it stands for, and how to know them."""

    why: str
    cases: str
    outside: Callable[[NodeCase], bool] | None = None


def loss_with(name: str) -> Callable[[NodeCase], bool]:
    """Whether a case is a loss with that optional input or attribute."""

    def is_one(case: NodeCase) -> bool:
        given = {"weights": len(case.inputs) > 2, "ignore_index": "ignore_index" in case.attributes}
        return case.operator == "SoftmaxCrossEntropyLoss" and given[name]

    return is_one


TABLE = [
    Reason(
        "Integers: pixels are cast once, at the door of the network; all else is in floats.",
        """
        test_add_int8 test_add_int16 test_add_uint8 test_add_uint16 test_add_uint32 test_add_uint64
        test_sub_int8 test_sub_int16 test_sub_uint8 test_sub_uint16 test_sub_uint32 test_sub_uint64
        test_mul_int8 test_mul_int16 test_mul_uint8 test_mul_uint16 test_mul_uint32 test_mul_uint64
        test_div_int8 test_div_int16 test_div_uint8 test_div_uint16 test_div_uint32 test_div_uint64
        test_div_int32_trunc
        test_clip_default_int8_min test_clip_default_int8_max test_clip_default_int8_inbounds
        test_maxpool_2d_uint8
        """,
        lambda case: case.inputs[0].dtype.kind != "f",
    ),
    Reason(
        "Volumes: there is nothing but images (and signals, which are images of height 1).",
        """
        test_maxpool_3d_default test_maxpool_3d_dilations test_maxpool_3d_dilations_use_ref_impl
        test_maxpool_3d_dilations_use_ref_impl_large
        test_averagepool_3d_default test_averagepool_3d_dilations_small
        test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True
        test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False
        test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True
        test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False
        """,
        lambda case: max(x.ndim for x in case.inputs if x is not None) > 4,
    ),
    Reason(
        "Dilation: no network of the paper spreads its windows.",
        "test_maxpool_2d_dilations test_averagepool_2d_dilations",
        lambda case: max(case.attributes.get("dilations", [1])) > 1,
    ),
    Reason(
        "Ceil mode: a window that sticks out is dropped, as TensorFlow and the authors do.",
        """
        test_maxpool_2d_ceil test_maxpool_2d_ceil_output_size_reduce_by_one
        test_averagepool_2d_ceil test_averagepool_2d_ceil_last_window_starts_on_pad
        """,
        lambda case: case.attributes.get("ceil_mode") == 1,
    ),
    Reason(
        "Argmax: max_pool keeps it for its backward and doesn't hand it out.",
        """
        test_maxpool_with_argmax_2d_precomputed_pads test_maxpool_with_argmax_2d_precomputed_strides
        """,
        lambda case: case.operator == "MaxPool" and len(case.outputs) == 2,
    ),
    Reason(
        "Ignored classes: every face has an age.",
        """
        test_sce_mean_weight_ii test_sce_mean_weight_ii_log_prob
        test_sce_mean_weight_ii_3d test_sce_mean_weight_ii_3d_log_prob
        test_sce_mean_weight_ii_4d test_sce_mean_weight_ii_4d_log_prob
        test_sce_mean_no_weight_ii test_sce_mean_no_weight_ii_log_prob
        test_sce_mean_no_weight_ii_3d test_sce_mean_no_weight_ii_3d_log_prob
        test_sce_mean_no_weight_ii_4d test_sce_mean_no_weight_ii_4d_log_prob
        test_sce_NCd1_mean_weight_negative_ii test_sce_NCd1_mean_weight_negative_ii_log_prob
        test_sce_NCd1d2d3_none_no_weight_negative_ii
        test_sce_NCd1d2d3_none_no_weight_negative_ii_log_prob
        test_sce_NCd1d2d3_sum_weight_high_ii test_sce_NCd1d2d3_sum_weight_high_ii_log_prob
        """,
        loss_with("ignore_index"),
    ),
    Reason(
        "Weights of classes: give cross_entropy weights as its target, a row an image, instead.",
        """
        test_sce_none_weights test_sce_none_weights_log_prob
        test_sce_mean_weight test_sce_mean_weight_log_prob
        test_sce_NCd1d2d3d4d5_mean_weight test_sce_NCd1d2d3d4d5_mean_weight_log_prob
        """,
        loss_with("weights"),
    ),
]

REASON_OF = {name: reason for reason in TABLE for name in reason.cases.split()}


def counts(case: NodeCase) -> bool:
    """Whether a case belongs to those of which nearly all have to pass."""
    return not any(reason.outside is not None and reason.outside(case) for reason in TABLE)
