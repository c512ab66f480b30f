"""What layers and networks have in common: parameters, state, modes, calls.

A `Module` finds its parts by looking at its own attributes, in the order they were assigned:
`Parameter`s are trained, other `Module`s (also in a list) are its children, and arrays announced
with `add_buffer` are saved but not trained. There is nothing to call before assigning them.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np

from minissr.autograd.function import Array
from minissr.autograd.tensor import Tensor
from minissr.errors import CheckpointError
from minissr.kernels.backend import array_module

# Called as observer(module, inputs) when a module is called; what it returns is called with the
# module's output. The summary table is its one user.
Observer = Callable[["Module", tuple[Any, ...]], Callable[[Any], None]]
_observer: contextvars.ContextVar[Observer | None] = contextvars.ContextVar(
    "module_observer", default=None
)
_composed: contextvars.ContextVar[bool] = contextvars.ContextVar("composed", default=False)


@contextlib.contextmanager
def watch(observer: Observer) -> Iterator[None]:
    """Tell `observer` about every module that is called inside the `with` block."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


@contextlib.contextmanager
def composed() -> Iterator[None]:
    """Inside the `with` block no layer takes its fused shortcut: every part is called itself.

    For looking inside (summary, explanations, health) and for comparing the two.
    """
    token = _composed.set(True)
    try:
        yield
    finally:
        _composed.reset(token)


class Parameter(Tensor):
    """A tensor that is trained.

    Its `data` may be a view of an optimiser's flat array: write into it, `p.data[...] = x`, and
    don't put another array in its place.

    Parameters
    ----------
    data : array
    name : str, optional
    rate : float
        Factor on the optimiser's learning rate.
    """

    __slots__ = ("rate",)

    def __init__(self, data: Any, name: str | None = None, *, rate: float = 1.0) -> None:
        super().__init__(data, requires_grad=True, name=name)
        self.rate = rate


