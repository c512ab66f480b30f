"""ONNX files say what the network says: every op, every network, every runtime that is there."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import pytest

from minissr import Tensor, no_grad, ops, use_backend
from minissr.data.preprocessing import Preprocessing
from minissr.data.synthetic import draw_faces
from minissr.errors import MinissrError
from minissr.exporting.check import check
from minissr.exporting.onnx_file import to_onnx
from minissr.exporting.trace import trace
from minissr.exporting.translate import table
from minissr.models import registry
from minissr.nn.layers import BatchNorm, Conv2d, Dense, DepthwiseConv2d
from minissr.nn.module import Module
from minissr.training.measure import predict_ages

onnx = pytest.importorskip("onnx", reason="onnx writes the files: pip install 'minissr[onnx]'")

SIZE = 12  # pixels of the faces of small networks


@pytest.fixture(autouse=True)
def _numpy() -> Any:
    with use_backend("numpy"):
        yield


class Small(Module):
    """A network made of one function on the faces, with a few layers at hand."""

    def __init__(self, function: Any) -> None:
        rng = np.random.default_rng(3)
        self.function = function
        self.conv = Conv2d(3, 4, 3, rng=rng)
        self.deep = DepthwiseConv2d(4, 3, rng=rng, padding="same", stride=2)
        self.norm = BatchNorm(4, eps=0.5)  # large enough to be missed
        self.last = Dense(4, 1, rng=rng)
        self.wide = Dense(10 * 10 * 4, 6, rng=rng)
        for array in self._state().values():  # also biases and statistics count
            array += rng.uniform(0.05, 0.3, array.shape).astype(np.float32)
        self.conv.b.data -= np.float32(2.7)  # maps on both sides of the bends at 0

    def config(self) -> dict[str, Any]:
        return {"name": "small", "max_age": 7.0}

    def forward(self, faces: Any, rng: Any = None) -> Tensor:
        faces = faces if isinstance(faces, Tensor) else Tensor(faces.astype(np.float32))
        return self.function(self, faces * (1 / 255))


def mapped(function: Any) -> Any:
    """The op on a map (N, 10, 10, 4) of a convolution, then a mean, then an age."""
    return lambda net, x: net.last(ops.global_avg_pool(function(net, net.conv(x)))).reshape(-1)


def rowed(function: Any) -> Any:
    """The op on rows (N, 6), then a sum."""
    return lambda net, x: function(net.wide(ops.flatten(net.conv(x))) * 0.03).sum(axis=1)


RNG = np.random.default_rng(1)
PER_CHANNEL = RNG.uniform(0.5, 1.5, 4).astype(np.float32)
PER_PLACE = RNG.uniform(0.5, 1.5, (10, 10, 4)).astype(np.float32)
VECTOR = RNG.uniform(0.5, 1.5, 6).astype(np.float32)
PAIR = np.float32([[1.0], [2.0]])

MAPS: dict[str, Any] = {
    "relu": lambda net, x: ops.relu(x - 0.3),
    "relu6": lambda net, x: ops.relu6(x * 9 - 2.0),
    "leaky_relu": lambda net, x: ops.leaky_relu(x - 0.3, 0.2),
    "tanh": lambda net, x: ops.tanh(x),
    "sigmoid": lambda net, x: ops.sigmoid(-x),
    "softplus": lambda net, x: ops.softplus(x),
    "softmax of channels": lambda net, x: ops.softmax(x, axis=-1) * PER_CHANNEL,
    "softmax of rows": lambda net, x: ops.softmax(x, axis=1) * PER_PLACE,
    "log_softmax": lambda net, x: ops.log_softmax(x, axis=3) * PER_CHANNEL,
    "exp, log, abs": lambda net, x: (x - 0.3).exp().log().abs(),
    "power": lambda net, x: (x * x + 1.0) ** 1.5,
    "clip": lambda net, x: ops.clip(x, 0.1, 0.4) + ops.clip(x, None, 0.2) + ops.clip(x, 0.3, None),
    "constants beside a map": lambda net, x: (x * PER_CHANNEL - PER_PLACE) / 3.0 + 1.0,
    "constants before a map": lambda net, x: PER_CHANNEL / (PER_PLACE - x * x * 0.1) - 2.0,
    "two maps": lambda net, x: x * ops.tanh(x) - x / (ops.exp(x) + 1.0),
    "conv same, stride": lambda net, x: net.deep(x),
    "batch norm on its own": lambda net, x: ops.relu(net.norm(ops.relu(x)) + x),
    "batch norm folded": lambda net, x: net.norm(net.deep(x)),
    "batch norm shared": lambda net, x: net.norm(y := net.deep(x)) * y,
    "max pool after tanh": lambda net, x: ops.max_pool(ops.tanh(x * PER_CHANNEL), 2),
    "max pool of a tanh read twice": lambda net, x: (
        ops.max_pool(y := ops.tanh(x), 3, 1, "same") * y
    ),
    "max pool": lambda net, x: ops.max_pool(x, (3, 2), (2, 1), (1, 0, 1, 0)),
    "avg pool same": lambda net, x: ops.avg_pool(x, 3, 2, "same"),
    "avg pool padded": lambda net, x: ops.avg_pool(x, 3, 2, 1, count_include_pad=True),
    "concat of channels": lambda net, x: ops.concat([x, ops.tanh(x)])[..., 2:6],
    "concat of rows": lambda net, x: ops.concat([x[:, ::2], x[:, -2:]], axis=1) * 2.0,
    "mean over channels": lambda net, x: x - x.mean(axis=3, keepdims=True),
    "sum over places": lambda net, x: x * ops.reshape(x.sum(axis=(1, 2)), (x.shape[0], 1, 1, 4)),
    "transpose": lambda net, x: ops.transpose(x, (0, 2, 1, 3)) * PER_PLACE,
    "backwards": lambda net, x: x[:, ::-1, 1:9:3] * PER_PLACE[:, :3],
    "nothing": lambda net, x: ops.reshape(ops.cast(x, "float32"), x.shape),
}
ROWS: dict[str, Any] = {
    "softmax": lambda r: ops.softmax(r) * VECTOR,
    "vector product": lambda r: ops.matmul(ops.softmax(r), VECTOR).reshape(-1, 1),
    "matrix product": lambda r: ops.matmul(r.reshape(-1, 3, 2), PAIR).reshape(-1, 3),
    "a column": lambda r: r[:, 1:2] * r[:, 2].reshape(-1, 1) + r[:, -1].reshape(-1, 1),
    "one number a face": lambda r: ((r.mean(axis=1) + 1.0) * r[:, 0]).reshape(-1, 1),
    "all of a map": lambda r: r.reshape(-1, 3, 2).sum(axis=(1, 2)).reshape(-1, 1),
    "halves": lambda r: ops.concat([r[:, :3], r[:, 3:]], axis=1) - r * VECTOR,
    "stages": lambda r: stages(r, c_delta=0.9, c_eta=0.5, floor=1e-3, min_age=3.0),
    "stages without delta": lambda r: stages(r, c_delta=0.0, c_eta=1.0, floor=1e-3),
    "stages without eta or floor": lambda r: stages(r, c_delta=1.0, c_eta=0.0, floor=0.0),
    "one stage": lambda r: ops.soft_stagewise_regression(
        ops.softmax(r), r * 0.0, r[:, :1] * 0.1, stages=(6,), max_age=100.0
    ).reshape(-1, 1),
    "a floor that holds": lambda r: stages(r * 3.0 - 9.0, c_delta=1.0, c_eta=1.0, floor=0.5),
}


def stages(r: Tensor, **settings: Any) -> Tensor:
    p, eta, delta = ops.softmax(r), ops.tanh(r), ops.tanh(r[:, :2])
    settings = {"min_age": 0.0, "max_age": 100.0, **settings}
    return ops.soft_stagewise_regression(p, eta, delta, stages=(4, 2), **settings).reshape(-1, 1)


def flattened(net: Small, x: Tensor) -> Tensor:
    """Rows of a map, in all the ways they may be used before a dense layer reads them."""
    flat = ops.flatten(net.conv(x))  # (N, 400)
    weights = np.linspace(0.5, 1.5, 400, dtype=np.float32)
    both = ops.tanh(flat) * ops.flatten(ops.tanh(net.conv(x))) * weights + 0.1
    return net.wide(both)[:, 0] + flat[:, 17] + flat.mean(axis=1)


NETWORKS = {
    **{f"map: {name}": mapped(function) for name, function in MAPS.items()},
    **{f"rows: {name}": rowed(function) for name, function in ROWS.items()},
    "flattened maps": flattened,
    "(N, 1)": lambda net, x: net.wide(ops.flatten(net.conv(x)))[:, 2:3],
    "pixels": lambda net, x: x.mean(axis=(1, 2, 3)),
}


# What OpenCV 4.8 computes wrongly, and 5.0 doesn't; no network here has it.
OPENCV_4 = ("map: avg pool padded", "map: mean over channels")


def agree(
    model: Module, data: bytes, faces: np.ndarray, slow_faces: int = 3, name: str = ""
) -> None:
    """Every installed runtime gives the network's ages."""
    with no_grad():
        ages = model.eval()(faces).numpy().reshape(-1)
    checks = check(data, faces, ages, slow_faces)
    if name in OPENCV_4:
        checks = [line for line in checks if not line.runtime.startswith("OpenCV dnn 4")]
    assert checks[-1].difference is not None  # the format's own definition is always there
    assert all(line.passed for line in checks), "\n".join(map(str, checks))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_op_in_every_layout(name: str) -> None:
    model = Small(NETWORKS[name]).eval()
    data = to_onnx(model, Preprocessing(size=SIZE))
    faces = RNG.integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)
    agree(model, data, faces, name=name)


