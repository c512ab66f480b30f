"""What can be done with one register: to and from memory, arithmetic, yes and no, tanh.

Each is an *intrinsic*: a function whose LLVM instructions are written out here, because no Python
would become them. See `simd` for what they are for.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import cgutils, types

from minissr.kernels.jit import njit
from minissr.kernels.lanes import (
    BYTES_IR,
    FLOATS_IR,
    INT,
    INTS_IR,
    LANES,
    floats,
    ints,
    mask,
)

# Typed for the reader of an intrinsic's call, who doesn't pass the first argument.
intrinsic: Any = extending.intrinsic


# ---- memory -------------------------------------------------------------------------------------


def address(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    """The address of flat element `index` of a C-contiguous array."""
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [index])


def load_vector(context: Any, builder: Any, signature: Any, args: Any, layout: ir.Type) -> Any:
    """LANES consecutive elements as an LLVM vector; memory need not be aligned."""
    where = address(context, builder, signature.args[0], args[0], args[1])
    value = builder.load(builder.bitcast(where, layout.as_pointer()))
    value.align = 1 if layout is BYTES_IR else 4
    return value


def store_vector(context: Any, builder: Any, signature: Any, args: Any, value: Any) -> Any:
    where = address(context, builder, signature.args[0], args[0], args[1])
    written = builder.store(value, builder.bitcast(where, value.type.as_pointer()))
    written.align = 1 if value.type is BYTES_IR else 4
    return context.get_dummy_value()


def fill(builder: Any, number: Any, layout: ir.VectorType = FLOATS_IR) -> Any:
    """`number` in every lane."""
    undefined = ir.Constant(layout, ir.Undefined)
    first = builder.insert_element(undefined, number, INT(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(INTS_IR, [0] * LANES))


@intrinsic
def load(typing_context, x, i):
    """LANES numbers of the float32 array `x`, from flat index `i` on."""

    def generate(context, builder, signature, args):
        return load_vector(context, builder, signature, args, FLOATS_IR)

    return floats(x, types.intp), generate


@intrinsic
def store(typing_context, x, i, value):
    """Write LANES numbers to `x`, from flat index `i` on."""

    def generate(context, builder, signature, args):
        return store_vector(context, builder, signature, args, args[2])

    return types.void(x, types.intp, floats), generate


@intrinsic
def load_pixels(typing_context, x, i):
    """LANES bytes of the uint8 array `x` as numbers 0.0 to 255.0."""

    def generate(context, builder, signature, args):
        return builder.uitofp(load_vector(context, builder, signature, args, BYTES_IR), FLOATS_IR)

    return floats(x, types.intp), generate


@intrinsic
def load_flags(typing_context, x, i):
    """LANES bytes of the uint8 array `x` as integers."""

    def generate(context, builder, signature, args):
        return builder.zext(load_vector(context, builder, signature, args, BYTES_IR), INTS_IR)

    return ints(x, types.intp), generate


@intrinsic
def store_flags(typing_context, x, i, value):
    """Write LANES integers 0 to 255 to the uint8 array `x`."""

    def generate(context, builder, signature, args):
        return store_vector(context, builder, signature, args, builder.trunc(args[2], BYTES_IR))

    return types.void(x, types.intp, ints), generate


@intrinsic
def broadcast(typing_context, x, i):
    """The number x[i] in every lane."""

    def generate(context, builder, signature, args):
        where = address(context, builder, signature.args[0], args[0], args[1])
        return fill(builder, builder.load(where))

    return floats(x, types.intp), generate


# ---- arithmetic ---------------------------------------------------------------------------------


@intrinsic
def splat(typing_context, number):
    """A scalar in every lane."""

    def generate(context, builder, signature, args):
        return fill(builder, args[0])

    return floats(types.float32), generate


@intrinsic
def zeros(typing_context):
    """0.0 in every lane."""

    def generate(context, builder, signature, args):
        return ir.Constant(FLOATS_IR, [0.0] * LANES)

    return floats(), generate


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c: fused where the processor can, two instructions where it can't."""
    kind = ir.FunctionType(FLOATS_IR, [FLOATS_IR] * 3)
    name = f"llvm.fmuladd.v{LANES}f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [a, b, c])


@intrinsic
def fma(typing_context, a, b, c):
    """a b + c."""

    def generate(context, builder, signature, args):
        return multiply_add(builder, *args)

    return floats(floats, floats, floats), generate


def arithmetic(operation: str, description: str) -> Any:
    """An intrinsic for one LLVM instruction on two registers."""

    @intrinsic
    def apply(typing_context, a, b):
        def generate(context, builder, signature, args):
            return getattr(builder, operation)(*args)

        return floats(floats, floats), generate

    apply.__doc__ = description
    return apply


add = arithmetic("fadd", "a + b")
subtract = arithmetic("fsub", "a - b")
multiply = arithmetic("fmul", "a b")
divide = arithmetic("fdiv", "a / b")


