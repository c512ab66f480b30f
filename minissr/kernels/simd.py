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

The block of sums is a tuple of registers, and one primitive advances it. `outer` adds an outer
product, of P numbers taken from anywhere with V registers taken from consecutive memory:

                      w[at : at + V LANES]
                    +----------+----------+
    x[i_0 + k] ---> |  sum 0   |  sum 1   |          sums[p V + v] += x[i_p + k] * w[at + v LANES]
    x[i_1 + k] ---> |  sum 2   |  sum 3   |
       ...          |   ...    |   ...    |          P V multiply-adds for P + V loads
                    +----------+----------+

That is a tile of a matrix product, and a convolution is nothing else: forward, p runs over pixels
and the registers over output channels, k over a window; for the weights' gradient, p runs over a
window, the registers over output channels, k over pixels. A processor that multiplies one register
an instant but needs four instants for the answer is busy once P V >= 4; loads stop mattering once
P V exceeds P + V by a good margin; and P V + V + 1 must not exceed the number of registers, or the
sums travel to memory and back in the innermost loop. `ROWS` is a P that fits with V = 2.

Everything here is written for LLVM's vector type `<LANES x float>`, so the same kernel source is
compiled for any machine; LLVM picks the instructions. The width is chosen when this module is
imported: `NUMBA_CPU_NAME=haswell` or `nehalem` gives 8 or 4 lanes on a wider machine (for tests).
Indices are never checked, as in all compiled kernels.
"""

from __future__ import annotations

import re
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import register_model

from minissr.kernels.jit import njit

# Typed for the reader of an intrinsic's call, who doesn't pass the first argument.
intrinsic: Any = extending.intrinsic
config: Any = numba.config  # whose attributes appear at run time


def measure_lanes() -> int:
    """The float32 lanes of this machine's widest registers: 16, 8 or 4.

    Asks the compiler itself: sixteen additions are compiled for the processor Numba compiles for,
    and the assembly shows which registers they use.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    probe = llvm.parse_assembly(
        "define <16 x float> @f(<16 x float> %a, <16 x float> %b) {\n"
        "  %c = fadd <16 x float> %a, %b\n  ret <16 x float> %c\n}"
    )
    if config.CPU_NAME is None:
        cpu, features = llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()
    else:  # a name given by hand stands for what that processor has, not for what this one has
        cpu, features = config.CPU_NAME, ""
    target = llvm.Target.from_triple(llvm.get_process_triple())
    assembly = target.create_target_machine(cpu=cpu, features=features).emit_assembly(probe)
    if re.search(r"%zmm\d", assembly):
        return 16
    return 8 if re.search(r"%ymm\d", assembly) else 4


LANES = measure_lanes()
# The P of every tile. AVX-512 has 32 registers, AVX2 and SSE 16: with V = 2, a P of 8 takes 16 + 3
# of them, a P of 4 takes 8 + 3.
ROWS = 8 if LANES == 16 else 4

FLOAT, INT, BYTE = ir.FloatType(), ir.IntType(32), ir.IntType(8)
FLOATS_IR = ir.VectorType(FLOAT, LANES)
INTS_IR = ir.VectorType(INT, LANES)
BYTES_IR = ir.VectorType(BYTE, LANES)
MASK_IR = ir.VectorType(ir.IntType(1), LANES)


class Register(types.Type):
    """A Numba type whose values are LLVM vectors. Its subclasses lie at the top of the module,
    where the cache of compiled code can name them."""

    layout: ir.VectorType

    def __init__(self) -> None:
        super().__init__(f"{type(self).__name__}x{LANES}")


class Floats(Register):
    """LANES numbers."""

    layout = FLOATS_IR


class Ints(Register):
    """LANES small integers, for flags."""

    layout = INTS_IR


class Mask(Register):
    """LANES yes or no."""

    layout = MASK_IR


@register_model(Floats)
@register_model(Ints)
@register_model(Mask)
class RegisterModel(models.PrimitiveModel):
    """How Numba holds a register: as the LLVM vector itself."""

    def __init__(self, manager: Any, numba_type: Register) -> None:
        super().__init__(manager, numba_type, numba_type.layout)


floats, ints, mask = Floats(), Ints(), Mask()


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


# ---- tiles: tuples of registers -----------------------------------------------------------------


@intrinsic(prefer_literal=True)
def registers(typing_context, rows, wide):
    """A tile of zeros, `rows` rows of `wide` registers; both are constants."""
    result = types.UniTuple(floats, rows.literal_value * wide.literal_value)

    def generate(context, builder, signature, args):
        zero = ir.Constant(FLOATS_IR, [0.0] * LANES)
        return context.make_tuple(builder, signature.return_type, [zero] * result.count)

    return result(rows, wide), generate


