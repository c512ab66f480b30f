"""SSR-Net in Keras on TensorFlow; a training step and inference each one `tf.function`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from benchmarks.peers.ours import Ours
from benchmarks.workload import EPS, RATE, Workload

FIELDS = {
    "w": "kernel", "b": "bias", "gamma": "gamma", "beta": "beta",
    "moving_mean": "moving_mean", "moving_variance": "moving_variance",
}  # fmt: skip


@keras.saving.register_keras_serializable("benchmarks")
class Stagewise(layers.Layer):
    """The stagewise formula: p, eta, delta of every stage -> ages (N,)."""

    def __init__(self, config: dict[str, Any], **settings: Any) -> None:
        super().__init__(**settings)
        self.config = config

    def call(self, answers: Any) -> Any:
        c = self.config
        width: Any = c["max_age"] - c["min_age"]
        age: Any = c["min_age"]
        for k, bins in enumerate(c["stages"]):
            p, eta, delta = answers[3 * k : 3 * k + 3]
            stretch = 1 + c["lambda_d"] * delta[:, 0]
            if c["floor"] > 0:
                stretch = ops.maximum(stretch, c["floor"])
            width = width / (bins * stretch)
            i = np.arange(bins, dtype=np.float32)
            age = age + width * ops.sum(p * (i + c["lambda_local"] * eta), axis=1)
        return age


def build_network(config: dict[str, Any], plan: list[tuple[int, int]], batch: int | None) -> Any:
    """The network that `config` describes; `plan`: level and pooling window of each stage.

    Its layers have our names, with dots as underscores.
    """
    image = layers.Input((config["image_size"], config["image_size"], 3), batch_size=batch)
    maps: dict[str, list[Any]] = {"s": [], "x": []}
    for stream, (filters, activation, pooling) in {
        "s": (config["filters_s"], "tanh", layers.MaxPooling2D),
        "x": (config["filters_x"], "relu", layers.AveragePooling2D),
    }.items():
        h = image
        for level in range(4):
            name = f"streams_{stream}_{level}"
            h = layers.Conv2D(filters, 3, name=f"{name}_conv")(h)
            h = layers.BatchNormalization(
                momentum=config["momentum"], epsilon=EPS, name=f"{name}_norm"
            )(h)
            h = layers.Activation(activation)(h)
            if level < 3 or config["pool_last"]:
                h = pooling(2)(h)
            maps[stream].append(h)
    answers = []
    for k, ((level, pool), bins) in enumerate(zip(plan, config["stages"], strict=True)):
        pair = maps["s"][level - 1], maps["x"][level - 1]
        answers += build_stage(f"stages_{k}", *pair, pool, bins, config)
    return keras.Model(image, Stagewise(config)(answers))


def build_stage(
    name: str, s: Any, x: Any, pool: int, bins: int, config: dict[str, Any]
) -> list[Any]:
    """p, eta and delta of one stage."""

    def compact(maps: Any, stream: str, pooling: Any) -> Any:
        maps = layers.Conv2D(config["compact"], 1, activation="relu", name=f"{name}_conv_{stream}")(
            maps
        )
        return layers.Flatten()(pooling(pool)(maps) if pool > 1 else maps)

    def dense(inputs: Any, part: str, units: int, activation: str) -> Any:
        return layers.Dense(units, activation=activation, name=f"{name}_{part}")(inputs)

    s = compact(s, "s", layers.MaxPooling2D)
    x = compact(x, "x", layers.AveragePooling2D)
    delta = dense(layers.Multiply()([s, x]), "delta", 1, "tanh")
    s, x = (layers.Dropout(config["dropout"])(features) for features in (s, x))
    mixed = layers.Multiply()(
        [
            dense(s, "prediction_s", bins, config["activation_s"]),
            dense(x, "prediction_x", bins, config["activation_x"]),
        ]
    )
    if config["activation_mix"] != "none":
        mixed = dense(mixed, "prediction_mix", 2 * bins, config["activation_mix"])
    p = dense(mixed, "prediction_p", bins, config["activation_p"])
    return [p, dense(mixed, "prediction_eta", bins, "tanh"), delta]


class Keras:
    """See `peers`. It is given float32 pixels, NHWC."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        model = Ours(workload, "numpy").model()
        self.plan = [
            (level, stage.pool) for level, stage in zip(model.levels, model.stages, strict=True)
        ]

    def model(self, batch: int | None = None, **changes: Any) -> Any:
        """The network with the workload's weights."""
        model = build_network({**self.workload.config, **changes}, self.plan, batch)
        for name, array in self.workload.state.items():
            self.variable(model, name).assign(array)
        return model

    def variable(self, model: Any, name: str) -> Any:
        """Their variable of our parameter."""
        layer, _, tail = name.rpartition(".")
        return getattr(model.get_layer(layer.replace(".", "_")), FIELDS[tail])

    def training(self, batch: int) -> Callable[[], Any]:
        model = self.model()
        optimizer = keras.optimizers.Adam(RATE)
        optimizer.build(model.trainable_variables)
        images = tf.constant(self.workload.pixels(batch))
        ages = tf.constant(self.workload.ages(batch))

        @tf.function
        def step(images: Any, ages: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.abs(model(images, training=True) - ages))
            variables = model.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
            return loss

        return lambda: float(step(images, ages))

    def loss_and_gradients(self, batch: int) -> tuple[float, dict[str, np.ndarray]]:
        model = self.model(dropout=0.0)
        names = [k for k in self.workload.state if ".moving_" not in k]

        @tf.function
        def step(images: Any, ages: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.abs(model(images, training=True) - ages))
            # A Keras variable is a wrapper around the tensor that the tape knows.
            return loss, tape.gradient(loss, [self.variable(model, name).value for name in names])

        loss, grads = step(
            tf.constant(self.workload.pixels(batch)), tf.constant(self.workload.ages(batch))
        )
        return float(loss), {name: g.numpy() for name, g in zip(names, grads, strict=True)}

    def inference(self, batch: int) -> Callable[[], Any]:
        model, images = self.model(), tf.constant(self.workload.pixels(batch))
        run = tf.function(lambda pixels: model(pixels, training=False))
        return lambda: run(images).numpy()

    def convert(self, path: str, batch: int) -> None:
        """Write the network as a LiteRT file for a batch of `batch`."""
        converter = tf.lite.TFLiteConverter.from_keras_model(self.model(batch))
        Path(path).write_bytes(converter.convert())


def open(workload: Workload, flavour: str, threads: int) -> Keras:
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    return Keras(workload)
