"""The whole network against PyTorch where it is installed: forward, backward, 20 steps of training.

PyTorch differentiates the network of `benchmarks/peers/torch_peer.py`, which the benchmarks time
too, and takes the steps; from us it gets weights, faces and ages.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from minissr import use_backend
from minissr.data.synthetic import draw_faces
from minissr.models import registry
from minissr.nn.layers import BatchNorm
from minissr.training.optim import Adam

torch = pytest.importorskip("torch", reason="the reference is PyTorch: pip install torch")
torch_peer: Any = importlib.import_module("benchmarks.peers.torch_peer")

BATCH, STEPS = 4, 20
TOLERANCE = {"float64": 1e-8, "float32": 1e-3}  # the length of a difference, of the array's own
# In float32 steps of 1e-3 lead over so many kinks in 20 of them that two right computations part:
# at 1e-4 PyTorch's float32 leaves its own float64 by 2e-3 (ours by 4e-7), at 5e-5 by 1e-5.
RATE = {"float64": 1e-3, "float32": 5e-5}


@dataclass
class Pair:
    """One network twice, from the same weights."""

    ours: Any
    theirs: Any
    dtype: str

    def convert(self, state: dict[str, Any]) -> dict[str, np.ndarray]:
        """Arrays of theirs by our names and in our layouts."""
        compact = self.ours.settings.compact
        return {
            name: torch_peer.from_torch(name, state[theirs].detach().numpy(), compact)
            for name in self.ours.state_dict()
            if (theirs := torch_peer.torch_name(name)) in state
        }

    def compare(self, ours: dict[str, Any], theirs: dict[str, Any]) -> None:
        """Every array of `theirs` beside ours of the same name."""
        assert ours.keys() == theirs.keys()
        for name, expected in theirs.items():
            off = np.linalg.norm(ours[name] - expected)
            # The gradient of a bias before a batch norm is 0: it is judged beside its kernel's.
            beside = f"{name[:-1]}w" if is_idle(name) else name
            assert off <= TOLERANCE[self.dtype] * np.linalg.norm(theirs[beside]), name


def is_idle(name: str) -> bool:
    """Whether this is a bias before a batch norm, which takes it away again."""
    return name.startswith("streams.") and ".conv.b" in name


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Faces (BATCH, 64, 64, 3) uint8 and their ages (BATCH,), another batch for each step."""
    images, ages, _ = draw_faces(BATCH * STEPS, stream="train")
    for start in range(0, len(images), BATCH):
        yield images[start : start + BATCH], ages[start : start + BATCH]


def pixels(images: np.ndarray, dtype: str) -> Any:
    return torch.from_numpy(images.transpose(0, 3, 1, 2).astype(dtype))


@pytest.fixture(params=["released", "paper", "minissr"])
def variant(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=TOLERANCE)
def pair(request: pytest.FixtureRequest, variant: str, backend: str) -> Iterator[Pair]:
    """Numbers are moved off the 0s and 1s that hide mistakes; ReLUs live, and delta isn't near -1.

    That is the pole of the formula, where PyTorch's own float32 is off its float64 by 8 %.
    """
    dtype, rng = request.param, np.random.default_rng(3)
    ours: Any = registry.build("ssrnet", variant=variant, dropout=0.0, rng=rng)
    for name, parameter in ours.named_parameters():
        if parameter.ndim == 1:
            parameter.data[...] += rng.normal(0, 0.1, parameter.shape).astype(np.float32)
        if ".prediction." in name and name.endswith(".b"):
            parameter.data[...] += 0.5
        if name.endswith("delta.w"):
            parameter.data[...] *= 0.1
    for module in ours.modules():
        if isinstance(module, BatchNorm):
            module.unbiased = True  # as PyTorch's: n / (n - 1)
    ours.astype(dtype)
    config = ours.config()
    theirs = torch_peer.SSRNet(config, torch_peer.plan_of(config)).to(getattr(torch, dtype))
    missing, unexpected = theirs.load_state_dict(
        {
            torch_peer.torch_name(name): torch.tensor(
                torch_peer.to_torch(name, array, config["compact"]).copy()
            )
            for name, array in ours.state_dict().items()
        },
        strict=False,
    )
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with use_backend(backend):
        yield Pair(ours, theirs, dtype)
    torch.set_num_threads(threads)


def test_ages_gradients_and_batch_statistics(pair: Pair) -> None:
    images, ages = next(batches())
    loss, predicted = pair.ours.train().loss(images, ages.astype(pair.dtype))
    loss.backward()
    their_ages = pair.theirs.train()(pixels(images, pair.dtype))
    their_loss = (their_ages - torch.tensor(ages.astype(pair.dtype))).abs().mean()
    their_loss.backward()

    pair.compare(
        {"ages": predicted.data, "loss": loss.data},
        {"ages": their_ages.detach().numpy(), "loss": their_loss.detach().numpy()},
    )
    told = pair.convert({name: p.grad for name, p in pair.theirs.named_parameters()})
    assert all(np.linalg.norm(grad) > 1e-3 for name, grad in told.items() if not is_idle(name))
    pair.compare({name: p.grad for name, p in pair.ours.named_parameters()}, told)
    moving = pair.convert(dict(pair.theirs.named_buffers()))
    assert len(moving) == 16
    pair.compare(dict(pair.ours.named_buffers()), moving)


def test_twenty_steps_of_adam(pair: Pair) -> None:
    """Losses on the way; weights and moving statistics at the end.

    Biases before a batch norm stay out: Adam makes whole steps of the rounding that is their
    gradient.
    """
    ours, theirs = (
        {name: p for name, p in network.named_parameters() if not is_idle(name)}
        for network in (pair.ours, pair.theirs)
    )
    lr = RATE[pair.dtype]
    our_optimizer = Adam(ours.values(), lr, form="pytorch")
    groups = [
        {"params": [theirs[torch_peer.torch_name(name)]], "lr": lr * p.rate}
        for name, p in ours.items()
    ]
    their_optimizer = torch.optim.Adam(groups)
    losses = []
    for images, ages in batches():
        ages = ages.astype(pair.dtype)
        pair.ours.zero_grad()
        loss, _ = pair.ours.train().loss(images, ages)
        loss.backward()
        our_optimizer.step()
        their_optimizer.zero_grad()
        their_ages = pair.theirs.train()(pixels(images, pair.dtype))
        their_loss = (their_ages - torch.tensor(ages)).abs().mean()
        their_loss.backward()
        their_optimizer.step()
        losses.append((loss.item(), their_loss.item()))
    for mine, told in losses:
        assert mine == pytest.approx(told, rel=TOLERANCE[pair.dtype])
    pair.compare(pair.ours.state_dict(), pair.convert(pair.theirs.state_dict()))
