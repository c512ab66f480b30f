"""SSR-Net in PyTorch: eager, channels_last, compiled, or frozen by its jit (for inference)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks.workload import EPS, RATE, Workload

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda x: x,
    "relu": torch.relu,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.01),
    "tanh": torch.tanh,
    "softmax": lambda x: torch.softmax(x, -1),
    "softplus": functional.softplus,
}


class Block(nn.Module):
    """Convolution, batch norm, activation, pooling."""

    def __init__(
        self, channels: int, filters: int, relu: bool, pools: bool, momentum: float
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, 3)
        self.norm = nn.BatchNorm2d(filters, eps=EPS, momentum=1 - momentum)
        self.relu, self.pools = relu, pools

    def forward(self, x: Any) -> Any:
        x = self.norm(self.conv(x))
        x = torch.relu(x) if self.relu else torch.tanh(x)
        if not self.pools:
            return x
        return functional.avg_pool2d(x, 2) if self.relu else functional.max_pool2d(x, 2)


class Prediction(nn.Module):
    """From both streams' features to p and eta."""

    def __init__(self, features: int, bins: int, config: dict[str, Any]) -> None:
        super().__init__()
        self.s, self.x = nn.Linear(features, bins), nn.Linear(features, bins)
        mixes = config["activation_mix"] != "none"
        self.mix = nn.Linear(bins, 2 * bins) if mixes else None
        mixed = 2 * bins if mixes else bins
        self.p, self.eta = nn.Linear(mixed, bins), nn.Linear(mixed, bins)
        names = ("activation_s", "activation_x", "activation_mix", "activation_p")
        self.act_s, self.act_x, self.act_mix, self.act_p = (
            ACTIVATIONS.get(config[name]) for name in names
        )

    def forward(self, s: Any, x: Any) -> tuple[Any, Any]:
        mixed = self.act_s(self.s(s)) * self.act_x(self.x(x))
        if self.mix is not None:
            mixed = self.act_mix(self.mix(mixed))
        return self.act_p(self.p(mixed)), torch.tanh(self.eta(mixed))


class Stage(nn.Module):
    """A fusion block and what it predicts."""

    def __init__(self, cells: int, pool: int, bins: int, config: dict[str, Any]) -> None:
        super().__init__()
        compact = config["compact"]
        self.conv_s = nn.Conv2d(config["filters_s"], compact, 1)
        self.conv_x = nn.Conv2d(config["filters_x"], compact, 1)
        self.delta = nn.Linear(cells * compact, 1)
        self.dropout = nn.Dropout(config["dropout"])
        self.prediction = Prediction(cells * compact, bins, config)
        self.pool = pool

    def forward(self, s: Any, x: Any) -> tuple[Any, Any, Any]:
        s, x = torch.relu(self.conv_s(s)), torch.relu(self.conv_x(x))
        if self.pool > 1:
            s = functional.max_pool2d(s, self.pool)
            x = functional.avg_pool2d(x, self.pool)
        s, x = torch.flatten(s, 1), torch.flatten(x, 1)
        delta = torch.tanh(self.delta(s * x))
        return *self.prediction(self.dropout(s), self.dropout(x)), delta


class SSRNet(nn.Module):
    """The network that `config` describes; its parameters have our names.

    Of (N, 3, 64, 64), as PyTorch wants images: weights of dense layers on a flattened map are
    reordered on the way in and out.
    """

    def __init__(self, config: dict[str, Any], plan: list[tuple[int, int, int]]) -> None:
        super().__init__()
        self.config, self.levels = config, [level for level, _, _ in plan]
        streams = {}
        for name, filters in (("s", config["filters_s"]), ("x", config["filters_x"])):
            blocks, channels = [], 3
            for level in range(4):
                pools = level < 3 or config["pool_last"]
                blocks.append(Block(channels, filters, name == "x", pools, config["momentum"]))
                channels = filters
            streams[name] = nn.ModuleList(blocks)
        self.streams = nn.ModuleDict(streams)
        self.stages = nn.ModuleList(
            Stage(width * width, pool, bins, config)
            for (_, width, pool), bins in zip(plan, config["stages"], strict=True)
        )

    def forward(self, images: Any) -> Any:
        maps = []
        s = x = images
        for block_s, block_x in zip(self.streams["s"], self.streams["x"], strict=True):
            s, x = block_s(s), block_x(x)
            maps.append((s, x))
        c = self.config
        width: Any = c["max_age"] - c["min_age"]
        age: Any = c["min_age"]
        for stage, level, bins in zip(self.stages, self.levels, c["stages"], strict=True):
            p, eta, delta = stage(*maps[level - 1])
            stretch = 1 + c["lambda_d"] * delta[:, 0]
            if c["floor"] > 0:
                stretch = torch.clamp(stretch, min=c["floor"])
            width = width / (bins * stretch)
            i = torch.arange(bins, dtype=p.dtype)
            age = age + width * (p * (i + c["lambda_local"] * eta)).sum(1)
        return age


def plan_of(config: dict[str, Any]) -> list[tuple[int, int, int]]:
    """For each stage: its level, the width of its pooled map, its pooling window."""
    from minissr.models.registry import build

    model: Any = build(**config)
    return [
        (level, round((stage.delta.w.shape[0] / config["compact"]) ** 0.5), stage.pool)
        for level, stage in zip(model.levels, model.stages, strict=True)
    ]


