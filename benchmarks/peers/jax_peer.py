"""SSR-Net in JAX: pure functions of the parameters, compiled whole by XLA."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.peers.ours import Ours
from benchmarks.workload import EPS, RATE, Workload

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "linear": lambda x: x,
    "relu": jax.nn.relu,
    "leaky_relu": lambda x: jax.nn.leaky_relu(x, 0.01),
    "tanh": jnp.tanh,
    "softmax": jax.nn.softmax,
    "softplus": jax.nn.softplus,
}
Weights = dict[str, Any]


def pooled(x: Any, size: int, maximum: bool) -> Any:
    """2D pooling with windows `size` wide, `size` apart."""
    window = (1, size, size, 1)
    if maximum:
        return lax.reduce_window(x, -jnp.inf, lax.max, window, window, "VALID")
    return lax.reduce_window(x, 0.0, lax.add, window, window, "VALID") / (size * size)


def forward(
    config: dict[str, Any],
    plan: list[tuple[int, int]],
    weights: Weights,
    moving: Weights,
    images: Any,
    key: Any,
) -> tuple[Any, Weights]:
    """Ages (N,) and the new moving statistics; `key` None for inference."""
    maps: dict[str, list[Any]] = {"s": [], "x": []}
    followed = dict(moving)
    for stream in ("s", "x"):
        h = images
        for level in range(4):
            at = f"streams.{stream}.{level}"
            layout = ("NHWC", "HWIO", "NHWC")
            h = lax.conv_general_dilated(
                h, weights[f"{at}.conv.w"], (1, 1), "VALID", dimension_numbers=layout
            )
            h = h + weights[f"{at}.conv.b"]
            names = f"{at}.norm.moving_mean", f"{at}.norm.moving_variance"
            if key is None:
                mean, variance = (moving[name] for name in names)
            else:
                mean, variance = h.mean((0, 1, 2)), h.var((0, 1, 2))
                for name, batch in zip(names, (mean, variance), strict=True):
                    followed[name] += (1 - config["momentum"]) * (batch - followed[name])
            scale = lax.rsqrt(variance + EPS) * weights[f"{at}.norm.gamma"]
            h = (h - mean) * scale + weights[f"{at}.norm.beta"]
            h = jax.nn.relu(h) if stream == "x" else jnp.tanh(h)
            if level < 3 or config["pool_last"]:
                h = pooled(h, 2, stream == "s")
            maps[stream].append(h)
    width: Any = config["max_age"] - config["min_age"]
    age: Any = config["min_age"]
    for k, ((level, pool), bins) in enumerate(zip(plan, config["stages"], strict=True)):
        pair = maps["s"][level - 1], maps["x"][level - 1]
        p, eta, delta = stage(config, f"stages.{k}", weights, *pair, pool, key, k)
        stretch = 1 + config["lambda_d"] * delta[:, 0]
        if config["floor"] > 0:
            stretch = jnp.maximum(stretch, config["floor"])
        width = width / (bins * stretch)
        age = age + width * (p * (jnp.arange(bins) + config["lambda_local"] * eta)).sum(1)
    return age, followed


def stage(
    config: dict[str, Any], at: str, weights: Weights, s: Any, x: Any, pool: int, key: Any, k: int
) -> tuple[Any, Any, Any]:
    """p, eta and delta of one stage."""

    def dense(h: Any, name: str) -> Any:
        return h @ weights[f"{at}.{name}.w"] + weights[f"{at}.{name}.b"]

    def compact(h: Any, stream: str) -> Any:
        w = weights[f"{at}.conv_{stream}.w"][0, 0]
        h = jax.nn.relu(h @ w + weights[f"{at}.conv_{stream}.b"])
        h = pooled(h, pool, stream == "s") if pool > 1 else h
        return h.reshape(h.shape[0], -1)

    def dropped(h: Any, number: int) -> Any:
        keep = 1 - config["dropout"]
        if key is None or keep == 1:
            return h
        mask = jax.random.bernoulli(jax.random.fold_in(key, 2 * k + number), keep, h.shape)
        return jnp.where(mask, h / keep, 0)

    s, x = compact(s, "s"), compact(x, "x")
    delta = jnp.tanh(dense(s * x, "delta"))
    act_s, act_x, act_p = (ACTIVATIONS[config[f"activation_{part}"]] for part in "sxp")
    mixed = act_s(dense(dropped(s, 0), "prediction.s")) * act_x(
        dense(dropped(x, 1), "prediction.x")
    )
    if config["activation_mix"] != "none":
        mixed = ACTIVATIONS[config["activation_mix"]](dense(mixed, "prediction.mix"))
    return act_p(dense(mixed, "prediction.p")), jnp.tanh(dense(mixed, "prediction.eta")), delta


class Jax:
    """See `peers`. It is given float32 pixels, NHWC."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        model = Ours(workload, "numpy").model()
        self.plan = [(at, one.pool) for at, one in zip(model.levels, model.stages, strict=True)]

    def state(self) -> tuple[Weights, Weights]:
        """Parameters and moving statistics."""
        state = {name: jnp.asarray(array) for name, array in self.workload.state.items()}
        moving = {name: array for name, array in state.items() if ".moving_" in name}
        return {name: array for name, array in state.items() if name not in moving}, moving

    def loss(self, dropout: float) -> Callable[..., Any]:
        config = {**self.workload.config, "dropout": dropout}

        def loss(weights: Weights, moving: Weights, images: Any, ages: Any, key: Any) -> Any:
            predicted, followed = forward(config, self.plan, weights, moving, images, key)
            return jnp.abs(predicted - ages).mean(), followed

        return loss

    def training(self, batch: int) -> Callable[[], Any]:
        loss = self.loss(self.workload.config["dropout"])

        def step(
            weights: Weights,
            moving: Weights,
            m: Weights,
            v: Weights,
            t: Any,
            images: Any,
            ages: Any,
        ) -> Any:
            key = jax.random.fold_in(jax.random.key(0), t)
            differentiate = jax.value_and_grad(loss, has_aux=True)
            (value, moving), grads = differentiate(weights, moving, images, ages, key)
            t = t + 1
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grads)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grads)
            rate = RATE * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
            weights = jax.tree.map(
                lambda w, m, v: w - rate * m / (jnp.sqrt(v) + 1e-7), weights, m, v
            )
            return weights, moving, m, v, t, value

        compiled = jax.jit(step, donate_argnums=(0, 1, 2, 3))
        weights, moving = self.state()
        zeros = [jax.tree.map(jnp.zeros_like, weights) for _ in range(2)]
        kept: list[Any] = [weights, moving, *zeros, jnp.int32(0)]
        images = jnp.asarray(self.workload.pixels(batch))
        ages = jnp.asarray(self.workload.ages(batch))

        def run() -> float:
            *kept[:], value = compiled(*kept, images, ages)
            return float(value)

        return run

    def loss_and_gradients(self, batch: int) -> tuple[float, dict[str, np.ndarray]]:
        differentiate = jax.jit(jax.value_and_grad(self.loss(0.0), has_aux=True))
        images, ages = self.workload.pixels(batch), self.workload.ages(batch)
        (value, _), grads = differentiate(*self.state(), images, ages, jax.random.key(0))
        return float(value), {name: np.asarray(grad) for name, grad in grads.items()}

    def inference(self, batch: int) -> Callable[[], Any]:
        config = self.workload.config
        weights, moving = self.state()
        images = jnp.asarray(self.workload.pixels(batch))
        run = jax.jit(lambda w, m, x: forward(config, self.plan, w, m, x, None)[0])
        return lambda: np.asarray(run(weights, moving, images))


def open(workload: Workload, flavour: str, threads: int) -> Jax:
    return Jax(workload)
