"""One side of a fusion block as one op: 1x1 convolution, ReLU, pooling.

Composed, the convolution writes a map ten channels deep and the pooling reads it again; as one op
neither map is ever stored. The two agree to rounding (a test compares them).
"""

from __future__ import annotations

from typing import Any

from minissr.autograd.function import Array, Context, Function

POOLS = ("avg", "max")


class Fusion(Function):
    """y = pool relu (x * w + bias), with windows `size` wide, `size` apart.

    **Derivation.** With z = x * w + bias, a 1x1 convolution, that is a matrix product a pixel:

        g_z    = [z > 0] g_a, with g_a = gy / size^2 for an average, gy at the first maximum for
                 the maximum, and 0 where no window reads
        g_bias = sum of g_z over images and pixels
        g_w    = sum over images and pixels of x^T g_z
        g_x    = g_z w^T                                    a pixel at a time
    """

    new_grads = True

    @staticmethod
    def forward(ctx: Context, x: Array, w: Array, bias: Array, *, pool: str, size: int) -> Array:
        check_fusion(x, w, pool, size)
        y, saved = ctx.kernel("fusion_forward")(x, w, bias, pool, size)
        ctx.save(x, w, pool, size, saved)
        return y

    @staticmethod
    def backward(ctx: Context, gy: Array) -> tuple[Array, Array, Array]:
        return ctx.kernel("fusion_backward")(gy, *ctx.saved)


def check_fusion(x: Array, w: Array, pool: str, size: int) -> None:
    """Refuse, in one sentence, what the kernels can't compute."""
    if pool not in POOLS:
        raise ValueError(f"pool {pool!r} is none of {', '.join(POOLS)}")
    if x.ndim != 4 or w.ndim != 4 or w.shape[:2] != (1, 1) or x.shape[3] != w.shape[2]:
        raise ValueError(
            f"a map {x.shape} and weights {w.shape} don't fit; "
            "expected (N, H, W, C) and (1, 1, C, CO)"
        )
    if not 1 <= size <= min(x.shape[1:3]):
        raise ValueError(f"pooling window {size}; expected 1 to {min(x.shape[1:3])} for {x.shape}")


def fusion(x: Any, w: Any, bias: Any, *, pool: str, size: int) -> Any:
    """Compact a map: 1x1 convolution, ReLU, pooling.

    Parameters
    ----------
    x : Tensor (N, H, W, C)
    w : Tensor (1, 1, C, CO)
    bias : Tensor (CO,)
    pool : "avg" | "max"
    size : int
        Window and stride of the pooling; 1 is none. Rows and columns that don't fill a window are
        dropped.

    Returns
    -------
    Tensor (N, H // size, W // size, CO)
    """
    return Fusion.apply(x, w, bias, pool=pool, size=size)
