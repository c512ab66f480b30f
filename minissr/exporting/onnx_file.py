"""A network as the bytes of an ONNX file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from minissr import __version__
from minissr.data.preprocessing import Preprocessing
from minissr.errors import MinissrError
from minissr.exporting.graph import Graph, Node, Value
from minissr.exporting.trace import BATCH, trace
from minissr.exporting.translate import number, translate
from minissr.nn.module import Module

OPSET, IR = 15, 8  # of 2021: old enough for old runtimes; 14 and before confuse onnx.reference
INPUTS = ("uint8", "float32")


def onnx_package() -> Any:
    """The `onnx` package; MinissrError with the install command where it is missing."""
    try:
        import onnx
        import onnx.checker
        import onnx.helper
        import onnx.numpy_helper
        import onnx.reference
    except ImportError as error:
        raise MinissrError(
            f"writing ONNX needs the package onnx ({error}): pip install 'minissr[onnx]'"
        ) from error
    return onnx


def to_onnx(
    model: Module,
    preprocessing: Preprocessing,
    *,
    input_type: str = "uint8",
    rgb: bool = False,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """A network as an ONNX file.

    Parameters
    ----------
    model : Module
        Used in evaluation mode; left as it was.
    preprocessing : Preprocessing
        How the network wants its faces.
    input_type : "uint8" | "float32"
        Of the input `face` (N, S, S, 3), whose values are 0 to 255 either way: scale and offset of
        the preprocessing are part of the file.
    rgb : bool
        Whether the input is RGB whatever the network eats, and the order of channels is changed
        inside; otherwise the input is in the network's own order.
    metadata : mapping of str to str
        Kept in the file beside ours.

    Returns
    -------
    bytes
        One output, `age` (N, 1), float32, years, not clamped.

    Raises
    ------
    MinissrError
        If the network has something ONNX has no translation for, or the package is missing.
    """
    onnx = onnx_package()
    if input_type not in INPUTS:
        raise MinissrError(f"input type {input_type!r} is none of {', '.join(INPUTS)}")
    graph = Graph()
    size = preprocessing.size
    faces = Value("face", (BATCH, size, size, 3))
    pixels = prepare(graph, faces, preprocessing, input_type, rgb)
    ages = translate(trace(model, size), graph, pixels)
    nodes = renamed(graph.nodes, ages.name, "age")
    helper = onnx.helper
    element = {"uint8": onnx.TensorProto.UINT8, "float32": onnx.TensorProto.FLOAT}[input_type]
    used = {name for node in nodes for name in node.inputs}
    proto = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(n.op, n.inputs, n.outputs, n.outputs[0], **n.attributes)
                for n in nodes
            ],
            "age",
            [helper.make_tensor_value_info("face", element, ["N", size, size, 3])],
            [helper.make_tensor_value_info("age", onnx.TensorProto.FLOAT, ["N", 1])],
            [
                onnx.numpy_helper.from_array(array, name)
                for name, array in graph.constants.items()
                if name in used
            ],
        ),
        producer_name="minissr",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR,
    )
    helper.set_model_props(
        proto, {**describe(model, preprocessing, input_type, rgb), **(metadata or {})}
    )
    onnx.checker.check_model(proto, full_check=True)
    return proto.SerializeToString()


def prepare(
    graph: Graph, faces: Value, preprocessing: Preprocessing, input_type: str, rgb: bool
) -> Value:
    """What lies between the file's input and the network's."""
    value = faces
    if input_type != "float32":
        value = graph.emit("Cast", [value], faces.shape, to=1)  # 1 is ONNX's number for float32
    if rgb and preprocessing.color == "bgr":
        turned = np.array([2, 1, 0], np.int64)
        value = graph.emit("Gather", [value, turned], faces.shape, axis=3)
    if preprocessing.scale != 1:
        value = graph.emit("Mul", [value, number(preprocessing.scale)], faces.shape)
    if preprocessing.offset != 0:
        value = graph.emit("Add", [value, number(preprocessing.offset)], faces.shape)
    return value


def renamed(nodes: list[Node], old: str, new: str) -> list[Node]:
    """The nodes with one value called by another name."""

    def names(given: list[str]) -> list[str]:
        return [new if name == old else name for name in given]

    return [Node(n.op, names(n.inputs), names(n.outputs), n.attributes) for n in nodes]


def describe(
    model: Any, preprocessing: Preprocessing, input_type: str, rgb: bool
) -> dict[str, str]:
    """The file's metadata: everything somebody needs who has nothing but the file."""
    config = model.config()
    order = "rgb" if rgb else preprocessing.color
    return {
        "input": (
            f"face (N, {preprocessing.size}, {preprocessing.size}, 3) {input_type}, "
            f"{order.upper()}, 0 to 255"
        ),
        "input_color": order,
        "output": "age (N, 1) float32, years, not clamped",
        "preprocessing": as_json(preprocessing.to_json()),
        "model": as_json(config),
        "min_age": f"{config.get('min_age', 0):g}",
        "V": f"{config['max_age']:g}" if "max_age" in config else "unknown",
        "parameters": str(model.parameter_count()),
    }


def as_json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