def selection(relation: str, description: str) -> Any:
    """An intrinsic that keeps, in each lane, `a` where `a relation b` holds and else `b`."""

    @intrinsic
    def apply(typing_context, a, b):
        def generate(context, builder, signature, args):
            return builder.select(builder.fcmp_ordered(relation, *args), *args)

        return floats(floats, floats), generate

    apply.__doc__ = description
    return apply


maximum = selection(">", "The larger of a and b, lane by lane; b where either is NaN.")
minimum = selection("<", "The smaller of a and b, lane by lane; b where either is NaN.")


# ---- yes and no ---------------------------------------------------------------------------------


@intrinsic
def greater(typing_context, a, b):
    """Where a > b."""

    def generate(context, builder, signature, args):
        return builder.fcmp_ordered(">", *args)

    return mask(floats, floats), generate


@intrinsic
def select(typing_context, condition, a, b):
    """a where the condition holds, else b."""

    def generate(context, builder, signature, args):
        return builder.select(*args)

    return floats(mask, floats, floats), generate


@intrinsic
def same_flags(typing_context, value):
    """The integer `value` in every lane."""

    def generate(context, builder, signature, args):
        return fill(builder, builder.trunc(args[0], INT), INTS_IR)

    return ints(types.intp), generate


@njit(forceinline=True)
def flag(condition, value):
    """`value` where the condition holds, else 0: a mask on its way to memory."""
    return choose(condition, value, same_flags(0))


@intrinsic
def either(typing_context, a, b):
    """The flags of both."""

    def generate(context, builder, signature, args):
        return builder.or_(*args)

    return ints(ints, ints), generate


@intrinsic
def choose(typing_context, condition, value, flags):
    """`value` where the condition holds, else what `flags` has."""

    def generate(context, builder, signature, args):
        number = fill(builder, builder.trunc(args[1], INT), INTS_IR)
        return builder.select(args[0], number, args[2])

    return ints(mask, types.intp, ints), generate


@intrinsic
def equal(typing_context, flags, value):
    """Where `flags` is exactly `value`."""

    def generate(context, builder, signature, args):
        number = fill(builder, builder.trunc(args[1], INT), INTS_IR)
        return builder.icmp_unsigned("==", args[0], number)

    return mask(ints, types.intp), generate


@intrinsic
def flagged(typing_context, flags, value):
    """Where `flags` has any bit of `value`: a mask on its way back."""

    def generate(context, builder, signature, args):
        number = fill(builder, builder.trunc(args[1], INT), INTS_IR)
        nothing = ir.Constant(INTS_IR, [0] * LANES)
        return builder.icmp_unsigned("!=", builder.and_(args[0], number), nothing)

    return mask(ints, types.intp), generate


# ---- functions of registers ---------------------------------------------------------------------

# The rational function P(x) / Q(x), odd over even, that is closest to tanh on [-7.9, 7.9]; beyond,
# tanh is 1 to the last bit of a float32. The coefficients are those of Eigen and XLA.
TANH_LIMIT = np.float32(7.90531110763549805)
TANH_P = tuple(
    np.float32(c)
    for c in (
        -2.76076847742355e-16,
        2.00018790482477e-13,
        -8.60467152213735e-11,
        5.12229709037114e-08,
        1.48572235717979e-05,
        6.37261928875436e-04,
        4.89352455891786e-03,
    )
)
TANH_Q = tuple(
    np.float32(c)
    for c in (
        1.19825839466702e-06,
        1.18534705686654e-04,
        2.26843463243900e-03,
        4.89352518554385e-03,
    )
)


@njit(forceinline=True)
def tanh(a):
    """tanh in every lane, to 4 units in the last place."""
    x = maximum(minimum(a, splat(TANH_LIMIT)), splat(-TANH_LIMIT))
    square = multiply(x, x)
    p = fma(square, splat(TANH_P[0]), splat(TANH_P[1]))
    p = fma(square, p, splat(TANH_P[2]))
    p = fma(square, p, splat(TANH_P[3]))
    p = fma(square, p, splat(TANH_P[4]))
    p = fma(square, p, splat(TANH_P[5]))
    p = fma(square, p, splat(TANH_P[6]))
    q = fma(square, splat(TANH_Q[0]), splat(TANH_Q[1]))
    q = fma(square, q, splat(TANH_Q[2]))
    q = fma(square, q, splat(TANH_Q[3]))
    return divide(multiply(x, p), q)


@intrinsic
def sum_lanes(typing_context, a):
    """The sum over the lanes, halves first, always in that order."""

    def generate(context, builder, signature, args):
        value = args[0]
        width = LANES
        while width > 1:
            width //= 2
            halves = [
                builder.shuffle_vector(
                    value,
                    ir.Constant(value.type, ir.Undefined),
                    ir.Constant(ir.VectorType(INT, width), list(range(start, start + width))),
                )
                for start in (0, width)
            ]
            value = builder.fadd(*halves)
        return builder.extract_element(value, INT(0))

    return types.float32(floats), generate