def test_these_networks_use_every_translation() -> None:
    used = set()
    for function in NETWORKS.values():
        used |= {step.function for step in trace(Small(function).eval(), SIZE).steps}
    assert set(table()) == used


FULL = {
    "ours": {},
    "paper": {"variant": "paper"},
    "released": {"variant": "released"},
    "released, gender": {"variant": "released", "max_age": 1.0},
    "one stage": {"stages": (7,), "min_age": 10.0, "max_age": 60.0},
    "four stages, no floor": {"stages": (2, 3, 4, 5), "floor": 0.0, "lambda_local": 0.25},
    "dex": {"stages": (11,), "lambda_d": 0.0, "lambda_local": 0.0},
    "odd sizes": {"filters_s": 5, "filters_x": 7, "compact": 3, "activation_mix": "softplus"},
}


def settled(model: Module) -> Module:
    """With moving statistics and biases as after some training, so that folding is seen."""
    rng = np.random.default_rng(4)
    for name, array in model._state().items():
        if name.endswith("moving_mean"):
            array += rng.normal(0, 20, array.shape).astype(np.float32)
        elif name.endswith("moving_variance"):
            array *= rng.uniform(500, 2000, array.shape).astype(np.float32)
        elif array.ndim == 1:
            array += rng.uniform(-0.1, 0.3, array.shape).astype(np.float32)
    return model.eval()