@intrinsic
def outer(typing_context, sums, x, offsets, k, w, at):
    """sums[p V + v] += x[offsets[p] + k] * w[at + v LANES ...]; see the picture above.

    `sums` is a tuple of P V registers and `offsets` one of P flat indices into `x`; V follows.
    The sums are returned, as everything about registers: values, not places.
    """

    def generate(context, builder, signature, args):
        tile, x_array, starts, step, w_array, base = args
        tile_type, x_type, starts_type, _, w_type, _ = signature.args
        wide = tile_type.count // starts_type.count
        at_w = address(context, builder, w_type, w_array, base)
        columns = []
        for v in range(wide):
            where = builder.gep(at_w, [ir.Constant(base.type, v * LANES)])
            value = builder.load(builder.bitcast(where, FLOATS_IR.as_pointer()))
            value.align = 4
            columns.append(value)
        at_x = address(context, builder, x_type, x_array, step)
        result = []
        for p in range(starts_type.count):
            number = builder.load(builder.gep(at_x, [builder.extract_value(starts, p)]))
            row = fill(builder, number)
            for v in range(wide):
                old = builder.extract_value(tile, p * wide + v)
                result.append(multiply_add(builder, row, columns[v], old))
        return context.make_tuple(builder, signature.return_type, result)

    return sums(sums, x, offsets, types.intp, w, types.intp), generate


@intrinsic(prefer_literal=True)
def run(typing_context, start, step, count):
    """The tuple of indices (start, start + step, ...) of `count`, a constant."""
    result = types.UniTuple(types.intp, count.literal_value)

    def generate(context, builder, signature, args):
        first, distance = (
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(args[:2], signature.args[:2], strict=True)
        )
        indices = [first]
        for _ in range(1, result.count):
            indices.append(builder.add(indices[-1], distance))
        return context.make_tuple(builder, signature.return_type, indices)

    return result(start, step, count), generate


@intrinsic(prefer_literal=True)
def wrapped_run(typing_context, start, column, columns, step, row, count):
    """The places of `count` pixels (a constant) in reading order, the first at `start`.

    The first is in column `column`. Pixels are `step` apart; after the last of `columns` the run
    goes on in the next row, whose first pixel is `row` after this row's first.
    """
    result = types.UniTuple(types.intp, count.literal_value)

    def generate(context, builder, signature, args):
        place, at, columns, step, row = (
            context.cast(builder, value, kind, types.intp)
            for value, kind in zip(args[:5], signature.args[:5], strict=True)
        )
        back = builder.sub(row, builder.mul(builder.sub(columns, at.type(1)), step))
        places = [place]
        for _ in range(1, result.count):
            at = builder.add(at, at.type(1))
            wraps = builder.icmp_signed("==", at, columns)
            place = builder.add(place, builder.select(wraps, back, step))
            at = builder.select(wraps, at.type(0), at)
            places.append(place)
        return context.make_tuple(builder, signature.return_type, places)

    return result(start, column, columns, step, row, count), generate


def each_register(context: Any, builder: Any, array_type: Any, array: Any, places: Any, wide: int):
    """The addresses of a tile's registers in memory: `wide` from each of `places` on."""
    for p in range(places.type.count):
        row = address(context, builder, array_type, array, builder.extract_value(places, p))
        for v in range(wide):
            where = builder.gep(row, [ir.Constant(ir.IntType(64), v * LANES)])
            yield builder.bitcast(where, FLOATS_IR.as_pointer())


@intrinsic(prefer_literal=True)
def load_tile(typing_context, x, places, wide):
    """The tile whose row p is the `wide` (a constant) registers from x[places[p]] on."""
    result = types.UniTuple(floats, places.count * wide.literal_value)

    def generate(context, builder, signature, args):
        values = []
        for where in each_register(
            context, builder, signature.args[0], args[0], args[1], wide.literal_value
        ):
            values.append(builder.load(where))
            values[-1].align = 4
        return context.make_tuple(builder, signature.return_type, values)

    return result(x, places, wide), generate


@intrinsic
def store_tile(typing_context, y, places, sums):
    """Write row p of a tile to y[places[p]] and on."""
    wide = sums.count // places.count

    def generate(context, builder, signature, args):
        rows = each_register(context, builder, signature.args[0], args[0], args[1], wide)
        for i, where in enumerate(rows):
            written = builder.store(builder.extract_value(args[2], i), where)
            written.align = 4
        return context.get_dummy_value()

    return types.void(y, places, sums), generate


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
