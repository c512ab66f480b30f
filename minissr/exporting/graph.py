"""An ONNX graph under construction, and the two layouts it has to bring together.

minissr keeps feature maps as (N, H, W, C), ONNX convolves (N, C, H, W). Transposing around every
convolution would cost more than some of them. So a value stays in the layout it was born in, the
graph knows which that is, and only what needs the other one asks for it:

    PLAIN           as minissr has it
    CHANNELS_FIRST  a map (N, H, W, C), held as (N, C, H, W)
    FLATTENED       rows (N, H W C) of a map, held in the order C, H, W; a dense layer that reads
                    them has the rows of its weights permuted instead
    COLUMN          one number a face, (N,), held as (N, 1), which every runtime can handle
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

PLAIN, CHANNELS_FIRST, FLATTENED, COLUMN = "plain", "channels first", "flattened", "column"
TO_CHANNELS_FIRST, TO_CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """Something computed, or a constant.

    Attributes
    ----------
    name : str
        In the graph; for a constant the name it will get if it is needed.
    shape : tuple of int
        As minissr has it, whatever the layout; the first length stands for any number of faces.
    layout : str
    map : tuple of int
        H, W, C of the map that was flattened.
    constant : ndarray or None
        Its value, as minissr has it.
    """

    name: str
    shape: Shape
    layout: str = PLAIN
    map: Shape = ()
    constant: np.ndarray | None = None


@dataclass
class Node:
    """One ONNX operation; an input "" is left out."""

    op: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Any]


@dataclass
class Graph:
    """Nodes and constants.

    Attributes
    ----------
    nodes : list of Node
        In an order in which they can be computed.
    constants : dict of str to ndarray
    uses : Counter
        How many ops of minissr read a value, by its name; kept by who adds them.
    """

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    uses: Counter[str] = field(default_factory=Counter)
    _makers: dict[str, Node] = field(default_factory=dict)
    _converted: dict[tuple[str, str], Value] = field(default_factory=dict)

    # ---- adding to it -------------------------------------------------------------------------

    def emit(
        self,
        op: str,
        inputs: Sequence[Value | np.ndarray | None],
        shape: Shape,
        layout: str = PLAIN,
        map: Shape = (),
        **attributes: Any,
    ) -> Value:
        """Add a node; arrays among the inputs become constants as they are.

        Parameters
        ----------
        op : str
            Its name in ONNX.
        inputs : sequence of Value, ndarray or None
        shape, layout, map
            Of the result; see Value.
        **attributes
            The node's.
        """
        return Value(self._add(op, inputs, 1, attributes)[0], shape, layout, map)

    def columns(self, value: Value) -> list[Value]:
        """The columns of (N, K), each as (N, 1)."""
        n, count = value.shape
        if count == 1:
            return [Value(value.name, (n,), COLUMN)]
        names = self._add("Split", [value, np.ones(count, np.int64)], count, {"axis": 1})
        return [Value(name, (n,), COLUMN) for name in names]

    def _add(
        self,
        op: str,
        inputs: Sequence[Value | np.ndarray | None],
        outputs: int,
        attributes: dict[str, Any],
    ) -> list[str]:
        """A node; the names of its outputs."""
        names = []
        for place, given in enumerate(inputs):
            if isinstance(given, Value):
                names.append(given.name)
            else:
                hint = f"{op}_{len(self.nodes)}_{place}"
                names.append("" if given is None else self.keep(hint, given))
        while not names[-1]:
            names.pop()
        node = Node(
            op, names, [f"{op}_{len(self.nodes)}_out{i}" for i in range(outputs)], attributes
        )
        self.nodes.append(node)
        self._makers.update(dict.fromkeys(node.outputs, node))
        return node.outputs

    def keep(self, name: str, array: np.ndarray) -> str:
        """Put a constant into the graph; the name it got, another if that one was taken."""
        unique, count = name, 1
        while unique in self.constants:
            count += 1
            unique = f"{name}_{count}"
        self.constants[unique] = np.ascontiguousarray(array)
        return unique

    def weight(self, value: Value, array: np.ndarray) -> Value:
        """Put a constant's array, rearranged by the caller, into the graph under its own name."""
        return Value(self.keep(value.name, array.astype(np.float32)), array.shape)

    def maker(self, value: Value) -> Node | None:
        """The node that computes a value; None for constants and the faces."""
        return self._makers.get(value.name)

    # ---- layouts ------------------------------------------------------------------------------

    def plain(self, value: Value) -> Value:
        """The value in minissr's own layout."""
        if value.constant is not None:
            return self.weight(value, value.constant)
        if value.layout == PLAIN:
            return value
        return self._convert(value, PLAIN)

    def channels_first(self, value: Value) -> Value:
        """A map (N, H, W, C) as (N, C, H, W)."""
        if value.constant is not None:
            turned = value.constant.transpose(TO_CHANNELS_FIRST)
            return Value(self.keep(value.name, turned), value.shape, CHANNELS_FIRST)
        if value.layout == CHANNELS_FIRST:
            return value
        return self._convert(self.plain(value), CHANNELS_FIRST)

    def _convert(self, value: Value, layout: str) -> Value:
        """The conversion, once for all who ask."""
        key = value.name, layout
        if key not in self._converted:
            self._converted[key] = self._conversion(value, layout)
        return self._converted[key]

    def _conversion(self, value: Value, layout: str) -> Value:
        shape = value.shape
        if layout == CHANNELS_FIRST:
            return self.emit(
                "Transpose", [value], shape, CHANNELS_FIRST, perm=list(TO_CHANNELS_FIRST)
            )
        if value.layout == COLUMN:
            return self.reshape(value, (-1,), shape)
        if value.layout == FLATTENED:
            h, w, c = value.map
            value = self.reshape(value, (-1, c, h, w), (shape[0], h, w, c))
        turned = self.emit("Transpose", [value], value.shape, perm=list(TO_CHANNELS_LAST))
        return turned if turned.shape == shape else self.reshape(turned, (-1, shape[1]), shape)

    def reshape(self, value: Value, wanted: Shape, shape: Shape, layout: str = PLAIN) -> Value:
        """Other axes for the numbers as they lie; `wanted` is ONNX's, -1 the number of faces."""
        return self.emit("Reshape", [value, np.array(wanted, np.int64)], shape, layout)
