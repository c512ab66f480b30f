"""Cases of the ops that work on images: convolution, pooling, batch norm, the fused blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from minissr.kernels.batch_norm.numpy_ref import batch_norm_train_forward
from minissr.kernels.conv2d.numpy_ref import conv2d_forward
from tests.ops.case import CLEAR, Case, away_from_zero, lengths, orders, seeds, shapes, spaced


@st.composite
def windows(draw: st.DrawFn, padded_inside: bool) -> tuple[tuple[int, int], dict[str, Any]]:
    """Height and width of an image, and a window that fits it: size, stride, padding."""
    kh, kw = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    stride = draw(st.integers(1, 3) | st.tuples(st.integers(1, 3), st.integers(1, 3)))
    most = min(kh, kw) - 1 if padded_inside else 2
    padding = draw(
        st.sampled_from(["valid", "same", "same_lower"])
        | st.integers(0, most)
        | st.tuples(*[st.integers(0, most)] * 2)
        | st.tuples(*[st.integers(0, most)] * 4)
    )
    image = draw(st.integers(kh, 6)), draw(st.integers(kw, 6))
    return image, {"size": (kh, kw), "stride": stride, "padding": padding}


@st.composite
def convolutions(draw: st.DrawFn) -> Case:
    image, settings = draw(windows(padded_inside=False))
    kh, kw = settings.pop("size")
    groups = draw(st.integers(1, 3))
    c, co = groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
    rng, order = np.random.default_rng(draw(seeds)), draw(orders())
    x = rng.standard_normal((draw(st.integers(1, 2)), *image, c))
    w = rng.standard_normal((kh, kw, c // groups, co))
    b = rng.standard_normal(co) if draw(st.booleans()) else None
    return Case((order(x), order(w), b), {**settings, "groups": groups})


@st.composite
def pools(draw: st.DrawFn, **more: st.SearchStrategy[Any]) -> Case:
    image, settings = draw(windows(padded_inside=True))
    if draw(st.booleans()):
        settings["stride"] = None
    shape = (draw(st.integers(1, 2)), *image, draw(st.integers(1, 3)))
    x = spaced(np.random.default_rng(draw(seeds)), shape)
    drawn = {name: draw(strategy) for name, strategy in more.items()}
    return Case((draw(orders())(x),), {**settings, **drawn})


@st.composite
def maps(draw: st.DrawFn) -> Case:
    shape = draw(shapes(fewest=4, most=4))
    return Case((draw(orders())(np.random.default_rng(draw(seeds)).standard_normal(shape)),))


@st.composite
def batch_norms(draw: st.DrawFn, train: bool) -> Case:
    shape = draw(shapes(fewest=1, most=3))
    shape = (shape[0] + 2 if train else shape[0], *shape[1:], draw(lengths))
    rng, order = np.random.default_rng(draw(seeds)), draw(orders())
    c = shape[-1]
    x = rng.standard_normal((max(np.prod(shape[:-1]), 1), c))
    if train:  # a few values of a channel may lie close together, and 1 / deviation bends sharply
        x = (x - x.mean(axis=0)) / x.std(axis=0) * rng.uniform(0.5, 2, c)
    x = (x + rng.uniform(-5, 5, c)).reshape(shape)
    gamma, beta = away_from_zero(rng, (c,)), rng.standard_normal(c)
    settings: dict[str, Any] = {"eps": draw(st.sampled_from([1e-3, 1e-5, 0.5]))}
    if not train:
        settings.update(mean=rng.standard_normal(c), var=rng.uniform(0.1, 3, c))
    return Case((order(x), gamma, beta), settings)


class Images:
    """What blocks and stems are drawn from, until no map is near a kink."""

    def __init__(self, rng: np.random.Generator, kernel: int) -> None:
        self.rng, self.kernel = rng, kernel

    def pixels(self, n: int, side: int, c: int) -> np.ndarray:
        return self.rng.integers(0, 256, (n, side, side, c), np.uint8)

    def parameters(self, c: int, co: int) -> list[np.ndarray]:
        """w, bias, gamma, beta.

        Batch norm takes the size of w away again. So w has two weights at least, or its gradient
        would be what rounding leaves of 0, and none near 0, where y turns within a step.
        """
        rng = self.rng
        w = away_from_zero(rng, (self.kernel, self.kernel, c, co))
        return [w, rng.standard_normal(co), rng.uniform(0.5, 2, co), rng.standard_normal(co)]

    def near_kink(
        self, x: np.ndarray, parameters: list[np.ndarray], activation: str, pool: str
    ) -> bool:
        """Whether a normalised value is close to the ReLU's kink or to tying with another."""
        w, bias, gamma, beta = parameters
        conv = conv2d_forward(x.astype(w.dtype), w, bias, (1, 1), (0, 0, 0, 0), 1)
        normed = batch_norm_train_forward(conv, gamma, beta, 1e-3)[0]
        if activation == "relu" and abs(normed).min() < CLEAR / 10:
            return True
        return pool == "max" and closest_in_windows(normed, 2, activation) < CLEAR / 10


@st.composite
def blocks(draw: st.DrawFn) -> Case:
    """Small blocks of any kind, and some as wide as those that are fused."""
    wide = draw(st.booleans())
    kernel, side = draw(st.sampled_from([3, 3, 1, 2])), draw(st.integers(4, 5 if wide else 7))
    c, co = (16, 16) if wide else (draw(st.integers(2, 3)), draw(st.integers(1, 4)))
    n, pixels = draw(st.integers(2, 3)), draw(st.booleans())
    activation = draw(st.sampled_from(["relu", "tanh"]))
    pool = draw(st.sampled_from(["avg", "max", "none"]))
    images = Images(np.random.default_rng(draw(seeds)), kernel)
    while True:
        x = images.pixels(n, side, c) if pixels else images.rng.standard_normal((n, side, side, c))
        parameters = images.parameters(c, co)
        if not images.near_kink(x, parameters, activation, pool):
            settings = {"eps": 1e-3, "activation": activation, "pool": pool}
            return Case((x, *parameters), settings)