@pytest.mark.parametrize("name", FULL)
def test_ssrnet_of_every_kind(name: str) -> None:
    model = settled(registry.build("ssrnet", rng=np.random.default_rng(5), **FULL[name]))
    agree(model, to_onnx(model, Preprocessing()), draw_faces(6, stream="test")[0], slow_faces=1)


@pytest.mark.parametrize("name", sorted(set(registry.MODELS) - {"ssrnet"}))
def test_every_other_network(name: str) -> None:
    model = settled(registry.build(name, rng=np.random.default_rng(5)))
    agree(model, to_onnx(model, Preprocessing()), draw_faces(6, stream="test")[0], slow_faces=1)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("rgb", [False, True])
@pytest.mark.parametrize("input_type", ["uint8", "float32"])
def test_pixels_are_prepared_inside(color: str, rgb: bool, input_type: str) -> None:
    model = Small(mapped(MAPS["tanh"])).eval()
    preprocessing = Preprocessing(color=color, size=SIZE, scale=1.5, offset=-4.0)
    faces = RNG.integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8) // np.uint8([1, 2, 4])
    ages = predict_ages(model, faces, preprocessing)
    data = to_onnx(model, preprocessing, input_type=input_type, rgb=rgb)
    given = (faces if rgb else preprocessing.arrange(faces)).astype(input_type)
    assert all(line.passed for line in check(data, given, ages))
    if color == "bgr":
        turned = np.ascontiguousarray(given[..., ::-1])
        assert not any(line.passed for line in check(data, turned, ages))


