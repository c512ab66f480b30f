"""Which ops a network runs, seen by letting it look at a few blank faces.

A network is Python; nothing says beforehand which ops it will call. So it is called, in evaluation
mode and without fused shortcuts, while every op that runs is written down with its tensors and
settings. What doesn't depend on the faces (weights, and arithmetic on weights alone) is a constant
whose value is known by then; what the age doesn't depend on is left out.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minissr.autograd.function import Function, no_grad, record
from minissr.autograd.tensor import Tensor
from minissr.errors import MinissrError
from minissr.kernels.backend import use_backend
from minissr.nn.module import Module, composed

BATCH = 3  # faces that are looked at; what has another length along the first axis mixes faces


@dataclass(frozen=True)
class Step:
    """One op that ran.

    Attributes
    ----------
    function : type
        The op, a subclass of Function.
    inputs : tuple of Tensor or None
    settings : dict
        Its keyword settings.
    output : Tensor
    """

    function: type[Function]
    inputs: tuple[Any, ...]
    settings: dict[str, Any]
    output: Tensor


@dataclass(frozen=True)
class Trace:
    """What a network does to faces.

    Attributes
    ----------
    faces : Tensor (BATCH, H, W, 3)
        What it was given.
    steps : list of Step
        In the order they ran; only those between the faces and the ages.
    ages : Tensor
        What it answered: (BATCH,) or (BATCH, 1).
    uses : Counter
        How many steps read a tensor, by its id.
    """

    faces: Tensor
    steps: list[Step]
    ages: Tensor
    uses: Counter[int] = field(default_factory=Counter)


def trace(model: Module, size: int) -> Trace:
    """The ops between faces and ages.

    Parameters
    ----------
    model : Module
        Left in the mode it was in; computes in float32 on the CPU.
    size : int
        Height and width of the faces, in pixels.

    Raises
    ------
    MinissrError
        If the ages don't come from the faces by recorded ops alone.
    """
    faces = Tensor(np.zeros((BATCH, size, size, 3), np.float32), name="face")
    ran: list[Step] = []

    def note(
        function: type[Function],
        inputs: tuple[Any, ...],
        settings: dict[str, Any],
        outputs: tuple[Any, ...],
    ) -> None:
        if len(outputs) != 1:
            raise MinissrError(
                f"{function.__name__} has {len(outputs)} results, and only ops with one can be "
                "exported; compose the layer of plain ops"
            )
        ran.append(Step(function, inputs, settings, outputs[0]))

    training = model.training
    model.eval()
    try:
        with use_backend("numpy"), no_grad(), composed(), record(note):
            ages = model(faces)
    finally:
        model.train(training)
    if ages.shape not in ((BATCH,), (BATCH, 1)):
        raise MinissrError(
            f"{type(model).__name__} answers {BATCH} faces with {ages.shape}; "
            "only networks with one age a face can be exported"
        )
    steps = between(faces, ran, ages)
    if not steps:
        raise MinissrError(f"the ages of {type(model).__name__} don't depend on the face")
    uses = Counter(id(tensor) for step in steps for tensor in step.inputs if tensor is not None)
    return Trace(faces, steps, ages, uses)


def between(faces: Tensor, ran: list[Step], ages: Tensor) -> list[Step]:
    """Those of the steps that lie on a way from the faces to the ages."""
    moved = {id(faces)}  # depends on the faces
    for step in ran:
        if any(id(tensor) in moved for tensor in step.inputs):
            moved.add(id(step.output))
    wanted = {id(ages)}
    steps = []
    for step in reversed(ran):
        if id(step.output) in wanted and id(step.output) in moved:
            wanted.update(id(tensor) for tensor in step.inputs)
            steps.append(step)
    return steps[::-1]
