"""What a network is made of: a row for each layer, from one image sent through it.

Multiply-adds (MACs) are those of convolutions and dense layers, as papers count them; the rest is
small beside them. Parameters include moving statistics.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from minissr.autograd.function import no_grad
from minissr.nn.module import Module, composed, watch


@dataclass
class Row:
    """One module that was called.

    Attributes
    ----------
    name : str
        Dotted, as in the state.
    kind : str
        The class.
    shape : tuple of int
        Of the output for one image, without the batch axis; empty where that isn't one array.
    parameters, macs : int
        Its own; 0 for a module that only has others inside.
    """

    name: str
    kind: str
    shape: tuple[int, ...] = ()
    parameters: int = 0
    macs: int = 0


def trace(model: Module, images: Any) -> list[Row]:
    """A row for each module that is called on the way from `images` (N, H, W, 3) to ages."""
    names = {id(module): name for name, module in model.named_modules()}
    counted: set[int] = set()
    rows: list[Row] = []

    def entered(module: Module, inputs: tuple[Any, ...]) -> Callable[[Any], None]:
        row = Row(names[id(module)], type(module).__name__)
        rows.append(row)

        def finished(output: Any) -> None:
            shape = getattr(output, "shape", ())
            row.shape = tuple(shape[1:])
            macs = getattr(module, "macs", None)
            row.macs = macs(shape) if macs else 0
            inside = sum(1 for _ in module.modules()) > 1
            if not inside and id(module) not in counted:
                counted.add(id(module))
                row.parameters = module.parameter_count()

        return finished

    training = model.training
    model.eval()
    try:
        with no_grad(), composed(), watch(entered):
            model(images)
    finally:
        model.train(training)
    return rows


def summary(model: Module, image_size: int = 64) -> str:
    """The table as text: layer, kind, output for one image, parameters, multiply-adds.

    Parameters
    ----------
    model : Module
        Left as it was.
    image_size : int
        Height and width of the image that is sent through, in pixels.

    Examples
    --------
    >>> from minissr.models import registry
    >>> print(summary(registry.build("ssrnet", variant="released")).splitlines()[-1])
    total                                                      40,915   17,078,926
    """
    rows = trace(model, np.zeros((1, image_size, image_size, 3), np.uint8))
    lines = [line("layer", "kind", "output", "parameters", "MACs")]
    lines += [
        line(row.name, row.kind, "x".join(map(str, row.shape)), row.parameters, row.macs)
        for row in rows
        if row.name and row.shape
    ]
    total = sum(row.parameters for row in rows), sum(row.macs for row in rows)
    return "\n".join([*lines, line("total", "", "", *total)])


def line(name: str, kind: str, shape: str, parameters: int | str, macs: int | str) -> str:
    """One line of the table; zeros are left blank."""
    numbers = (f"{n:,}" if isinstance(n, int) and n else n or "" for n in (parameters, macs))
    return f"{name:<28} {kind:<12} {shape:<10}" + "".join(f"{number:>13}" for number in numbers)
