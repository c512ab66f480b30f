"""Rung 2: every name of CuPy that minissr and the script for a card use is in the real package.

The real package installs and imports without a driver; it is looked for in this environment and in
the folder that MINISSR_GPU_WHEELS names, and imported in a process of its own.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import minissr

ROOT = Path(minissr.__file__).parent
SCRIPT = ROOT.parent / "benchmarks" / "gpu_check.py"
# How the package is called where it is used: `cp.x`, `xp.x`, `ctx.xp.x`, `cuda.xp().x`, `xp().x`.
ALIASES = {"cp", "cupy", "xp"}
METHODS = ("get", "set", "astype", "reshape", "sum", "mean", "max", "item", "copy", "transpose")


def dotted(node: ast.AST) -> tuple[str, ...] | None:
    """("cuda", "Device") for `cp.cuda.Device`, whatever the module is called; else None."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        if node.attr == "xp" and names:  # ctx.xp.maximum
            return tuple(reversed(names))
        names.append(node.attr)
        node = node.value
        if isinstance(node, ast.Call):
            called = node.func
            by_call = getattr(called, "attr", getattr(called, "id", None)) == "xp"
            return tuple(reversed(names)) if by_call else None  # cuda.xp().empty, not f(x).sum
    if isinstance(node, ast.Name) and node.id in ALIASES:
        return tuple(reversed(names))
    return None


def used_names() -> dict[tuple[str, ...], str]:
    """Every dotted name of the package that is used, and a file that does."""
    found: dict[tuple[str, ...], str] = {}
    for path in (*sorted(ROOT.rglob("*.py")), SCRIPT):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute) and (names := dotted(node)):
                found.setdefault(names, str(path))
    return found


PROBE = """
import json, sys
import cupy
missing = []
for names in json.load(sys.stdin):
    thing = cupy
    for name in names:
        if not hasattr(thing, name):
            missing.append(".".join(names))
            break
        thing = getattr(thing, name)
print(json.dumps([cupy.__version__, missing]))
"""


def real_cupy(code: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    """Run `code` where `import cupy` is the real package; skips if there is none."""
    path = os.pathsep.join(filter(None, [os.environ.get("MINISSR_GPU_WHEELS"), str(ROOT.parent)]))
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", "import cupy"]
    if subprocess.run(command, env=environment, capture_output=True, check=False).returncode:
        pytest.skip("the real CuPy is not installed: pip install cupy-cuda12x")
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **kwargs,
    )


def test_the_search_finds_names() -> None:
    names = used_names()
    for expected in (
        ("empty",),
        ("RawModule",),
        ("cuda", "Device"),
        ("maximum",),
        ("add", "at"),
        ("cuda", "get_elapsed_time"),
    ):
        assert expected in names, f"the search for names of CuPy misses {'.'.join(expected)}"


@pytest.mark.gpu_rungs
def test_every_name_exists_in_the_real_package() -> None:
    names = list(used_names())
    names += [("ndarray", method) for method in METHODS]
    result = real_cupy(PROBE, input=json.dumps(names))
    assert result.returncode == 0, result.stderr
    version, missing = json.loads(result.stdout)
    assert not missing, f"CuPy {version} has no {', '.join(missing)}"


@pytest.mark.gpu_rungs
def test_every_name_of_the_stand_in_exists_in_the_real_package(cp: Any) -> None:
    """What the stand-in offers, the real one has, except for what says that it is emulated."""
    from cupy import _array

    own = {"is_emulated", "record", "annotations", "Any"}
    offered = [n for n in vars(cp) if not n.startswith("_") and n not in own]
    names = [(n,) for n in (*offered, *_array.UFUNCS, *_array.FUNCTIONS, *_array.VIEWS)]
    names += [("ndarray", n) for n in _array.METHODS]
    classes = [n for n in vars(cp.cuda) if n[0].isupper() and n not in MOVED]
    names += [("cuda", n) for n in classes]
    names += [
        ("cuda", n, method)
        for n in classes
        for method in vars(getattr(cp.cuda, n))
        if not method.startswith("_") and method not in OWN
    ]
    result = real_cupy(PROBE, input=json.dumps(names))
    assert result.returncode == 0, result.stderr
    _, missing = json.loads(result.stdout)
    assert not missing


# The stand-in defines these here and also has them where the real package does (cuda.runtime,
# cuda.memory). The others are Python's.
MOVED = {"CUDARuntimeError", "OutOfMemoryError", "Any", "Callable", "Iterator", "ModuleType"}
OWN = {"do", "ptr"}  # the first is the stand-in's, the second an attribute of an instance
