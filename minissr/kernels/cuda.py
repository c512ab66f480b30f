"""Loading `.cu` files and launching their kernels through CuPy.

    program = Program(__file__, "pool2d.cu")
    program.launch("max_pool_forward", x.dtype, blocks, threads, x, y, argmax, n, h, w, c, ...)

A `.cu` file is compiled when one of its kernels is first launched, once for each float type (and
for each setting of its `defines`); CuPy keeps the machine code on disk. A RawKernel trusts its
caller with everything, so each argument is checked against the kernel's declaration, which is read
from the text: number of arguments, dtype, contiguity, sizes that 32-bit indices can reach. Python
numbers become exactly the declared type.

CuPy is imported here only when something is launched.
"""

from __future__ import annotations

import functools
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

KERNELS = Path(__file__).parent
INCLUDE = re.compile(r'^#include "(?P<name>[\w.]+)"$', re.MULTILINE)
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
DECLARATION = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?'
    r"(?P<name>\w+)\s*\((?P<parameters>[^)]*)\)"
)
PARAMETER = re.compile(
    r"\s*(?P<const>const\s+)?(?P<type>\w+)\s*(?P<pointer>\*?)\s*(?:__restrict__\s+)?(?P<name>\w+)\s*"
)
DEFAULT = re.compile(r"^#define (?P<name>\w+) (?P<type>real|byte)$", re.MULTILINE)
REAL_NAMES = {"float32": "float", "float64": "double"}
DTYPES = {"byte": "uint8", "int": "int32", "unsigned": "uint32", "double": "float64"}
LARGEST = 2**31 - 1  # kernels index with 32-bit integers
# The last block's surplus threads count on beyond the last element, and must not get to -2^31.
MOST_ELEMENTS = LARGEST - 1024


def xp() -> ModuleType:
    """CuPy, imported when it is first needed."""
    return importlib.import_module("cupy")


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel, as its declaration has it."""

    name: str
    type: str  # "real", "int", "byte" ..., or a name given by `defines`
    pointer: bool
    const: bool


def read_source(path: Path) -> str:
    """The text of a `.cu` file with the files it includes in their places.

    CuPy's cache on disk is keyed by the text alone; with headers left to the compiler, a change in
    one would go unnoticed. `#line` keeps the compiler's messages true.
    """

    def included(match: re.Match[str]) -> str:
        beside = path.parent / match["name"]
        header = beside if beside.exists() else KERNELS / match["name"]
        line = path.read_text().count("\n", 0, match.start()) + 2
        return f'#line 1 "{header.name}"\n{header.read_text()}#line {line} "{path.name}"'

    return f'#line 1 "{path.name}"\n{INCLUDE.sub(included, path.read_text())}'


def declarations(source: str) -> dict[str, tuple[Parameter, ...]]:
    """The parameters of every kernel in `source`, by name."""
    found = {}
    for kernel in DECLARATION.finditer(COMMENT.sub("", source)):
        parameters = []
        for text in kernel["parameters"].split(","):
            match = PARAMETER.fullmatch(text)
            if match is None:
                raise RuntimeError(f"{kernel['name']}: can't read the parameter {text.strip()!r}")
            parameters.append(
                Parameter(
                    match["name"], match["type"], bool(match["pointer"]), bool(match["const"])
                )
            )
        found[kernel["name"]] = tuple(parameters)
    return found


class Program:
    """One `.cu` file.

    Parameters
    ----------
    module_file : str
        `__file__` of the Python module beside it.
    name : str
    """

    def __init__(self, module_file: str, name: str) -> None:
        self.path = Path(module_file).parent / name
        self._modules: dict[tuple[Any, ...], Any] = {}
        self._functions: dict[tuple[Any, ...], Any] = {}

    @functools.cached_property
    def source(self) -> str:
        return read_source(self.path)

    @functools.cached_property
    def kernels(self) -> dict[str, tuple[Parameter, ...]]:
        return declarations(self.source)

    def options(self, dtype: Any, defines: Mapping[str, Any]) -> tuple[str, ...]:
        """What the compiler is given besides the text."""
        given = {"REAL": REAL_NAMES[np.dtype(dtype).name], **defines}
        return ("-std=c++17", *(f"-D{name}={value}" for name, value in given.items()))

    def function(self, kernel: str, dtype: Any, defines: Mapping[str, Any]) -> Any:
        """The compiled kernel for one float type on the current device."""
        options = self.options(dtype, defines)
        module_key = (xp().cuda.Device().id, *options)
        key = (kernel, *module_key)
        if key not in self._functions:
            if module_key not in self._modules:
                self._modules[module_key] = xp().RawModule(code=self.source, options=options)
            self._functions[key] = self._modules[module_key].get_function(kernel)
        return self._functions[key]

    def launch(
        self,
        kernel: str,
        dtype: Any,
        grid: int | tuple[int, ...],
        block: int | tuple[int, ...],
        *arguments: Any,
        defines: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the arguments and start the kernel on the current stream.

        Parameters
        ----------
        kernel : str
        dtype : dtype
            What `real` means.
        grid, block : int or tuple of up to three
            Blocks, and threads in each. A grid without blocks (an empty batch) launches nothing.
        arguments
            CuPy arrays or None for pointers, Python numbers for values.
        defines : mapping, optional
            Names the file wants defined; a type among them is the parameter type of that name.

        Raises
        ------
        TypeError, ValueError
            If an argument is not what the kernel declares.
        """
        defines = defines or {}
        grid, block = as_tuple(grid), as_tuple(block)
        parameters = self.kernels[kernel]
        if len(arguments) != len(parameters):
            raise TypeError(
                f"{kernel} takes {len(parameters)} arguments and was given {len(arguments)}"
            )
        known = {"real": np.dtype(dtype).name, **DTYPES}
        named = {match["name"]: match["type"] for match in DEFAULT.finditer(self.source)}
        types = {**known, **{n: known[t] for n, t in {**named, **defines}.items() if t in known}}
        checked = [
            checked_argument(f"{kernel}: {p.name}", p, np.dtype(types[p.type]), argument)
            for p, argument in zip(parameters, arguments, strict=True)
        ]
        if max(grid[1:], default=0) > 65535:
            raise ValueError(f"{kernel}: a grid of {grid} blocks; use a smaller batch")
        if 0 not in grid:
            self.function(kernel, dtype, defines)(grid, block, tuple(checked))


