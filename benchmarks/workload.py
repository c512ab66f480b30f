"""What everybody computes: one network, its weights, faces, ages, and the right answers.

The answers come from our NumPy kernels in float64, op by op. A peer gets the weights by our names
(see `models/ssrnet.py`) and has to agree before it is timed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

IMAGES = 128  # the largest batch
RATE = 0.002  # Adam's, as `train` starts with
EPS = 1e-3  # of batch norm

# How far a peer may be off. Ages in years; loss relative; a layer's gradients by the length of the
# difference beside their own. float32 leaves 1e-4, and up to 5e-3 where rounding decides on which
# side of its bend a single ReLU or maximum lies; a wrong formula or a transposed weight is off by
# 0.1 and more.
TOLERANCE = {"ages": 0.01, "loss": 1e-4, "gradient": 0.02}


@dataclass
class Workload:
    """The workload that lies in a folder.

    Attributes
    ----------
    folder : Path
    config : dict
        What `models.registry.build` makes the network from.
    """

    folder: Path
    config: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.config = json.loads((self.folder / "config.json").read_text())

    @cached_property
    def state(self) -> dict[str, np.ndarray]:
        """Weights and moving statistics, float32, by our names."""
        return dict(np.load(self.folder / "state.npz"))

    @cached_property
    def faces(self) -> dict[str, np.ndarray]:
        """`images` (128, 64, 64, 3) uint8 RGB, `ages` (128,) float32, years."""
        return dict(np.load(self.folder / "faces.npz"))

    @cached_property
    def expected(self) -> dict[str, np.ndarray]:
        """`ages` (128,); `loss_N` (); `grad_N.NAME` in float64."""
        return dict(np.load(self.folder / "expected.npz"))

    def images(self, batch: int) -> np.ndarray:
        """The first faces, uint8."""
        return np.ascontiguousarray(self.faces["images"][:batch])

    def pixels(self, batch: int, order: str = "NHWC") -> np.ndarray:
        """The first faces as float32 0 .. 255, in the layout a peer likes."""
        pixels = self.images(batch).astype(np.float32)
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)) if order == "NCHW" else pixels

    def ages(self, batch: int) -> np.ndarray:
        """Their ages (batch,), float32."""
        return self.faces["ages"][:batch].copy()

    # ---- right or wrong -------------------------------------------------------------------------

    def check_ages(self, ages: Any) -> dict[str, Any]:
        """How far some ages are from the right ones, years."""
        ages = np.asarray(ages, np.float64).reshape(-1)
        return verdict({"ages": float(np.abs(ages - self.expected["ages"][: len(ages)]).max())})

    def check_gradients(self, batch: int, loss: float, grads: dict[str, Any]) -> dict[str, Any]:
        """How far a loss and the gradients of all parameters are from the right ones."""
        right = float(self.expected[f"loss_{batch}"])
        prefix = f"grad_{batch}."
        missing = [
            k for k in self.expected if k.startswith(prefix) and k[len(prefix) :] not in grads
        ]
        if missing:
            return {"right": False, "why": f"no gradient for {', '.join(missing)}"}
        worst = 0.0
        for layer, names in self.layers().items():
            expected = {name: self.expected[prefix + name] for name in names}
            size = sum(float((g**2).sum()) for g in expected.values())
            off = 0.0
            for name, g in expected.items():
                given = np.asarray(grads[name], np.float64)
                if given.shape != g.shape:
                    return {"right": False, "why": f"{name} of {layer} is {given.shape}"}
                off += float(((given - g) ** 2).sum())
            worst = max(worst, math.sqrt(off / size))
        return verdict({"loss": abs(loss - right) / right, "gradient": worst})

    def layers(self) -> dict[str, list[str]]:
        """Parameter names by layer. A bias before a batch norm has a gradient of exactly zero, so
        it can only be judged beside its layer's weights."""
        grouped: dict[str, list[str]] = {}
        for name in self.state:
            if not name.rpartition(".")[2].startswith("moving_"):
                grouped.setdefault(name.rpartition(".")[0], []).append(name)
        return grouped


def verdict(errors: dict[str, float]) -> dict[str, Any]:
    """The errors, and whether all of them are small; NaN is not."""
    right = all(error <= TOLERANCE[kind] for kind, error in errors.items())
    return {"right": right, **errors}


# ---- making it --------------------------------------------------------------------------------


def make(folder: Path, variant: str, batches: tuple[int, ...], seed: int = 0) -> Workload:
    """Write a workload: faces are drawn, weights too, the right answers computed.

    Parameters
    ----------
    folder : Path
    variant : str
        Of SSR-Net.
    batches : sizes for which loss and gradients will be compared.
    """
    from minissr.data.synthetic import draw_faces
    from minissr.kernels.backend import use_backend
    from minissr.models.registry import build
    from minissr.nn.module import composed

    rng = np.random.default_rng(seed)
    images, ages, _ = draw_faces(IMAGES, stream="train", seed=seed)
    ages = np.asarray(ages, np.float32)
    model: Any = build("ssrnet", variant=variant, rng=rng)
    with use_backend("numpy"), composed():
        vary(model, rng)
        settle(model, images[:32])
        config = model.config()
        state = model.state_dict()
        model = build(**{**config, "dropout": 0.0}).astype(np.float64)
        model.load_state_dict(state)
        expected = {"ages": answers(model, images)}
        for batch in batches:
            expected |= gradients(model, images[:batch], ages[:batch])
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "state.npz", **state)
    np.savez(folder / "faces.npz", images=images, ages=ages)
    np.savez(folder / "expected.npz", **expected)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    return Workload(folder)


def vary(model: Any, rng: np.random.Generator) -> None:
    """Move biases, gammas and betas off the 0s and 1s they start from, which hide mistakes."""
    for parameter in model.parameters():
        if parameter.ndim == 1:
            noise = rng.normal(0, 0.1, parameter.shape)
            parameter.data[...] += noise.astype(parameter.dtype)


def settle(model: Any, images: np.ndarray) -> None:
    """Let the moving statistics be those of some images."""
    from minissr.autograd.function import no_grad
    from minissr.nn.layers import BatchNorm

    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    with no_grad():
        model.train()(images, rng=np.random.default_rng(0))
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum


def answers(model: Any, images: np.ndarray) -> np.ndarray:
    """Ages (N,), years."""
    from minissr.autograd.function import no_grad

    with no_grad():
        return np.concatenate(
            [model.eval()(images[i : i + 32]).numpy() for i in range(0, len(images), 32)]
        )


def gradients(model: Any, images: np.ndarray, ages: np.ndarray) -> dict[str, np.ndarray]:
    """Loss and gradients of a training step without dropout."""
    n = len(images)
    state = model.state_dict()
    model.train().zero_grad()
    loss, _ = model.loss(images, ages.astype(np.float64))
    loss.backward()
    found = {f"grad_{n}.{name}": p.grad.copy() for name, p in model.named_parameters()}
    model.load_state_dict(state)  # the moving statistics moved
    return {f"loss_{n}": np.float64(loss.item()), **found}
