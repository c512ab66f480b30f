"""One differentiable operation: a forward, a backward, and the node that links them.

A `Function` is two static methods on arrays. `apply` runs the forward and, if anybody will want
a gradient, leaves a `Node` behind that remembers the inputs; `Tensor.backward` later walks from
node to node. Edges point one way, from outputs to inputs, so there are no reference cycles and
memory is freed without the garbage collector.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np

from minissr.kernels import lookup
from minissr.kernels.backend import array_module, backend_of

Array = Any  # numpy.ndarray or cupy.ndarray

_recording: contextvars.ContextVar[bool] = contextvars.ContextVar("recording", default=True)
_order = itertools.count()

# Called as observer(op, "forward" | "backward", start, stop, arrays) around every op; times are
# seconds of time.perf_counter(). The profiler is its one user.
Observer = Callable[[str, str, float, float, tuple[Array, ...]], None]
_observer: contextvars.ContextVar[Observer | None] = contextvars.ContextVar(
    "observer", default=None
)

# Called as recorder(function, inputs, settings, outputs) after every op's forward, with tensors (or
# None for an optional input left out). The exporter and the profiler use it.
Recorder = Callable[[type["Function"], tuple[Any, ...], dict[str, Any], tuple[Any, ...]], None]
_recorder: contextvars.ContextVar[Recorder | None] = contextvars.ContextVar(
    "recorder", default=None
)


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Inside the `with` block no op leaves a node behind: nothing can be differentiated."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


def is_recording() -> bool:
    """Whether ops leave nodes behind, that is, unless inside `no_grad`."""
    return _recording.get()


@contextlib.contextmanager
def observe(observer: Observer) -> Iterator[None]:
    """Tell `observer` about every op that runs inside the `with` block, forward and backward."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


@contextlib.contextmanager
def record(recorder: Recorder) -> Iterator[None]:
    """Show `recorder` every op that runs inside the `with` block, with its tensors and settings."""
    token = _recorder.set(recorder)
    try:
        yield
    finally:
        _recorder.reset(token)


class Context:
    """What an op's forward keeps for its backward.

    Attributes
    ----------
    backend : str
        The backend this op runs on, `numpy`, `numba` or `cupy`; the same in backward.
    xp : module
        `numpy` or `cupy`, for pointwise arithmetic.
    needs_grad : tuple of bool
        For each input, whether anybody wants its gradient. A backward may return None elsewhere.
    saved : tuple
        What `save` was given.
    extra : Any
        Arrays the op hands out beside its differentiable outputs; see `apply_with_extra`.
    onto : array or None
        In backward: what the gradient of input 0 has got so far, for a backward that may add its
        own part to it in place; see `Function.new_grads`.
    """

    __slots__ = ("backend", "extra", "needs_grad", "onto", "op", "saved", "xp")

    def __init__(self, op: str, backend: str, xp: Any, needs_grad: tuple[bool, ...]) -> None:
        self.op = op
        self.backend = backend
        self.xp = xp
        self.needs_grad = needs_grad
        self.extra: Any = None
        self.onto: Array | None = None
        self.saved: tuple[Any, ...] = ()

    def save(self, *values: Any) -> None:
        """Keep exactly what backward reads, and nothing else."""
        self.saved = values

    def kernel(self, name: str) -> Callable[..., Any]:
        """The kernel `name` on this op's backend; array arguments are made C-contiguous."""
        function = lookup(name, self.backend)

        def call(*arguments: Any) -> Any:
            return function(*map(contiguous, arguments))

        return call


def contiguous(value: Any) -> Any:
    """`value` itself unless it is an array whose memory is not in C order; then a copy."""
    if hasattr(value, "strides") and not value.flags.c_contiguous:
        return array_module(value).ascontiguousarray(value)
    return value


class Node:
    """One application of a function, remembered for the way back.

    `number` grows with time. An op's inputs exist before the op runs, so every node is younger
    than the nodes it depends on, and visiting the youngest first is a topological order.
    """

    __slots__ = ("context", "function", "inputs", "number", "outputs")

    def __init__(
        self,
        function: type[Function],
        context: Context,
        inputs: tuple[Any, ...],
        outputs: tuple[tuple[tuple[int, ...], Any], ...],
    ) -> None:
        self.function = function
        self.context = context
        self.inputs = inputs  # tensors, or None where an optional input was left out
        self.outputs = outputs  # (shape, dtype) of each output
        self.number = next(_order)

    def __lt__(self, other: Node) -> bool:
        return self.number > other.number  # heapq pops the smallest: the youngest node

    def input_grads(self, output_grads: list[Array | None]) -> tuple[Array | None, ...]:
        """Run the backward and check what it returns; one array or None for each input."""
        op = self.function.__name__
        if not self.inputs:
            raise RuntimeError(
                f"the graph through {op} was already freed by backward(); "
                "pass retain_graph=True to the first call to go through it twice"
            )
        start = time.perf_counter()
        grads = self.function.backward(self.context, *output_grads)
        stop = time.perf_counter()
        if not isinstance(grads, tuple):
            grads = (grads,)
        if (observer := _observer.get()) is not None:
            observer(op, "backward", start, stop, grads)
        if len(grads) != len(self.inputs):
            raise RuntimeError(
                f"{op}.backward returned {len(grads)} gradients for {len(self.inputs)} inputs"
            )
        for position, (tensor, grad) in enumerate(zip(self.inputs, grads, strict=True)):
            if tensor is None or not self.context.needs_grad[position]:
                continue
            if grad is None:
                raise RuntimeError(f"{op}.backward returned no gradient for input {position}")
            if grad.shape != tensor.shape or grad.dtype != tensor.dtype:
                raise RuntimeError(
                    f"{op}.backward returned a gradient of shape {grad.shape} and dtype "
                    f"{grad.dtype} for input {position} of shape {tensor.shape} and dtype "
                    f"{tensor.dtype}"
                )
        return grads

    def release(self) -> None:
        """Forget inputs and saved arrays, so their memory is freed while backward goes on."""
        self.inputs = ()
        self.context.saved = ()
        self.context.extra = None