def as_tuple(size: int | tuple[int, ...]) -> tuple[int, ...]:
    """A size in one, two or three dimensions as a tuple."""
    return size if isinstance(size, tuple) else (size,)


def checked_argument(where: str, parameter: Parameter, dtype: np.dtype, value: Any) -> Any:
    """`value` as the kernel must receive it, or an error that begins with `where`."""
    if not parameter.pointer:
        if dtype.kind in "iu" and not 0 <= int(value) + LARGEST + 1 <= 2 * LARGEST + 1:
            raise ValueError(f"{where} is {value}, which a 32-bit integer can't hold")
        return dtype.type(value)
    if value is None:
        return None
    if not isinstance(value, xp().ndarray):
        raise TypeError(f"{where} wants an array on the device, got {type(value).__name__}")
    if value.dtype != dtype:
        raise TypeError(f"{where} wants {dtype}, got {value.dtype}")
    if not value.flags.c_contiguous:
        raise ValueError(f"{where} must be C-contiguous; use cupy.ascontiguousarray")
    if value.size > MOST_ELEMENTS:
        raise ValueError(
            f"{where} has {value.size} elements; at most {MOST_ELEMENTS} can be indexed: "
            "use a smaller batch"
        )
    return value


def blocks(count: int, per_block: int) -> int:
    """How many blocks cover `count` elements."""
    return -(-count // per_block)


def shares(count: int, units: int, wanted: int = 512, least: int = 64) -> tuple[int, int]:
    """(parts, share): cut a sum over `count` terms into parts that different blocks add.

    About `wanted` blocks in all, `units` of them for each part, but at least `least` terms in a
    part. It depends on the sizes alone and not on the device, and so do the rounding errors.
    """
    parts = max(1, min(blocks(wanted, units), count // least))
    share = blocks(count, parts) if count else 1
    return max(1, blocks(count, share)), share


@functools.lru_cache(maxsize=64)
def arrivals(rows: int, device: int) -> Any:
    """Zeros (uint32) that blocks count their arrival in and that are zero again afterwards.

    One array a device serves all launches, which is right because launches on a stream follow one
    another; work on a second stream at the same time must not use these kernels.
    """
    return xp().zeros(rows, "uint32")


def arrival_counters(rows: int) -> Any:
    """`arrivals` for at least `rows` rows of a grid on the current device."""
    return arrivals(max(64, rows), xp().cuda.Device().id)