@st.composite
def stems(draw: st.DrawFn) -> Case:
    """Small stems of any kind, and some as wide as those that are fused."""
    wide = draw(st.booleans())
    kernel, side = 3 if wide else draw(st.integers(1, 3)), draw(st.integers(4, 7))
    c, relu, tanh = (3, 16, 32) if wide else [draw(st.integers(2, 4)) for _ in range(3)]
    n, images = draw(st.integers(2, 3)), Images(np.random.default_rng(draw(seeds)), kernel)
    unit, offset = draw(st.sampled_from([(1.0, 0.0), (1 / 127.5, -1.0)]))
    while True:
        x = images.pixels(n, side, c)
        first, second = images.parameters(c, relu), images.parameters(c, tanh)
        seen = x * unit + offset
        if not (
            images.near_kink(seen, first, "relu", "avg")
            or images.near_kink(seen, second, "tanh", "max")
        ):
            return Case((x, *first, *second), {"unit": unit, "offset": offset, "eps": 1e-3})


def closest_in_windows(values: np.ndarray, size: int, activation: str) -> float:
    """How close the two largest values of a window come, where they decide anything."""
    n, h, w, c = values.shape
    h, w = h // size, w // size
    cut = values[:, : h * size, : w * size].reshape(n, h, size, w, size, c)
    ranked = np.sort(cut.transpose(0, 1, 3, 5, 2, 4).reshape(-1, size * size))
    if size == 1:
        return np.inf
    gaps = ranked[:, -1] - ranked[:, -2]
    if activation == "relu":
        gaps = gaps[ranked[:, -1] > 0]  # all below 0: the maximum is a flat 0
    return gaps.min(initial=np.inf)


@st.composite
def fusions(draw: st.DrawFn) -> Case:
    """Small ones of any kind, and some with the network's channels."""
    wide, pool = draw(st.booleans()), draw(st.sampled_from(["avg", "max"]))
    c, co = (16, 10) if wide else (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    h, w_, size = draw(st.integers(2, 5)), draw(st.integers(2, 5)), draw(st.integers(1, 2))
    rng, n = np.random.default_rng(draw(seeds)), draw(st.integers(1, 2))
    while True:
        x, w = rng.standard_normal((n, h, w_, c)), rng.standard_normal((1, 1, c, co))
        bias = rng.standard_normal(co)
        values = conv2d_forward(x, w, bias, (1, 1), (0, 0, 0, 0), 1)
        near_tie = pool == "max" and closest_in_windows(values, size, "relu") < CLEAR / 10
        if abs(values).min() > CLEAR / 10 and not near_tie:
            return Case((x, w, bias), {"pool": pool, "size": size})


@st.composite
def heads(draw: st.DrawFn) -> Case:
    """Two stages of any kind, away from the kinks of the fusion and of its activations.

    Small weights: where layers saturate, the gradient drowns in what rounds a difference.
    """
    rng, n = np.random.default_rng(draw(seeds)), draw(st.integers(1, 2))
    smooth = ["tanh", "softplus", "linear"]
    f_s, f_x = draw(st.sampled_from(smooth)), draw(st.sampled_from(smooth))
    f_mix = draw(st.sampled_from(["tanh", "none", "softplus"]))
    f_p = draw(st.sampled_from(["softmax", "softmax", "tanh", "softplus"]))
    dropped, compact = draw(st.booleans()), draw(st.integers(1, 3))
    pools = tuple(draw(st.integers(1, 2)) for _ in range(2))
    stage_maps: list[np.ndarray] = []
    parameters: list[np.ndarray | None] = []
    masks: list[np.ndarray | None] = []
    for pool in pools:
        side, bins, channels = draw(st.integers(2, 3)), draw(st.integers(1, 3)), (2, 3)
        features = (side // pool) ** 2 * compact
        mixed = bins if f_mix == "none" else 2 * bins
        while True:
            pair = [rng.standard_normal((n, side, side, c)) for c in channels]
            convs = [rng.standard_normal((1, 1, c, compact)) / 2 for c in channels]
            biases = [rng.standard_normal(compact) / 2 for _ in channels]
            values = [
                conv2d_forward(x, w, b, (1, 1), (0, 0, 0, 0), 1)
                for x, w, b in zip(pair, convs, biases, strict=True)
            ]
            clear = min(abs(v).min() for v in values) > CLEAR / 10
            if clear and closest_in_windows(values[0], pool, "relu") > CLEAR / 10:
                break
        dense = [(features, 1), (features, bins), (features, bins)]
        dense += [] if f_mix == "none" else [(bins, mixed)]
        dense += [(mixed, bins), (mixed, bins)]
        layers = [a / 2 for i, o in dense for a in (rng.standard_normal((i, o)) / i**0.5,
                                                    rng.standard_normal(o))]  # fmt: skip
        if f_mix == "none":
            layers[6:6] = [None, None]
        stage_maps += pair
        parameters += [convs[0], biases[0], convs[1], biases[1], *layers]
        masks += [(rng.random((n, features)) > 0.3) / 0.7 if dropped else None for _ in "sx"]
    settings = {"masks": tuple(masks), "pools": pools, "activations": (f_s, f_x, f_mix, f_p)}
    return Case((*stage_maps, *parameters), settings)
