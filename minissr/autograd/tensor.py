"""An array that remembers how it was made.

`Tensor` holds the data, the gradient and one edge to the op that produced it. The way back,
`backward`, is an explicit loop over those edges: a graph of any depth, no recursion.
"""

from __future__ import annotations

import heapq
import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from minissr.autograd.function import Array, Node, contiguous
from minissr.kernels.backend import array_module, resolve
from minissr.ops import arrange, basic, linear


class Tensor:
    """A multi-dimensional array with a gradient.

    Parameters
    ----------
    data : array_like
        Kept as it is if it is a NumPy or CuPy array; anything else becomes a float32 array.
    requires_grad : bool
        Whether `backward` shall leave d(result)/d(this) in `grad`. Floats only.
    name : str, optional
        For messages and pictures of the graph.

    Attributes
    ----------
    data : ndarray
    grad : ndarray or None
        Same shape and dtype as `data`; several calls of `backward` add up.
    creator : Node or None
        The op this tensor came from; None for a leaf.

    Examples
    --------
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4., 6.], dtype=float32)
    """

    __slots__ = ("__weakref__", "_borrowed", "_grad", "_keep_grad", "creator", "data", "name",
                 "output", "requires_grad")  # fmt: skip

    # NumPy steps back in `array + tensor`, so that Tensor.__radd__ answers.
    __array_ufunc__ = None

    def __init__(self, data: Any, requires_grad: bool = False, name: str | None = None) -> None:
        if isinstance(data, Tensor):
            raise TypeError("the data is a Tensor already; use tensor.detach() for its array")
        if not hasattr(data, "dtype") or isinstance(data, np.generic):
            data = np.asarray(data, dtype=getattr(data, "dtype", np.float32))
        if requires_grad and data.dtype.kind != "f":
            raise TypeError(f"only float tensors can require a gradient, not {data.dtype}")
        self.data: Array = data
        self._grad: Array | None = None
        self._borrowed = False
        self.requires_grad = requires_grad
        self.creator: Node | None = None
        self.output = 0  # which output of its creator this is
        self.name = name
        self._keep_grad = False

    @classmethod
    def from_op(cls, data: Array, creator: Node | None, output: int) -> Tensor:
        """The result of an op; called by `Function.apply`. Always a plain Tensor."""
        tensor = Tensor(data if hasattr(data, "flags") else np.asarray(data))
        tensor.creator = creator
        tensor.output = output
        tensor.requires_grad = creator is not None
        return tensor

    # ---- what it looks like -------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        name = f", name={self.name!r}" if self.name else ""
        origin = f", from {self.creator.function.__name__}" if self.creator else ""
        return f"Tensor({self.data!r}{name}{origin})"

    def item(self) -> float:
        """The one number in a tensor of size one."""
        return self.data.item()

    def numpy(self) -> np.ndarray:
        """The data as a NumPy array; copied from the device if it lives on one."""
        return self.data.get() if hasattr(self.data, "get") else self.data

    def detach(self) -> Tensor:
        """A leaf with the same data and no history."""
        return Tensor(self.data)

    def to(self, backend: str) -> Tensor:
        """A leaf with the data where `backend` computes: device memory for `cupy`."""
        if resolve(backend) == "cupy":
            data = importlib.import_module("cupy").asarray(self.data)
        else:
            data = self.numpy()
        return Tensor(data, requires_grad=self.requires_grad, name=self.name)

    # ---- the way back -------------------------------------------------------------------------

    def retain_grad(self) -> Tensor:
        """Keep this tensor's own gradient in `grad` although it is not a leaf."""
        self._keep_grad = True
        return self

    @property
    def grad(self) -> Array | None:
        """The gradient, to read and to change in place (to clip it, say)."""
        if self._grad is not None and self._borrowed:
            # An op may hand one array to two inputs; who looks gets one of their own.
            self._grad, self._borrowed = self._grad.copy(), False
        return self._grad

    @grad.setter
    def grad(self, value: Array | None) -> None:
        self._grad, self._borrowed = value, False

    def read_grad(self) -> Array | None:
        """The gradient for reading only: nothing is copied."""
        return self._grad

    def zero_grad(self) -> None:
        self.grad = None

    def backward(self, grad: Array | None = None, retain_graph: bool = False) -> None:
        """Leave d(this)/d(leaf) in the `grad` of every leaf that requires it.

        Parameters
        ----------
        grad : ndarray, optional
            The gradient to start from, of this tensor's shape and dtype. May be left out for a
            tensor of size one, where it is 1.
        retain_graph : bool
            Keep the graph's memory for a second walk; otherwise it is freed on the way.

        Raises
        ------
        RuntimeError
            If this tensor has no history, or its graph was freed.
        ValueError
            If `grad` is missing or of another shape or dtype.
        """
        if not self.requires_grad:
            raise RuntimeError("this tensor does not depend on anything that requires a gradient")
        walk_back([(self, self._starting_grad(grad))], retain_graph)

    def _starting_grad(self, grad: Array | None) -> Array:
        xp = array_module(self.data)
        if grad is None:
            if self.size != 1:
                raise ValueError(f"backward() of a tensor of shape {self.shape} needs a gradient")
            return xp.ones_like(self.data)
        grad = xp.asarray(grad)
        if grad.shape != self.shape or grad.dtype != self.dtype:
            raise ValueError(
                f"the gradient has shape {grad.shape} and dtype {grad.dtype}; "
                f"expected {self.shape} and {self.dtype}"
            )
        return grad

    def _accumulate(self, piece: Array) -> None:
        # The first piece is only borrowed until somebody asks for `grad`.
        self._borrowed = self._grad is None
        self._grad = piece if self._grad is None else self._grad + piece

    # ---- arithmetic ---------------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return basic.Add.apply(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return basic.Add.apply(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return basic.Subtract.apply(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return basic.Subtract.apply(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return basic.Multiply.apply(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return basic.Multiply.apply(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return basic.Divide.apply(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return basic.Divide.apply(other, self)

    def __pow__(self, exponent: float) -> Tensor:
        return basic.Power.apply(self, exponent=exponent)

    def __neg__(self) -> Tensor:
        return basic.Negate.apply(self)

    def __matmul__(self, other: Any) -> Tensor:
        return linear.MatMul.apply(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return linear.MatMul.apply(other, self)

    def __getitem__(self, key: Any) -> Tensor:
        return arrange.Index.apply(self, key=key)

    def abs(self) -> Tensor:
        return basic.Absolute.apply(self)

    def exp(self) -> Tensor:
        return basic.Exp.apply(self)

    def log(self) -> Tensor:
        return basic.Log.apply(self)

    def clip(self, low: float | None, high: float | None) -> Tensor:
        return basic.Clip.apply(self, low=low, high=high)

    def sum(self, axis: arrange.Axis = None, keepdims: bool = False) -> Tensor:
        return arrange.Sum.apply(self, axis=axis, keepdims=keepdims)

    def mean(self, axis: arrange.Axis = None, keepdims: bool = False) -> Tensor:
        return arrange.Mean.apply(self, axis=axis, keepdims=keepdims)

    def reshape(self, *shape: int) -> Tensor:
        return arrange.Reshape.apply(self, shape=shape)

    def transpose(self, *axes: int) -> Tensor:
        return arrange.Transpose.apply(self, axes=axes or None)

    def astype(self, dtype: Any) -> Tensor:
        return arrange.Cast.apply(self, dtype=np.dtype(dtype))


def walk_back(roots: Sequence[tuple[Tensor, Array]], retain_graph: bool = False) -> None:
    """Add to the `grad` of every leaf its part in sum over roots of (gradient . tensor).

    Parameters
    ----------
    roots : sequence of (Tensor, ndarray)
        The tensors to start from, each with its gradient, of its shape and dtype.
    retain_graph : bool
        Keep the graph's memory for a second walk; otherwise it is freed on the way.
    """
    # Gradients of the outputs of the nodes still to be visited. A node leaves the heap only when
    # every younger node has, that is when all of its outputs' gradients are complete.
    pending: dict[Node, list[Array | None]] = {}
    heap: list[Node] = []
    # Which of those, by the node's number and output, are arrays that nobody else holds.
    owned: set[tuple[int, int]] = set()

    def deliver(tensor: Tensor, piece: Array, new: bool = False, added: bool = False) -> None:
        node = tensor.creator
        if node is None or tensor._keep_grad:
            tensor._accumulate(piece)
        if node is None:
            return
        if node not in pending:
            pending[node] = [None] * len(node.outputs)
            heapq.heappush(heap, node)
        sofar = pending[node][tensor.output]
        if sofar is not None and not added:
            # Not in place: the piece may be another input's gradient too.
            piece, new = sofar + piece, True
        pending[node][tensor.output] = piece
        if new:
            owned.add((node.number, tensor.output))

    def room(tensor: Tensor | None) -> Array | None:
        """What the tensor's gradient has got so far, if one may add to it in place."""
        if tensor is None or tensor._keep_grad or tensor.creator not in pending:
            return None
        sofar = pending[tensor.creator][tensor.output]
        mine = sofar is not None and (tensor.creator.number, tensor.output) in owned
        return sofar if mine and contiguous(sofar) is sofar else None

    for tensor, grad in roots:
        deliver(tensor, grad)
    while heap:
        node = heapq.heappop(heap)
        new = node.function.new_grads
        onto = node.context.onto = room(node.inputs[0]) if new and node.inputs else None
        input_grads = node.input_grads(pending.pop(node))
        node.context.onto = None
        for tensor, needed, piece in zip(
            node.inputs, node.context.needs_grad, input_grads, strict=True
        ):
            if needed:
                # What comes back in the room that was offered has been added there already. Any
                # other array counts, also one that came before: both gradients of a sum are one.
                deliver(tensor, piece, new, added=onto is not None and piece is onto)
        if not retain_graph:
            node.release()
