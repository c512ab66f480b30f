"""Turning the text of a `.cu` file into C++ that g++ compiles.

Three things are done, all of them on text, none of them knowing a kernel: comments are blanked
(so that no pattern matches inside one), `__shared__` declarations become references into the
storage that the scheduler keeps for each block, and behind the source comes one small launcher
for each `extern "C" __global__` function. Lines stay where they are, so that every message of the
compiler, of a sanitizer or of the scheduler names the line of the `.cu` file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

KERNEL = re.compile(
    r'extern\s+"C"\s+__global__\s+void\s+'
    r"(?:__launch_bounds__\s*\((?P<bounds>[^)]*)\)\s*)?"
    r"(?P<name>\w+)\s*\((?P<parameters>[^)]*)\)"
)
DYNAMIC = re.compile(r"extern\s+__shared__\s+(?P<type>[\w\s]+?)\s+(?P<name>\w+)\s*\[\s*\]\s*;")
STATIC = re.compile(
    r"__shared__\s+(?:__align__\s*\([^)]*\)\s*)?"
    r"(?P<type>(?:volatile\s+)?(?:unsigned\s+)?\w+)\s+(?P<names>[^;]+);"
)
BARRIERS = re.compile(r"\b__(syncthreads|syncwarp|shfl|ballot|any_sync|all_sync)")


class EmulatorError(RuntimeError):
    """CUDA source that doesn't compile, or a launch that a device would refuse or get wrong."""


@dataclass(frozen=True)
class Kernel:
    """What the text says about one kernel."""

    name: str
    parameters: tuple[str, ...]  # names only; g++ tells the types
    launch_bounds: str  # the expression in __launch_bounds__, or ""


def without_comments(source: str) -> str:
    """The source with comments replaced by as many line ends as they held."""
    comment = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
    return comment.sub(lambda match: "\n" * match.group().count("\n"), source)


def kernels_of(source: str) -> dict[str, Kernel]:
    """Every `extern "C" __global__` function of `source` (comments already removed)."""
    found = {}
    for match in KERNEL.finditer(source):
        parameters = [p for p in match["parameters"].split(",") if p.strip()]
        names = tuple(re.findall(r"(\w+)\s*$", p)[0] for p in parameters)
        found[match["name"]] = Kernel(match["name"], names, match["bounds"] or "")
    return found


def needs_fibers(source: str) -> bool:
    """Whether threads of this module ever wait for one another."""
    return BARRIERS.search(without_comments(source)) is not None


def with_shared_memory(source: str) -> str:
    """Rewrite `__shared__ T a[2][3];` as a reference to storage of the running block."""
    count = 0

    def static(match: re.Match[str]) -> str:
        nonlocal count
        out = []
        for declared in match["names"].split(","):
            name, dimensions = re.fullmatch(r"\s*(\w+)\s*(.*?)\s*", declared, re.DOTALL).groups()
            count += 1
            out.append(
                f"typedef {match['type']} emulator_type_{name} {dimensions}; "
                f"emulator_type_{name}& {name} = *(emulator_type_{name}*)"
                f"emulator::shared_array({count}, sizeof(emulator_type_{name}));"
            )
        return " ".join(out) + "\n" * (match.group().count("\n") - "".join(out).count("\n"))

    source = DYNAMIC.sub(
        r"\g<type>* \g<name> = (\g<type>*)emulator::dynamic_shared();",
        source,
    )
    source = STATIC.sub(static, source)
    if "__shared__" in source:
        raise EmulatorError("a __shared__ declaration was not understood")
    return source


def translate(source: str, options: Sequence[str] = ()) -> tuple[str, dict[str, Kernel]]:
    """C++ for `source` compiled with NVRTC's `options`, and its kernels.

    Of the options only `-D` means anything here; the others (-std, -ftz, ...) are NVRTC's.
    """
    clean = without_comments(source)
    kernels = kernels_of(clean)
    defines = [o[2:].replace("=", " ", 1) for o in options if o.startswith("-D")]
    parts = ['#include "cuda.h"']
    parts += [f"#define {define}" for define in defines]
    parts += ['#line 1 "kernel.cu"', with_shared_memory(clean), '#line 1 "launchers"']
    for kernel in kernels.values():
        name = kernel.name
        parts += [
            f'extern "C" const char* emulator_describe_{name}()'
            f" {{ return emulator::describe({name}); }}",
            f'extern "C" int emulator_bounds_{name}()'
            f" {{ const int bounds[] = {{{kernel.launch_bounds or '1024'}}}; return bounds[0]; }}",
            f'extern "C" int emulator_launch_{name}(const emulator::Geometry* g, void** a)'
            f" {{ return emulator::launch({name}, g, a); }}",
        ]
    by_name = "".join(f'if (!strcmp(name, "{k}")) emulator_launch_{k}(g, a);\n' for k in kernels)
    parts += [
        'extern "C" const char* emulator_message() { return emulator::message; }',
        "void emulator_launch_by_name(const char* name, emulator::Geometry* g, void** a)",
        f"{{ {by_name} }}",
        "#ifdef EMULATOR_MAIN",
        '#include "checked_main.h"',
        "#endif",
    ]
    return "\n".join(parts) + "\n", kernels
