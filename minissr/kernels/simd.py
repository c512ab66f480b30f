"""Vector registers for Numba: how a kernel says what the processor does.

A processor's vector register holds several float32 numbers, its *lanes*, and one instruction
works on all of them: 16 lanes with AVX-512, 8 with AVX2, 4 with SSE or NEON. A compiler finds
such instructions in simple loops, but not the one arrangement that matters to a convolution:
*keep a block of sums in registers for the whole of a long loop*. So the kernels of this package
say it outright. Inside any `@njit` function

    a = load(x, i)          # LANES numbers x[i], x[i + 1], ...; x may have any shape, i is flat
    b = broadcast(x, j)     # one number in every lane
    c = fma(a, b, c)        # c + a b, one rounding
    store(y, i, maximum(c, zeros()))

and a block of sums is a *tile*, advanced by one primitive, `outer`; see `tiles`.

Everything is written for LLVM's vector type `<LANES x float>`, so the same kernel source is
compiled for any machine; LLVM picks the instructions. Indices are never checked, as in all compiled
kernels. This module has all the words; `lanes` makes the types, `vector` has what is done with one
register and `tiles` what is done with many.
"""

from minissr.kernels.lanes import LANES
from minissr.kernels.tiles import (
    ROWS,
    load_tile,
    outer,
    registers,
    run,
    store_tile,
    wrapped_run,
)
from minissr.kernels.vector import (
    add,
    broadcast,
    choose,
    divide,
    either,
    equal,
    flag,
    flagged,
    fma,
    greater,
    load,
    load_flags,
    load_pixels,
    maximum,
    minimum,
    multiply,
    same_flags,
    select,
    splat,
    store,
    store_flags,
    subtract,
    sum_lanes,
    tanh,
    zeros,
)

__all__ = [
    "LANES",
    "ROWS",
    "add",
    "broadcast",
    "choose",
    "divide",
    "either",
    "equal",
    "flag",
    "flagged",
    "fma",
    "greater",
    "load",
    "load_flags",
    "load_pixels",
    "load_tile",
    "maximum",
    "minimum",
    "multiply",
    "outer",
    "registers",
    "run",
    "same_flags",
    "select",
    "splat",
    "store",
    "store_flags",
    "store_tile",
    "subtract",
    "sum_lanes",
    "tanh",
    "wrapped_run",
    "zeros",
]
