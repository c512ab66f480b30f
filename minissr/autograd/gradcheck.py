"""Is a hand-derived gradient right? Compare it with finite differences, in float64.

The function's outputs y are turned into one number by a random output gradient c, f = sum c y, and
its slope along a direction u is measured by a central difference of step h,

    (f(x + h u) - f(x - h u)) / 2h = grad f . u + O(h^2)

and compared with what backward says, grad f . u. With h = 1e-5 both the O(h^2) and the rounding of
f, divided by h, are far below one part in a million for functions of moderate size.

A difference across a kink (a ReLU at 0, two equal maxima) measures the slope of neither side.
`gradcheck` tells a kink from a wrong gradient: a wrong gradient disagrees with a difference that
itself is steady, while across a kink the difference depends on the step.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minissr.autograd.function import no_grad
from minissr.autograd.tensor import Tensor, walk_back
from minissr.kernels.backend import array_module

MODES = ("direction", "inputs", "elements")

# How far a difference of f may be off by rounding alone, in units of the sum of |c y|.
ROUNDING = 16 * np.finfo(np.float64).eps


class GradientError(Exception):
    """A gradient that differs from the finite difference."""


class KinkError(GradientError):
    """No gradient to compare with: the function has a kink here."""


@dataclass(frozen=True)
class Comparison:
    """One slope, by backward and by a finite difference."""

    where: str  # "w[0, 2]", "a direction over x, w, b"
    analytic: float
    numeric: float
    error: float  # |analytic - numeric| / norm of the gradient (if that is 0: as it is)
    allowed: float  # the largest `error` that passes

    @property
    def badness(self) -> float:
        """The error in units of what is allowed; infinite if it isn't a number."""
        if self.error == 0:
            return 0.0
        return self.error / self.allowed if self.error <= np.inf and self.allowed else np.inf

    def __str__(self) -> str:
        return (
            f"{self.where}: backward {self.analytic:.9g}, finite difference {self.numeric:.9g}, "
            f"error {self.error:.2e} of the gradient's norm, allowed {self.allowed:.2e}"
        )


@dataclass(frozen=True)
class GradcheckReport:
    """What a gradient check found: everything agreed, `worst` least well."""

    mode: str
    worst: Comparison
    comparisons: int
    kinks: tuple[str, ...]  # where a kink was met and stepped around (or skipped, if allowed)

    def __str__(self) -> str:
        kinks = f", {len(self.kinks)} at a kink left out" if self.kinks else ""
        return f"{self.comparisons} slopes agree ({self.mode}{kinks}); worst {self.worst}"


def gradcheck(
    fn: Callable[..., Any],
    inputs: Sequence[Any],
    *,
    settings: Mapping[str, Any] | None = None,
    mode: str = "direction",
    eps: float = 1e-5,
    tol: float = 1e-6,
    seed: int = 0,
    redraws: int = 10,
    allow_kinks: bool = False,
) -> GradcheckReport:
    """Compare the gradient of `fn` with central differences.

    Parameters
    ----------
    fn : callable
        Called as `fn(*inputs, **settings)` with tensors; returns a Tensor, or a tuple in which
        everything that isn't a differentiable tensor is ignored. Must compute the same each time.
    inputs : sequence of ndarray, Tensor or None
        Float arrays are checked, in float64; integers and None are passed on. Of tensors those
        that require a gradient are checked. A tensor's data is changed during the check and put
        back, so `fn` may also read it by itself, as a model reads its parameters.
    settings : mapping, optional
        Keyword arguments of `fn`.
    mode : "direction" | "inputs" | "elements"
        One random unit direction over all inputs together; one in each input by itself (sees a
        small gradient beside a large one); or every element, one after the other.
    eps : float
        Step of the difference, in the unit of the inputs.
    tol : float
        Allowed error, relative to the norm of the gradient (in the modes `inputs` and `elements`
        that of the input in question). What rounding alone can do is added to it.
    seed : int
        Draws output gradient and directions.
    redraws : int
        How often a direction that crosses a kink is replaced by another.
    allow_kinks : bool
        Mode `elements`: leave elements at a kink out, instead of raising KinkError.

    Returns
    -------
    GradcheckReport

    Raises
    ------
    GradientError
        If a slope is wrong; the message has the worst one.
    KinkError
        If nothing is wrong but a kink left nothing to compare with.
    ValueError
        If there is nothing to check, an input is not float64, or `fn` isn't deterministic.

    Examples
    --------
    >>> import numpy as np
    >>> from minissr import ops
    >>> report = gradcheck(ops.mae, [np.array([1.0, 5.0])], settings={"target": [2.0, 3.0]})
    >>> report.worst.error < 1e-9
    True
    """
    if mode not in MODES:
        raise ValueError(f"gradcheck mode {mode!r} is none of {', '.join(MODES)}")
    slope = Slope(fn, inputs, settings or {}, seed)
    comparisons: list[Comparison] = []
    kinks: list[str] = []
    try:
        slope.backward()
        for candidates in slope.directions(mode, redraws):
            for where, direction, norm in candidates:
                comparison, kinked = slope.compare(where, direction, norm, eps, tol)
                if not kinked:
                    comparisons.append(comparison)
                    break
                kinks.append(where)
            else:
                if not (allow_kinks and mode == "elements"):
                    slope.check_repeatable()
                    raise_if_wrong(comparisons, mode)
                    raise KinkError(
                        f"{slope.name} has a kink within a step of {eps:g} from its inputs (or "
                        f"bends too sharply), seen along {where}; move the inputs away from there"
                    )
        if any(c.badness > 1 for c in comparisons):
            slope.check_repeatable()
        raise_if_wrong(comparisons, mode)
        if not comparisons:
            raise KinkError(f"{slope.name} is at a kink in every element; nothing was compared")
        worst = max(comparisons, key=lambda c: c.badness)
        return GradcheckReport(mode, worst, len(comparisons), tuple(kinks))
    finally:
        slope.restore()


