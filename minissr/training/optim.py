"""Optimisers and learning-rate schedules.

An optimiser moves all parameters into one flat array, of which each parameter's `data` becomes a
view, and collects their gradients in another: a step is one kernel call whatever the network.
The learning rate is an attribute; a schedule is a pure function of the step, so a resumed run needs
to remember nothing but the step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from minissr.autograd.function import Array
from minissr.autograd.tensor import Tensor
from minissr.errors import CheckpointError
from minissr.kernels import lookup
from minissr.kernels.backend import array_module, backend_of
from minissr.nn.module import Parameter

Schedule = Callable[[int], float]


class Optimizer:
    """What the optimisers share: the flat arrays, and saving their state.

    Parameters
    ----------
    parameters : iterable of Parameter
        All of one float dtype and in one place. From now on each is a view of `flat`.
    lr : float
        The learning rate of the next step; that of a parameter is this times its `rate`.
    weight_decay : float
        Decoupled (Loshchilov & Hutter 2019): before a step, each weight loses this share of itself
        times `lr`. Parameters of one axis, biases and batch norm, are left alone.

    Attributes
    ----------
    flat, grad : ndarray (P,)
        All parameters one after the other, those of one rate together, and room for their
        gradients.
    steps : int
        Steps taken.
    """

    slots: ClassVar[tuple[str, ...]] = ()  # names of the arrays (P,) kept from step to step

    def __init__(
        self, parameters: Iterable[Parameter], lr: float, weight_decay: float = 0.0
    ) -> None:
        self.parameters = sorted(parameters, key=lambda parameter: parameter.rate, reverse=True)
        if not self.parameters:
            raise ValueError("the optimiser got no parameters; pass model.parameters()")
        self.lr = positive("learning rate", lr)
        if not 0 <= weight_decay < math.inf:
            raise ValueError(f"weight_decay {weight_decay}; expected a number from 0 up")
        self.weight_decay = float(weight_decay)
        self.steps = 0
        xp = array_module(self.parameters[0].data)
        self.flat = xp.concatenate([p.data.reshape(-1) for p in self.parameters])
        self.grad = xp.zeros_like(self.flat)
        for slot in self.slots:
            setattr(self, slot, xp.zeros_like(self.flat))
        self.views: list[Array] = []
        self.starts = [0]  # where each parameter begins in `flat`, and where the last one ends
        self.groups: dict[float, slice] = {}  # which part of `flat` has which rate
        for parameter in self.parameters:
            if parameter.dtype != self.flat.dtype:
                raise ValueError(
                    f"parameters of {self.flat.dtype} and {parameter.dtype}; "
                    "convert the model with model.astype('float32') first"
                )
            start, stop = self.starts[-1], self.starts[-1] + parameter.size
            parameter.data = self.flat[start:stop].reshape(parameter.shape)
            self.views.append(parameter.data)
            self.starts.append(stop)
            begin = self.groups.get(parameter.rate, slice(start, stop)).start
            self.groups[parameter.rate] = slice(begin, stop)

    def zero_grad(self) -> None:
        """Forget every gradient, without the walk through the network that `Module`'s takes."""
        for parameter in self.parameters:
            parameter.zero_grad()

    def step(self) -> None:
        """Change the parameters by their gradients; one without a gradient counts as 0."""
        for parameter, view in zip(self.parameters, self.views, strict=True):
            if parameter.data is not view:
                raise RuntimeError(
                    f"parameter {parameter.name or parameter.shape} was given another array; "
                    "build the optimiser after model.to() or model.astype()"
                )
        self.kernel("gather")([parameter.read_grad() for parameter in self.parameters],
                              self.starts, self.grad)  # fmt: skip
        self.steps += 1
        if self.weight_decay:
            for parameter, view in zip(self.parameters, self.views, strict=True):
                if view.ndim > 1:
                    lost = self.lr * parameter.rate * self.weight_decay
                    view *= self.flat.dtype.type(1 - lost)
        for rate, part in self.groups.items():
            self.update(part, self.lr * rate)

    def update(self, part: slice, lr: float) -> None:
        """Change a part of `flat` by the same of `grad`, in place."""
        raise NotImplementedError

    def kernel(self, name: str) -> Callable[..., None]:
        """The kernel `name` where the parameters live."""
        return lookup(name, backend_of(type(self).__name__, [self.flat]))

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of what a resumed run needs: the slots (P,), and `steps` as an int64 ()."""
        state = {slot: np.array(Tensor(getattr(self, slot)).numpy()) for slot in self.slots}
        return {**state, "steps": np.array(self.steps, np.int64)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up where `state_dict` left off.

        Raises
        ------
        CheckpointError
            Naming everything that is missing, unknown or of another shape.
        """
        own: dict[str, Array] = {slot: getattr(self, slot) for slot in self.slots}
        expected = {**{slot: array.shape for slot, array in own.items()}, "steps": ()}
        trouble = [f"missing {name}" for name in expected if name not in state]
        trouble += [f"unknown {name}" for name in state if name not in expected]
        trouble += [
            f"{name} is {np.shape(state[name])} instead of {shape}"
            for name, shape in expected.items()
            if name in state and np.shape(state[name]) != shape
        ]
        if trouble:
            raise CheckpointError(
                f"this state is not of this {type(self).__name__}: {'; '.join(trouble)}"
            )
        for slot, array in own.items():
            array[...] = array_module(array).asarray(state[slot])
        self.steps = int(state["steps"])