class Module:
    """A layer or a network.

    A subclass assigns its parts in `__init__` and computes in `forward`.

    Parameters
    ----------
    fusible : bool
        Of the class, `class Dense(Module, fusible=True)`: there are fused ops and kernels that do
        what its `forward` says without calling it. Not inherited: a subclass may compute something
        else, and then has to be asked.

    Attributes
    ----------
    training : bool
        Batch norm and dropout do one thing in training and another in evaluation; see `train`.
    fused : bool
        Whether this layer may compute several steps in one op, where it knows how to.

    Examples
    --------
    >>> class Line(Module):
    ...     def __init__(self):
    ...         self.slope = Parameter([2.0])
    ...     def forward(self, x):
    ...         return x * self.slope
    >>> list(Line().state_dict())
    ['slope']
    """

    training: bool = True
    fused: bool = True
    _buffers: ClassVar[tuple[str, ...]] = ()
    _fused_forward: ClassVar[Callable[..., Any] | None] = None  # what fused ops stand for

    def __init_subclass__(cls, *, fusible: bool = False) -> None:
        cls._fused_forward = cls.forward if fusible else None

    def forward(self, *inputs: Any, **settings: Any) -> Any:
        raise NotImplementedError

    def __call__(self, *inputs: Any, **settings: Any) -> Any:
        observer = _observer.get()
        if observer is None:
            return self.forward(*inputs, **settings)
        finish = observer(self, inputs)
        output = self.forward(*inputs, **settings)
        finish(output)
        return output

    @property
    def may_fuse(self) -> bool:
        """Whether a shortcut may stand here and now for this module and all its parts.

        Not where one of them was replaced, by a subclass or by another `forward`, or has settings
        that no fused op knows: a shortcut would read its parameters and pass its computation by.
        """
        if _composed.get():
            return False
        parts = list(self.modules())
        known = all(part.fused and part.computes_as_fused for part in parts)
        return known and all(part.set_as_fused for part in parts)

    @property
    def computes_as_fused(self) -> bool:
        """Whether `forward` is the one that fused ops stand for."""
        forward = getattr(self.forward, "__func__", None)  # None: a plain function, put on self
        return forward is not None and forward is type(self)._fused_forward

    @property
    def set_as_fused(self) -> bool:
        """Whether the settings of this layer's own parts are among those that fused ops know.

        Asked only if all parts are of the classes that it was built of.
        """
        return True

    # ---- parts --------------------------------------------------------------------------------

    def add_buffer(self, name: str, array: Array) -> None:
        """Keep `array` as the attribute `name`, to be saved and moved but not trained."""
        vars(self)["_buffers"] = (*self._buffers, name)
        setattr(self, name, array)

    def _members(self) -> Iterator[tuple[str, Any]]:
        """The attributes in order of assignment; of lists, tuples and dicts, item by item."""
        return unpacked(vars(self).items())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module under the name `prefix`, then all below it with dotted names."""
        yield prefix, self
        for name, value in self._members():
            if isinstance(value, Module):
                yield from value.named_modules(join(prefix, name))

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """What is trained, with dotted names."""
        for prefix, module in self.named_modules():
            for name, value in module._members():
                if isinstance(value, Parameter):
                    yield join(prefix, name), value

    def parameters(self) -> Iterator[Parameter]:
        """What is trained."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """What is saved but not trained, with dotted names."""
        for prefix, module in self.named_modules():
            for name in module._buffers:
                yield join(prefix, name), getattr(module, name)

    def parameter_count(self) -> int:
        """How many numbers there are, moving statistics included: the count papers give."""
        return sum(array.size for array in self._state().values())

    # ---- state --------------------------------------------------------------------------------

    def _state(self) -> dict[str, Array]:
        """The arrays themselves, module by module: parameters first, then buffers."""
        state = {}
        for prefix, module in self.named_modules():
            for name, value in module._members():
                if isinstance(value, Parameter):
                    state[join(prefix, name)] = value.data
            for name in module._buffers:
                state[join(prefix, name)] = getattr(module, name)
        return state

    def state_dict(self) -> dict[str, np.ndarray]:
        """A copy of every parameter and buffer under its dotted name, as NumPy arrays."""
        return {name: np.array(Tensor(array).numpy()) for name, array in self._state().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy arrays into the parameters and buffers; nothing is changed if any doesn't fit.

        Raises
        ------
        CheckpointError
            Naming everything that is missing, unknown or of another shape, in one message.
        """
        own = self._state()
        trouble = [f"missing {name}" for name in own if name not in state]
        trouble += [f"unknown {name}" for name in state if name not in own]
        trouble += [
            f"{name} is {np.shape(state[name])} instead of {array.shape}"
            for name, array in own.items()
            if name in state and np.shape(state[name]) != array.shape
        ]
        if trouble:
            raise CheckpointError(
                f"these weights are not of this {type(self).__name__}: {'; '.join(trouble)}"
            )
        for name, array in own.items():
            array[...] = array_module(array).asarray(state[name])

    # ---- modes and places ---------------------------------------------------------------------

    def train(self, mode: bool = True) -> Module:
        """Batch norm uses and follows the batch's statistics, dropout drops."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Batch norm uses its moving statistics, dropout does nothing."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Forget every gradient."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def astype(self, dtype: Any) -> Module:
        """Convert parameters and buffers, in place; do it before building an optimiser."""
        return self._replace(lambda array: array.astype(dtype))

    def to(self, backend: str) -> Module:
        """Move everything to where `backend` computes; do it before building an optimiser."""
        return self._replace(lambda array: Tensor(array).to(backend).data)

    @property
    def dtype(self) -> np.dtype:
        """The float dtype of the parameters."""
        return next(self.parameters()).dtype

    def _replace(self, change: Callable[[Array], Array]) -> Module:
        for module in self.modules():
            for _, value in module._members():
                if isinstance(value, Parameter):
                    value.data = change(value.data)
                    value.grad = None
            for name in module._buffers:
                setattr(module, name, change(getattr(module, name)))
        return self


def unpacked(items: Iterable[tuple[Any, Any]], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values by name; the items of a container, however deep, under dotted names."""
    for key, value in items:
        name = f"{prefix}{key}"
        if isinstance(value, (dict, list, tuple)):
            inside = value.items() if isinstance(value, dict) else enumerate(value)
            yield from unpacked(inside, f"{name}.")
        else:
            yield name, value


def faults(state: Mapping[str, Any]) -> list[str]:
    """What no training leaves in a state: numbers that aren't finite, variances below 0.

    They have to be looked for before computing: a kernel's maximum may drop a NaN on the way to a
    plausible age.
    """
    return [f"{name} has {what}" for name, array in state.items() if (what := fault(name, array))]


def fault(name: str, array: np.ndarray) -> str | None:
    """The same of one array, which is called `name` in a state."""
    if not np.isfinite(array).all():
        return "numbers that aren't finite"
    if name.endswith("moving_variance") and (array < 0).any():
        return "variances below 0"
    return None


def join(prefix: str, name: str) -> str:
    """A dotted name."""
    return f"{prefix}.{name}" if prefix else name