def raise_if_wrong(comparisons: list[Comparison], mode: str) -> None:
    """Raise GradientError with the worst of the comparisons that failed, if any did."""
    wrong = [c for c in comparisons if c.badness > 1]
    if wrong:
        worst = max(wrong, key=lambda c: c.badness)
        raise GradientError(
            f"wrong gradient, {len(wrong)} of {len(comparisons)} slopes (mode {mode}), "
            f"worst {worst}"
        )


# A unit direction: for some of the checked inputs, an array of that input's shape.
Direction = dict[int, np.ndarray]
Candidate = tuple[str, Direction, float]  # where, direction, norm of the gradient there


class Slope:
    """The function as a number f = sum c y, with its slope by backward and by differences."""

    def __init__(
        self, fn: Callable[..., Any], inputs: Sequence[Any], settings: Mapping[str, Any], seed: int
    ) -> None:
        self.fn, self.settings = fn, settings
        self.name = getattr(fn, "__name__", type(fn).__name__)
        # Not default_rng(seed): whoever drew the inputs with that would meet the same numbers
        # again as output gradient, and batch norm, for one, has no gradient along its output.
        self.rng = np.random.default_rng([seed, 2018])
        self.inputs = [as_input(x) for x in inputs]
        names = input_names(fn, self.inputs)
        checked = [
            i for i, x in enumerate(self.inputs) if isinstance(x, Tensor) and x.requires_grad
        ]
        self.tensors: list[Tensor] = [self.inputs[i] for i in checked]
        self.names = [names[i] for i in checked]
        if not any(tensor.size for tensor in self.tensors):
            raise ValueError("gradcheck has nothing to check: no input has a float to vary")
        for name, tensor in zip(self.names, self.tensors, strict=True):
            if tensor.dtype != np.float64:
                raise ValueError(f"gradcheck needs float64, but {name} is {tensor.dtype}")
        self.data = [tensor.data for tensor in self.tensors]
        self.users_grads = [tensor.grad for tensor in self.tensors]

    def restore(self) -> None:
        """Give the tensors their data and gradients back."""
        for tensor, data, grad in zip(self.tensors, self.data, self.users_grads, strict=True):
            tensor.data, tensor.grad = data, grad

    def outputs(self) -> list[Tensor]:
        result = self.fn(*self.inputs, **self.settings)
        parts = result if isinstance(result, tuple | list) else (result,)
        return [y for y in parts if isinstance(y, Tensor) and y.dtype.kind == "f"]

    def backward(self) -> None:
        """Draw the output gradient, remember it, and let backward compute grad f."""
        for tensor in self.tensors:
            tensor.zero_grad()
        every = self.outputs()
        self.picked = [i for i, y in enumerate(every) if y.requires_grad]
        outputs = [every[i] for i in self.picked]
        if not outputs:
            raise ValueError(f"{self.name} returned no tensor that depends on the checked inputs")
        self.f_grads = [self.rng.standard_normal(y.shape) for y in outputs]
        xp = array_module(outputs[0].data)
        walk_back([(y, xp.asarray(c)) for y, c in zip(outputs, self.f_grads, strict=True)])
        self.values = [y.numpy() for y in outputs]
        summands = (abs(c * y).sum() for c, y in zip(self.f_grads, self.values, strict=True))
        self.rounding = ROUNDING * float(sum(summands))
        self.gradient = [
            np.zeros(t.shape) if t.grad is None else Tensor(t.grad).numpy() for t in self.tensors
        ]

    def evaluate(self, direction: Direction, step: float) -> list[np.ndarray]:
        """The outputs at x + step * direction."""
        for i, u in direction.items():
            xp = array_module(self.data[i])
            self.tensors[i].data = self.data[i] + xp.asarray(step * u)
        try:
            with no_grad():
                outputs = self.outputs()
            return [outputs[i].numpy() for i in self.picked]
        finally:
            for i in direction:
                self.tensors[i].data = self.data[i]

    def change(self, ys: list[np.ndarray], zs: list[np.ndarray]) -> float:
        """f(y) - f(z), subtracting first: less is lost to rounding than in sum c y - sum c z."""
        pieces = zip(self.f_grads, ys, zs, strict=True)
        return float(sum((c * (y - z)).sum() for c, y, z in pieces))

    def compare(
        self, where: str, direction: Direction, norm: float, eps: float, tol: float
    ) -> tuple[Comparison, bool]:
        """The slope along a direction, both ways; and whether a kink explains the difference."""
        analytic = float(sum((self.gradient[i] * u).sum() for i, u in direction.items()))
        up, down = self.evaluate(direction, eps), self.evaluate(direction, -eps)
        numeric = self.change(up, down) / (2 * eps)
        limit = tol * norm + self.rounding / eps
        unit = norm or 1.0  # of a gradient that is 0 nothing is a fraction
        comparison = Comparison(
            where, analytic, numeric, abs(analytic - numeric) / unit, limit / unit
        )
        if comparison.badness <= 1:
            return comparison, False
        return comparison, self.kinked(direction, eps, limit, up, down, numeric)

    def kinked(
        self,
        direction: Direction,
        eps: float,
        limit: float,
        up: list[np.ndarray],
        down: list[np.ndarray],
        numeric: float,
    ) -> bool:
        """Whether the measured slope changes with the step by more than `limit`.

        Halving the step of a smooth f changes the central difference by O(h^2) and exactly halves
        the difference of the one-sided slopes, up to O(h^3). A kink at distance t < h breaks one
        of the two: the first if t > 0, the second if t = 0.
        """
        here = self.values
        half_up, half_down = self.evaluate(direction, eps / 2), self.evaluate(direction, -eps / 2)
        shift = abs(self.change(half_up, half_down) / eps - numeric)
        bend = (self.change(up, here) - self.change(here, down)) / eps
        half_bend = (self.change(half_up, here) - self.change(here, half_down)) / (eps / 2)
        return max(shift, abs(bend - 2 * half_bend)) > limit

    def check_repeatable(self) -> None:
        """Refuse a function that gives other numbers for the same inputs (a free dropout mask)."""
        again = self.evaluate({}, 0.0)
        if not all(
            np.array_equal(y, z, equal_nan=True) for y, z in zip(again, self.values, strict=True)
        ):
            raise ValueError(
                f"{self.name} gave two results for the same inputs; "
                "create its random generator inside the function, from a fixed seed"
            )

    def directions(self, mode: str, redraws: int) -> Iterator[Iterator[Candidate]]:
        """For each comparison the directions to try, until one crosses no kink."""
        everything = range(len(self.tensors))
        if mode == "direction":
            yield self.draws(list(everything), redraws)
        elif mode == "inputs":
            for i in everything:
                if self.tensors[i].size:
                    yield self.draws([i], redraws)
        else:
            for i in everything:
                norm = float(np.linalg.norm(self.gradient[i]))
                for position in np.ndindex(self.tensors[i].shape):
                    u = np.zeros(self.tensors[i].shape)
                    u[position] = 1
                    place = f"[{', '.join(map(str, position))}]" if position else ""
                    where = self.names[i] + place
                    yield iter([(where, {i: u}, norm)])

    def draws(self, chosen: list[int], redraws: int) -> Iterator[Candidate]:
        """Random unit directions over the chosen inputs."""
        norm = float(np.sqrt(sum((self.gradient[i] ** 2).sum() for i in chosen)))
        where = "a direction over " + ", ".join(self.names[i] for i in chosen)
        for _ in range(1 + redraws):
            u = {i: self.rng.standard_normal(self.tensors[i].shape) for i in chosen}
            length = np.sqrt(sum((a**2).sum() for a in u.values()))
            yield where, {i: a / length for i, a in u.items()}, norm


def as_input(value: Any) -> Any:
    """Float arrays as float64 tensors to check, other arrays as constants, the rest as it is."""
    if isinstance(value, Tensor) or value is None:
        return value
    array = value if hasattr(value, "dtype") else np.asarray(value)
    if array.dtype.kind == "f":
        return Tensor(array.astype(np.float64), requires_grad=True)
    return Tensor(array)


def input_names(fn: Callable[..., Any], inputs: list[Any]) -> list[str]:
    """A name for each input: the tensor's own, the parameter of `fn`, or its position."""
    try:
        parameters = list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature
        parameters = []
    positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    return [
        getattr(x, "name", None) or (positional[i] if i < len(positional) else f"input {i}")
        for i, x in enumerate(inputs)
    ]