def test_the_file_tells_about_itself() -> None:
    model = registry.build("ssrnet", max_age=90.0)
    data = to_onnx(model, Preprocessing(color="bgr"), metadata={"licence": "CC0"})
    proto = onnx.load_from_string(data)
    assert proto.ir_version == 8
    assert proto.opset_import[0].version <= 17
    told = {entry.key: entry.value for entry in proto.metadata_props}
    assert told["input"] == "face (N, 64, 64, 3) uint8, BGR, 0 to 255"
    assert told["V"] == "90"
    assert told["licence"] == "CC0"
    assert Preprocessing.from_json(told["preprocessing"]) == Preprocessing(color="bgr")
    rebuilt = registry.build(**json.loads(told["model"]))
    assert rebuilt.config() == model.config()
    (face,), (age,) = proto.graph.input, proto.graph.output
    dims = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in (face, age)]
    assert (face.name, age.name) == ("face", "age")
    assert dims == [["N", 64, 64, 3], ["N", 1]]


def test_it_is_lean() -> None:
    """One transpose, no batch norm, nothing that could have been computed beforehand."""
    proto = onnx.load_from_string(to_onnx(registry.build("ssrnet"), Preprocessing()))
    count = Counter(node.op_type for node in proto.graph.node)
    assert count["Transpose"] == 1
    assert count["BatchNormalization"] == 0
    assert count["Conv"] == 8 + 6
    made = {name for node in proto.graph.node for name in node.output} | {"face"}
    assert all(made & set(node.input) for node in proto.graph.node)
    kept = {array.name for array in proto.graph.initializer}
    assert kept == {name for node in proto.graph.node for name in node.input} - made
    assert "streams.s.0.conv.w" in kept


REFUSED = {
    "mixes faces": lambda net, x: x.mean(axis=(1, 2, 3)) - x.mean(axis=(0, 1, 2)).mean(axis=0),
    "one age a face": lambda net, x: x.mean(axis=(1, 2)),
    "don't depend on the face": lambda net, x: Tensor(np.zeros(x.shape[0], np.float32)) * 2.0,
    "Dropout has no translation": lambda net, x: ops.dropout(
        x.mean(axis=(1, 2, 3)), 0.5, np.random.default_rng(0)
    ),
    "indexing by": lambda net, x: x[:, [3, 4]].mean(axis=(1, 2, 3)),
    "a transpose to": lambda net, x: ops.transpose(ops.transpose(x[:, 0, 0, :], (1, 0)), (1, 0))[
        :, 0
    ],
}


@pytest.mark.parametrize("says", REFUSED)
def test_what_has_no_translation_is_refused(says: str) -> None:
    model = Small(REFUSED[says]).train()
    with pytest.raises(MinissrError, match=says):
        to_onnx(model, Preprocessing(size=SIZE))
    assert model.training


def test_an_unknown_input_type_is_refused() -> None:
    with pytest.raises(MinissrError, match="'int8' is none of uint8, float32"):
        to_onnx(Small(NETWORKS["pixels"]), Preprocessing(size=SIZE), input_type="int8")
