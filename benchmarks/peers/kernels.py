"""Our kernels one by one, with the shapes that SSR-Net gives them.

A case says how many floating point operations its result takes, a multiply-add counted as two,
and how many bytes it can't avoid to touch: its inputs once and its results once. Whatever a kernel
computes twice counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.peers.ours import Ours, collect
from benchmarks.workload import EPS, Workload
from minissr.kernels import lookup

STRIDE, VALID = (1, 1), (0, 0, 0, 0)
CLOSE = 2e-3  # of the largest number; float32 beside float32 in another order


@dataclass
class Case:
    """One kernel with its arguments.

    `numpys` makes the arguments for the NumPy kernel, where they differ: a backward reads what its
    own backend's forward kept.
    """

    kernel: str
    shape: str
    arguments: tuple[Any, ...]
    flops: float
    numpys: Callable[[], tuple[Any, ...]] | None = None

    def run(self, backend: str) -> Any:
        return lookup(self.kernel, backend)(*self.arguments)


class Kernels:
    """See `peers`; a task is the number of a case."""

    def __init__(self, workload: Workload, backend: str, batch: int = 50) -> None:
        self.backend = backend
        self.cases = list(cases(workload, backend, batch))

    def about(self) -> dict[str, Any]:
        """Every case in plain values."""
        return {
            "cases": [
                {
                    "kernel": c.kernel,
                    "shape": c.shape,
                    "flops": c.flops,
                    "bytes": touched(c, self.backend),
                }
                for c in self.cases
            ]
        }

    def case(self, batch: int) -> Callable[[], Any]:
        """The function to be timed; `batch` is the number of the case."""
        return lambda: self.cases[batch].run(self.backend)

    def check(self, task: str, batch: int) -> dict[str, Any]:
        """Whether it computes what the NumPy kernel does."""
        case = self.cases[batch]
        if case.kernel.endswith("_step"):
            return {"right": True, "why": "works in place; tested elsewhere"}
        if self.backend not in ("numba", "numpy"):
            return {"right": False, "why": f"nothing to compare {self.backend} with"}
        worst = 0.0
        given, expected = ({}, {})
        gather(case, case.run(self.backend), given)
        gather(case, reference(case), expected)
        # A bias before a batch norm has a gradient of rounding noise, or of zero: beside the
        # kernel's other results it is the same.
        largest = max((float(np.abs(right).max()) for right in expected.values()), default=0.0)
        for place, right in expected.items():
            if place in given and given[place].shape == right.shape:
                size = max(float(np.abs(right).max()), 1e-3 * largest, 1e-12)
                worst = max(worst, float(np.abs(given[place] - right).max()) / size)
        return {"right": worst < CLOSE, "error": worst, "compared": len(expected)}


def reference(case: Case) -> Any:
    """The NumPy kernel's result."""
    return lookup(case.kernel, "numpy")(*(case.numpys() if case.numpys else case.arguments))


def gather(case: Case, value: Any, found: dict[int, np.ndarray]) -> None:
    """The results of a kernel in order, without what a forward keeps for its backward."""
    results = value if isinstance(value, tuple) else (value,)
    if case.kernel in ("stem_forward", "block_forward", "fusion_forward", "head_forward"):
        results = results[:-1]
    number = 0
    for result in results:
        for array in result if isinstance(result, tuple) else (result,):
            if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                found[number] = array
            number += 1


def touched(case: Case, backend: str) -> int:
    """Bytes of all arrays going in and coming out."""
    found: dict[int, int] = {}
    collect(list(case.arguments), found, set())
    collect([case.run(backend)], found, set())
    return sum(found.values())


