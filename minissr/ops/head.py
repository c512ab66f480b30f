"""All stages of SSR-Net as one op: from the streams' maps to p, eta and delta."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minissr.autograd.function import Array, Context, Function, contiguous
from minissr.kernels.head.composed import ACTIVATIONS, COUNT, Parameters

if TYPE_CHECKING:
    from minissr.autograd.tensor import Tensor


class Head(Function):
    """p, eta and delta of all stages (Yang et al. 2018, 3.2 to 3.4).

    The equations of a stage, and the way back through them, are in `kernels.head.composed`. As one
    op a stage's small layers are computed where the features are, instead of in a launch each: on
    a GPU nothing else costs as much as starting a kernel for nine numbers an image.
    """

    new_grads = True

    @staticmethod
    def forward(
        ctx: Context,
        *arrays: Array | None,
        masks: Sequence[Array | None],
        pools: Sequence[int],
        activations: tuple[str, str, str, str],
    ) -> tuple[Array, Array, Array]:
        k = len(pools)
        every: list[Any] = [contiguous(array) for array in arrays]
        maps, parameters = tuple(every[: 2 * k]), tuple(every[2 * k :])
        check_head(maps, parameters, masks, pools, activations)
        dtype = maps[0].dtype
        masks = tuple(m if m is None else ctx.xp.asarray(m, dtype=dtype) for m in masks)
        p, eta, delta, saved = ctx.kernel("head_forward")(
            maps, parameters, masks, pools, activations
        )
        ctx.save(maps, parameters, masks, pools, activations, saved, (p, eta, delta))
        return p, eta, delta

    @staticmethod
    def backward(ctx: Context, *grads: Array | None) -> tuple[Array | None, ...]:
        *arguments, outputs = ctx.saved
        given = [
            ctx.xp.zeros_like(y) if g is None else g for g, y in zip(grads, outputs, strict=True)
        ]
        map_grads, parameter_grads = ctx.kernel("head_backward")(*given, *arguments)
        return (*map_grads, *parameter_grads)


def check_head(
    maps: Sequence[Any],
    parameters: Sequence[Any],
    masks: Sequence[Any],
    pools: Sequence[int],
    activations: Sequence[str],
) -> None:
    """Refuse, in one sentence, what the kernels can't compute."""
    k = len(pools)
    if not k or len(maps) != 2 * k or len(masks) != 2 * k or len(parameters) != COUNT * k:
        raise ValueError(
            f"{k} stages with {len(maps)} maps, {len(masks)} masks and {len(parameters)} "
            f"parameters; expected one or more stages, with 2, 2 and {COUNT} each"
        )
    for name in activations:
        if name not in (*ACTIVATIONS, "none"):
            raise ValueError(f"activation {name!r} is none of {', '.join(ACTIVATIONS)}")
    if "softmax" in activations[:3]:
        raise ValueError("softmax is for p alone; choose another activation for s, x and mix")
    for i, pool in enumerate(pools):
        s, x = maps[2 * i : 2 * i + 2]
        w = Parameters(*parameters[COUNT * i : COUNT * (i + 1)])
        if s.ndim != 4 or x.ndim != 4 or s.shape[:3] != x.shape[:3]:
            raise ValueError(f"maps {s.shape} and {x.shape}; expected two of one N, H, W")
        if not 1 <= pool <= min(s.shape[1:3]):
            raise ValueError(f"pooling window {pool}; expected 1 to {min(s.shape[1:3])}")
        features = s.shape[1] // pool * (s.shape[2] // pool) * w.conv_s_w.shape[3]
        if len(w.s_w) != features or len(w.x_w) != features or len(w.delta_w) != features:
            raise ValueError(
                f"dense weights for {len(w.s_w)}, {len(w.x_w)} and {len(w.delta_w)} features; "
                f"{s.shape} pooled by {pool} to {w.conv_s_w.shape[3]} channels has {features}"
            )


def stage_answers(
    maps: Sequence[tuple[Tensor, Tensor]],
    parameters: Sequence[Parameters],
    *,
    pools: Sequence[int],
    activations: tuple[str, str, str, str],
    masks: Sequence[Array | None] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """What K stages say about N images, coarse to fine.

    Parameters
    ----------
    maps : sequence of K pairs of Tensor (N, H, W, channels)
        s and x of each stage.
    parameters : sequence of K Parameters of Tensor
    pools : sequence of K int
        Window and stride of each stage's pooling.
    activations : (str, str, str, str)
        Of the layers s, x, mix ("none" without it) and p.
    masks : sequence of 2 K ndarray (N, features) or None, optional
        Dropout masks of s and x of each stage.

    Returns
    -------
    p, eta : Tensor (N, S_1 + ... + S_K)
        How much each bin counts, and its shift in bins.
    delta : Tensor (N, K)
        The stretch of each stage.
    """
    masks = [None] * (2 * len(maps)) if masks is None else masks
    flat: list[Tensor | None] = [tensor for pair in maps for tensor in pair]
    flat += [tensor for stage in parameters for tensor in stage]
    return Head.apply(*flat, masks=tuple(masks), pools=tuple(pools), activations=activations)
