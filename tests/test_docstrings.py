"""Every public function says what goes in and what comes out, with shapes; examples run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import minissr.autograd
import minissr.ops
from minissr import ops
from tests.ops.case import every_op

SHAPE = re.compile(r"\(([A-Z0-9.][^)]*)?\)")
PUBLIC = {name: getattr(ops, name) for name in ops.__all__}


def modules_of(*packages: ModuleType) -> list[ModuleType]:
    return [
        importlib.import_module(f"{package.__name__}.{module.name}")
        for package in packages
        for module in pkgutil.iter_modules(package.__path__)
    ]


def section(text: str, title: str) -> str:
    """The lines of one numpydoc section; empty if there is none."""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, re.S | re.M)
    return found[1] if found else ""


def entries(text: str) -> dict[str, str]:
    """name -> type, of the unindented lines "a, b : type" of a section."""
    described = {}
    for line in text.splitlines():
        if line and not line.startswith(" ") and " : " in line:
            names, kind = line.split(" : ", 1)
            described.update({name.strip().lstrip("*"): kind for name in names.split(",")})
    return described


@pytest.mark.parametrize("name", PUBLIC)
def test_parameters_and_returns_are_described(name: str) -> None:
    function: Callable[..., Any] = PUBLIC[name]
    text = inspect.getdoc(function) or ""
    parameters = entries(section(text, "Parameters"))
    assert set(parameters) == set(inspect.signature(function).parameters), name
    assert section(text, "Returns").strip(), f"{name} doesn't say what it returns"


@pytest.mark.parametrize("name", PUBLIC)
def test_tensors_come_with_their_shape(name: str) -> None:
    text = inspect.getdoc(PUBLIC[name]) or ""
    for parameter, kind in entries(section(text, "Parameters")).items():
        if re.match(r"(Tensor|ndarray)\b", kind):
            assert SHAPE.search(kind), f"{name}: {parameter} : {kind} has no shape"


@pytest.mark.parametrize("op", every_op(), ids=lambda op: op.__name__)
def test_every_op_says_what_it_computes(op: type) -> None:
    assert op.__dict__.get("__doc__"), f"{op.__name__} has no docstring of its own"


def test_no_module_hides_an_operation() -> None:
    modules = {module.name for module in pkgutil.iter_modules(ops.__path__)}
    assert not modules & set(ops.__all__)


@pytest.mark.parametrize(
    "module", modules_of(minissr.ops, minissr.autograd), ids=lambda module: module.__name__
)
def test_examples_run(module: ModuleType) -> None:
    failed, _ = doctest.testmod(module)
    assert failed == 0