# ---- weights ----------------------------------------------------------------------------------

NAMES = {"w": "weight", "b": "bias", "gamma": "weight", "beta": "bias"}
NAMES |= {"moving_mean": "running_mean", "moving_variance": "running_var"}


def torch_name(name: str) -> str:
    """Their name of our weight."""
    head, _, tail = name.rpartition(".")
    return f"{head}.{NAMES[tail]}"


def is_flattened(name: str) -> bool:
    """Whether this is the weight of a dense layer that reads a flattened map."""
    return name.endswith(("delta.w", "prediction.s.w", "prediction.x.w"))


def to_torch(name: str, array: np.ndarray, compact: int) -> np.ndarray:
    """Our array in their layout: OIHW, (out, in), and flattened maps as C, H, W."""
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if is_flattened(name):
        array = array.reshape(-1, compact, array.shape[1]).swapaxes(0, 1).reshape(array.shape)
    return array.T if array.ndim == 2 else array


def from_torch(name: str, array: np.ndarray, compact: int) -> np.ndarray:
    """The way back."""
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    array = array.T if array.ndim == 2 else array
    if is_flattened(name):
        array = array.reshape(compact, -1, array.shape[1]).swapaxes(0, 1).reshape(array.shape)
    return array


class Torch:
    """See `peers`. It is given float32 pixels in the layout of its flavour."""

    def __init__(self, workload: Workload, flavour: str) -> None:
        self.workload, self.flavour = workload, flavour
        self.plan = plan_of(workload.config)

    def model(self, **changes: Any) -> SSRNet:
        """The network with the workload's weights."""
        model = SSRNet({**self.workload.config, **changes}, self.plan)
        compact = self.workload.config["compact"]
        state = {
            torch_name(name): torch.from_numpy(to_torch(name, array, compact).copy())
            for name, array in self.workload.state.items()
        }
        model.load_state_dict(state, strict=False)
        return self.arranged(model)

    def arranged(self, thing: Any) -> Any:
        """A model or images in the memory layout of the flavour."""
        if self.flavour not in ("channels_last", "compile"):
            return thing
        if isinstance(thing, nn.Module):
            return thing.to(memory_format=torch.channels_last)
        return thing.contiguous(memory_format=torch.channels_last)

    def pixels(self, batch: int) -> Any:
        return self.arranged(torch.from_numpy(self.workload.pixels(batch, "NCHW")))

    def training(self, batch: int) -> Callable[[], Any]:
        model = self.model().train()
        optimizer = torch.optim.Adam(model.parameters(), RATE, eps=1e-7, fused=True)
        forward = torch.compile(model) if self.flavour == "compile" else model
        images, ages = self.pixels(batch), torch.from_numpy(self.workload.ages(batch))

        def step() -> float:
            optimizer.zero_grad(set_to_none=True)
            loss = (forward(images) - ages).abs().mean()
            loss.backward()
            optimizer.step()
            return loss.item()

        return step

    def loss_and_gradients(self, batch: int) -> tuple[float, dict[str, np.ndarray]]:
        model = self.model(dropout=0.0).train()
        forward = torch.compile(model) if self.flavour == "compile" else model
        loss = (forward(self.pixels(batch)) - torch.from_numpy(self.workload.ages(batch))).abs()
        loss = loss.mean()
        loss.backward()
        theirs = {name: p.grad.numpy() for name, p in model.named_parameters()}
        compact = self.workload.config["compact"]
        grads = {
            name: from_torch(name, theirs[torch_name(name)], compact)
            for name in self.workload.state
            if torch_name(name) in theirs
        }
        return loss.item(), grads

    def inference(self, batch: int) -> Callable[[], Any]:
        model, images = self.model().eval(), self.pixels(batch)
        run: Any = model
        if self.flavour == "compile":
            run = torch.compile(model)
        elif self.flavour == "jit":
            with torch.inference_mode():
                run = torch.jit.optimize_for_inference(
                    torch.jit.freeze(torch.jit.trace(model, images))
                )

        def answer() -> Any:
            with torch.inference_mode():
                return run(images).numpy()

        return answer

    def stored_bytes(self, batch: int) -> int:
        """Bytes that autograd keeps between forward and backward, without parameters and faces."""
        model, images = self.model().train(), self.pixels(batch)
        outside = {p.untyped_storage().data_ptr() for p in model.parameters()}
        outside.add(images.untyped_storage().data_ptr())
        found: dict[int, int] = {}

        def keep(tensor: Any) -> Any:
            storage = tensor.untyped_storage()
            found[storage.data_ptr()] = storage.nbytes()
            return tensor

        hooks: Any = contextlib.nullcontext()
        if self.flavour != "compile":
            hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks:
            loss = (model(images) - torch.from_numpy(self.workload.ages(batch))).abs().mean()
        del loss
        return sum(size for place, size in found.items() if place not in outside)

    def export(self, path: str, batch: int) -> None:
        """Write the network as ONNX for a batch of `batch`: the input `pixels` (N, 3, 64, 64)."""
        torch.onnx.export(
            self.model().eval(),
            (self.pixels(batch),),
            path,
            input_names=["pixels"],
            output_names=["age"],
            dynamo=True,
            external_data=False,
        )


def open(workload: Workload, flavour: str, threads: int) -> Torch:
    torch.set_num_threads(threads)
    return Torch(workload, flavour)
