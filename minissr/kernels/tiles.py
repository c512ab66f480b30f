"""Tiles: blocks of sums that stay in registers for the whole of a long loop.

A tile is a tuple of registers, and one primitive advances it. `outer` adds an outer product, of P
numbers taken from anywhere with V registers taken from consecutive memory:

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
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from minissr.kernels.lanes import FLOATS_IR, LANES, floats
from minissr.kernels.vector import address, fill, intrinsic, multiply_add

# A P for every tile. AVX-512 has 32 registers, AVX2 and SSE 16: with V = 2, a P of 8 takes 16 + 3
# of them, a P of 4 takes 8 + 3.
ROWS = 8 if LANES == 16 else 4


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
