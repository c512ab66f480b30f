"""The register types themselves: how wide this machine's are, and what Numba is told of them.

The width is chosen when this module is imported: `NUMBA_CPU_NAME=haswell` or `nehalem` gives 8 or
4 lanes on a wider machine (for tests). What they are for is in `simd`.
"""

from __future__ import annotations

import re
from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba.core import types
from numba.core.datamodel import models
from numba.extending import register_model

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