def cases(workload: Workload, backend: str, batch: int) -> Iterator[Case]:
    """The kernels that a training step of `batch` images calls, then the plain ones beneath."""
    rng = np.random.default_rng(0)
    model = Ours(workload, "numpy").model()
    images = workload.images(batch)
    yield from stem_cases(model, backend, images, rng)
    for stream in ("x", "s"):
        size = model.streams.sizes[0]
        for level, block in enumerate(getattr(model.streams, stream)[1:], start=2):
            x = normal(rng, batch, size, size, block.conv.w.shape[2])
            yield from block_cases(block, backend, x, rng)
            size = model.streams.sizes[level - 1]
    maps = []
    for stage, level in zip(model.stages, model.levels, strict=True):
        size = model.streams.sizes[level - 1]
        for conv, pool in ((stage.conv_s, "max"), (stage.conv_x, "avg")):
            x = normal(rng, batch, size, size, conv.w.shape[2])
            yield from fusion_cases(conv, backend, x, pool, stage.pool, rng)
            maps.append(x)
    yield from head_cases(model, backend, maps, rng)
    yield from formula_cases(model, batch, rng)


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Noise, float32."""
    return rng.standard_normal(shape, np.float32)


def words(x: np.ndarray, *more: Any) -> str:
    """A shape for people: 50x31x31x32, 3x3x32x32."""
    return ", ".join(
        "x".join(map(str, a.shape)) if hasattr(a, "shape") else str(a) for a in (x, *more)
    )


def parameters(block: Any) -> tuple[np.ndarray, ...]:
    return block.conv.w.data, block.conv.b.data, block.norm.gamma.data, block.norm.beta.data


def conv_flops(x: np.ndarray, w: np.ndarray) -> float:
    out = (x.shape[1] - w.shape[0] + 1) * (x.shape[2] - w.shape[1] + 1)
    return 2.0 * x.shape[0] * out * w.size


def stem_cases(model: Any, backend: str, images: np.ndarray, rng: Any) -> Iterator[Case]:
    """Both first blocks together, on the faces."""
    both = parameters(model.streams.x[0]), parameters(model.streams.s[0])
    arguments = (images, 1.0, 0.0, EPS, *both[0], *both[1])
    flops = sum(conv_flops(images, p[0]) for p in both)
    shape = words(images, both[0][0], both[1][0])
    yield Case("stem_forward", shape, arguments, flops)
    outputs, *_, saved = lookup("stem_forward", backend)(*arguments)
    gys = [normal(rng, *y.shape) for y in outputs]
    given = (*gys, images, 1.0, 0.0, EPS)

    def numpys() -> tuple[Any, ...]:
        return *given, lookup("stem_forward", "numpy")(*arguments)[-1]

    yield Case("stem_backward", shape, (*given, saved), flops, numpys)


def block_cases(block: Any, backend: str, x: np.ndarray, rng: Any) -> Iterator[Case]:
    """A block fused, and its three convolutions by themselves."""
    w, bias, gamma, beta = parameters(block)
    settings = (EPS, block.activation, block.pool)
    flops, shape = conv_flops(x, w), words(x, w)
    told = f"{shape}, {block.activation}, {block.pool}"
    arguments = (x, w, bias, gamma, beta, *settings)
    yield Case("block_forward", told, arguments, flops)
    y, mean, var, saved = lookup("block_forward", backend)(*arguments)
    given = (normal(rng, *y.shape), x, w, gamma, beta, *settings, mean, var)

    def numpys() -> tuple[Any, ...]:
        return *given, lookup("block_forward", "numpy")(*arguments)[3], True

    yield Case("block_backward", told, (*given, saved, True), 2 * flops, numpys)
    yield Case("conv2d_forward", shape, (x, w, bias, STRIDE, VALID, 1), flops)
    out = x.shape[1] - w.shape[0] + 1, x.shape[2] - w.shape[1] + 1
    gz = normal(rng, x.shape[0], *out, w.shape[3])
    yield Case("conv2d_input_grad", shape, (gz, w, x.shape, STRIDE, VALID, 1), flops)
    yield Case("conv2d_weight_grad", shape, (x, gz, w.shape, STRIDE, VALID, 1), flops)


def fusion_cases(
    conv: Any, backend: str, x: np.ndarray, pool: str, size: int, rng: Any
) -> Iterator[Case]:
    """One side of a fusion block."""
    w, bias = conv.w.data, conv.b.data
    flops, told = conv_flops(x, w), f"{words(x, w)}, {pool} {size}"
    arguments = (x, w, bias, pool, size)
    yield Case("fusion_forward", told, arguments, flops)
    y, saved = lookup("fusion_forward", backend)(*arguments)
    given = (normal(rng, *y.shape), x, w, pool, size)

    def numpys() -> tuple[Any, ...]:
        return *given, lookup("fusion_forward", "numpy")(*arguments)[1]

    flops = fusion_backward_flops(x, w, pool, size)
    yield Case("fusion_backward", told, (*given, saved), flops, numpys)


def fusion_backward_flops(x: np.ndarray, w: np.ndarray, pool: str, size: int) -> float:
    """Of both gradients; under a maximum only one pixel of a window has any, for each channel."""
    whole = 2 * conv_flops(x, w)
    return whole / size**2 if pool == "max" else whole


def head_cases(model: Any, backend: str, maps: list[np.ndarray], rng: Any) -> Iterator[Case]:
    """All stages together, fusions included."""
    first = model.stages[0].prediction
    tensors = [tensor for stage in model.stages for tensor in stage.layers]
    weights = [None if tensor is None else tensor.data for tensor in tensors]
    pools = tuple(stage.pool for stage in model.stages)
    names = (first.activation_s, first.activation_x, first.activation_mix, first.activation_p)
    arguments = (maps, weights, [None] * len(maps), pools, names)
    convolutions = [w for w in weights if w is not None and w.ndim == 4]
    flops = sum(conv_flops(x, w) for x, w in zip(maps, convolutions, strict=True))
    dense = 2.0 * len(maps[0]) * sum(w.size for w in weights if w is not None and w.ndim == 2)
    told = f"{words(maps[0], maps[1])} and on"
    yield Case("head_forward", told, arguments, flops + dense)
    *answers, saved = lookup("head_forward", backend)(*arguments)
    given = (*(normal(rng, *answer.shape) for answer in answers), *arguments)

    def numpys() -> tuple[Any, ...]:
        return *given, lookup("head_forward", "numpy")(*arguments)[-1]

    sides = zip(maps, convolutions, ("max", "avg") * len(pools), strict=True)
    flops = sum(
        fusion_backward_flops(x, w, pool, pools[k // 2]) for k, (x, w, pool) in enumerate(sides)
    )
    yield Case("head_backward", told, (*given, saved), flops + 2 * dense, numpys)


def formula_cases(model: Any, batch: int, rng: Any) -> Iterator[Case]:
    """The formula, and Adam on all parameters. Few operations; what matters is the time."""
    stages = model.settings.stages
    bins, formula = sum(stages), tuple(model.formula().values())
    p, eta = rng.random((batch, bins), np.float32), normal(rng, batch, bins)
    delta = 0.5 * normal(rng, batch, len(stages))
    given = (p, eta, delta, stages, *formula)
    shape = words(p, delta)
    yield Case("stagewise_forward", shape, given, 4.0 * batch * bins)
    _, width, index = lookup("stagewise_forward", "numpy")(*given)
    back = (normal(rng, batch), p, eta, delta, width, index, stages, *formula)
    yield Case("stagewise_backward", shape, back, 6.0 * batch * bins)
    count = sum(parameter.size for parameter in model.parameters())
    slots = [normal(rng, count) for _ in range(3)] + [rng.random(count, np.float32)]
    rest = (1, 1e-9, 0.9, 0.999, 1e-7, "keras")
    yield Case("adam_step", f"{count}", (*slots, *rest), 10.0 * count)


def open(workload: Workload, flavour: str, threads: int) -> Kernels:
    from minissr.kernels.threads import set_threads

    set_threads(threads)
    return Kernels(workload, flavour)