class Function:
    """A differentiable operation; a subclass writes `forward` and `backward` side by side.

    Both are static, take arrays and return arrays. Tensor inputs are positional (None for an
    optional one left out), everything else is a keyword setting. `forward` returns one array or
    a tuple of them; `backward` gets one gradient for each output (None for an output nobody
    used) and returns one for each input. First order only: backward can't be differentiated.
    """

    # Whether inputs may be integers (pixels). They never get a gradient.
    accepts_integers: ClassVar[bool] = False
    # Whether the gradients that backward returns are arrays just made, which nobody else holds: the
    # next one for the same tensor may then be added in place. Only such an op is given `ctx.onto`,
    # and may add input 0's gradient to that and return it. A map that two ops read would otherwise
    # have its two gradients written, read and written again.
    new_grads: ClassVar[bool] = False

    @staticmethod
    def forward(ctx: Context, *arrays: Array, **settings: Any) -> Array | tuple[Array, ...]:
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Context, *grads: Array | None) -> Array | tuple[Array | None, ...] | None:
        raise NotImplementedError

    @classmethod
    def apply(cls, *inputs: Any, **settings: Any) -> Any:
        """Run the op on tensors: a Tensor, or a tuple of them where forward returns a tuple.

        Numbers and arrays among the inputs become constant tensors; a number, Python's or
        NumPy's, takes the dtype and the place of the tensors beside it.

        Raises
        ------
        TypeError
            If no input is a Tensor, or the inputs are of two float dtypes, or of integers where
            the op wants floats.
        BackendMismatch
            If the inputs live in two places.
        """
        return cls.apply_with_extra(*inputs, **settings)[0]

    @classmethod
    def apply_with_extra(cls, *inputs: Any, **settings: Any) -> tuple[Any, Any]:
        """As `apply`, but also returns what forward left in `ctx.extra`."""
        tensors = cls._as_tensors(inputs)
        arrays = [None if t is None else t.data for t in tensors]
        present = [array for array in arrays if array is not None]
        backend = backend_of(cls.__name__, present)
        recording = _recording.get()
        ctx = Context(
            cls.__name__,
            backend,
            array_module(present[0]),
            tuple(recording and t is not None and t.requires_grad for t in tensors),
        )

        start = time.perf_counter()
        result = cls.forward(ctx, *arrays, **settings)
        stop = time.perf_counter()
        outputs = result if isinstance(result, tuple) else (result,)
        if (observer := _observer.get()) is not None:
            observer(cls.__name__, "forward", start, stop, outputs)

        node = None
        if any(ctx.needs_grad):
            described = tuple((output.shape, output.dtype) for output in outputs)
            node = Node(cls, ctx, tuple(tensors), described)
        tensor_class = type(next(t for t in tensors if t is not None))
        wrapped = tuple(tensor_class.from_op(out, node, i) for i, out in enumerate(outputs))
        if (recorder := _recorder.get()) is not None:
            recorder(cls, tuple(tensors), settings, wrapped)
        return (wrapped if isinstance(result, tuple) else wrapped[0]), ctx.extra

    @classmethod
    def _as_tensors(cls, inputs: tuple[Any, ...]) -> list[Any]:
        """The inputs as tensors of one float dtype."""
        tensor_class = next((type(x) for x in inputs if hasattr(x, "from_op")), None)
        if tensor_class is None:
            raise TypeError(f"{cls.__name__} needs at least one Tensor; wrap an array: Tensor(x)")
        given = [x for x in inputs if hasattr(x, "dtype") and not isinstance(x, np.generic)]
        floats = {x.dtype for x in given if x.dtype.kind == "f"}
        if len(floats) > 1:
            names = " and ".join(sorted(map(str, floats)))
            raise TypeError(f"{cls.__name__} got {names}; convert one side with .astype(...)")
        if not cls.accepts_integers and any(x.dtype.kind != "f" for x in given):
            wrong = next(x.dtype for x in given if x.dtype.kind != "f")
            raise TypeError(f"{cls.__name__} works on floats, got {wrong}; use .astype('float32')")
        dtype = next(iter(floats), np.dtype(np.float32))
        xp = array_module(next(x.data for x in inputs if hasattr(x, "from_op")))
        return [
            x
            if x is None or hasattr(x, "from_op")
            else tensor_class.from_op(cls._constant(x, dtype, xp), None, 0)
            for x in inputs
        ]

    @staticmethod
    def _constant(value: Any, dtype: np.dtype, xp: Any) -> Array:
        """An array as it is; a number as an array where the tensors beside it live."""
        is_array = hasattr(value, "dtype") and not isinstance(value, np.generic)
        return value if is_array else xp.asarray(value, dtype=dtype)