class Adam(Optimizer):
    """Adam (Kingma & Ba 2015): steps of about `lr`, scaled by each gradient's own size.

    With m and v the moving averages of g and g^2, and t the step,

        form "keras"     p -= lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)
        form "pytorch"   p -= lr mhat / (sqrt(vhat) + eps),   mhat = m / (1 - b1^t), vhat = ...

    Parameters
    ----------
    parameters, lr
        See Optimizer.
    beta1, beta2 : float
    eps : float, optional
        By default 1e-7 in the Keras form and 1e-8 in PyTorch's, as there.
    form : "keras" | "pytorch"

    Deviations: the paper names no epsilon; the authors trained with Keras.
    """

    slots = ("m", "v")
    m: Array
    v: Array

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-3,
        *,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float | None = None,
        form: str = "keras",
        weight_decay: float = 0.0,
    ) -> None:
        usual = {"keras": 1e-7, "pytorch": 1e-8}
        if form not in usual:
            raise ValueError(f"Adam form {form!r} is none of {', '.join(usual)}")
        super().__init__(parameters, lr, weight_decay)
        self.beta1, self.beta2 = fraction("beta1", beta1), fraction("beta2", beta2)
        self.eps = usual[form] if eps is None else positive("eps", eps)
        self.form = form

    def update(self, part: slice, lr: float) -> None:
        self.kernel("adam_step")(
            self.flat[part],
            self.grad[part],
            self.m[part],
            self.v[part],
            self.steps,
            lr,
            self.beta1,
            self.beta2,
            self.eps,
            self.form,
        )


class SGD(Optimizer):
    """Gradient descent with momentum: v = momentum v - lr g, p += v (nesterov: momentum v - lr g).

    Keras's form, which keeps the learning rate inside the velocity; see the kernel.
    """

    slots = ("velocity",)
    velocity: Array

    def __init__(
        self,
        parameters: Iterable[Parameter],
        lr: float = 1e-2,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr, weight_decay)
        self.momentum, self.nesterov = fraction("momentum", momentum), nesterov

    def update(self, part: slice, lr: float) -> None:
        self.kernel("sgd_step")(
            self.flat[part], self.grad[part], self.velocity[part], lr, self.momentum, self.nesterov
        )


def positive(what: str, value: float) -> float:
    """`value`, refused unless it is a finite number above 0."""
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{what} {value}; expected a number above 0")
    return float(value)


def fraction(what: str, value: float) -> float:
    """`value`, refused unless 0 <= value < 1."""
    if not 0 <= value < 1:
        raise ValueError(f"{what} {value}; expected 0 <= {what} < 1")
    return float(value)


# ---- learning rates ---------------------------------------------------------------------------


def constant_lr(lr: float) -> Schedule:
    """`lr` at every step."""
    return lambda step: lr


def step_lr(lr: float, milestones: Iterable[int], factor: float = 0.1) -> Schedule:
    """`lr`, multiplied by `factor` at each of the steps `milestones`."""
    ordered = sorted(milestones)
    return lambda step: lr * factor ** sum(step >= m for m in ordered)


def cosine_lr(lr: float, total: int, warm_up: int = 0, floor: float = 0.0) -> Schedule:
    """Half a cosine from `lr` down to `floor` at step `total`, after a straight rise.

    Step 0 of a warm-up of n steps has lr / n, step n - 1 has lr (Loshchilov & Hutter 2017, Eq. 5).
    """

    def at(step: int) -> float:
        done = min(1.0, max(0, step - warm_up) / max(1, total - warm_up))
        return floor + (lr - floor) * (1 + math.cos(math.pi * done)) / 2

    return risen(at, lr, warm_up)


def risen(schedule: Schedule, lr: float, warm_up: int) -> Schedule:
    """`schedule` after a straight rise to `lr` in `warm_up` steps."""
    return lambda step: lr * (step + 1) / warm_up if step < warm_up else schedule(step)


SCHEDULES = ("step", "cosine", "constant")


def build_schedule(
    name: str, *, lr: float, epochs: int, steps_per_epoch: int, warm_up: float | None = None
) -> Schedule:
    """The learning rate as a function of the step, counted from 0.

    Parameters
    ----------
    name : str
        "step" divides by 10 after a third and after two thirds of the epochs (the paper: every 30
        of 90); "cosine" falls to 0; "constant".
    lr : float
        The highest rate.
    epochs, steps_per_epoch : int
    warm_up : float, optional
        Epochs of rise; by default a twentieth of the run before "cosine", none else.
    """
    total = epochs * steps_per_epoch
    if warm_up is None:
        rise = total // 20 if name == "cosine" else 0
    else:
        rise = round(min(total, warm_up * steps_per_epoch))  # infinity can't be rounded
    if name == "step":
        thirds = [math.ceil(epochs * third / 3) * steps_per_epoch for third in (1, 2)]
        return risen(step_lr(lr, thirds), lr, rise)
    if name == "cosine":
        return cosine_lr(lr, total, warm_up=rise)
    if name == "constant":
        return risen(constant_lr(lr), lr, rise)
    raise ValueError(f"schedule {name!r} is none of {', '.join(SCHEDULES)}")
