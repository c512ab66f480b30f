"""The array, and the functions on arrays."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from cupy._recording import note

# Functions that compute element by element, and others that start kernels of their own.
UFUNCS = set(
    "absolute abs add ceil cos divide equal exp expm1 fabs floor floor_divide fmax fmin greater "
    "greater_equal hypot isfinite isinf isnan less less_equal log log1p log2 logical_and "
    "logical_not logical_or maximum minimum mod multiply negative not_equal power reciprocal "
    "remainder rint sign sin sqrt square subtract tan tanh true_divide trunc".split()
)
FUNCTIONS = set(
    "all any arange argmax argmin argsort around average bincount clip concatenate "
    "count_nonzero cumprod cumsum diag dot einsum eye flip isclose allclose linspace matmul max "
    "mean median min nan_to_num nonzero outer pad prod quantile repeat roll searchsorted sort "
    "stack std sum take take_along_axis tensordot tile tril triu unique var vstack where".split()
)
# Functions that only look at the same memory in another way.
VIEWS = set(
    "atleast_1d atleast_2d broadcast_arrays broadcast_to expand_dims may_share_memory moveaxis "
    "ravel reshape result_type shape split squeeze swapaxes transpose".split()
)
METHODS = set(
    "all any argmax argmin argsort clip copy cumprod cumsum dot fill flatten max mean min "
    "nonzero prod put repeat reshape ravel round sort squeeze std sum swapaxes take transpose "
    "var view".split()
)


def wrap(result: Any) -> Any:
    """NumPy arrays and scalars as arrays of this package; CuPy has no scalars."""
    if isinstance(result, np.ndarray | np.generic):
        return ndarray.__new__(ndarray)._hold(np.asarray(result))
    if isinstance(result, tuple | list):
        return type(result)(wrap(r) for r in result)
    return result


def unwrap(value: Any) -> Any:
    """The NumPy array inside, also inside tuples and lists; NumPy arrays are refused."""
    if isinstance(value, ndarray):
        return value._array
    if isinstance(value, np.ndarray):
        # CuPy's own words.
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, tuple | list):
        return type(value)(unwrap(v) for v in value)
    return value


def index(key: Any) -> Any:
    """What selects elements; here CuPy does take NumPy arrays."""
    if isinstance(key, tuple):
        return tuple(map(index, key))
    return key._array if isinstance(key, ndarray) else key


def sizes(values: Any) -> int:
    """Bytes of all arrays in `values`."""
    if isinstance(values, np.ndarray):
        return values.nbytes
    if isinstance(values, tuple | list):
        return sum(map(sizes, values))
    return 0


def compute(name: str, function: Any, arguments: Any, settings: Any) -> Any:
    """Call a NumPy function on what is inside the arrays, and note it as work for the device."""
    inside = unwrap(tuple(arguments))
    options = {key: unwrap(value) for key, value in settings.items()}
    result = function(*inside, **options)
    if name not in VIEWS:
        written = sizes(options["out"]) if "out" in options else sizes(as_arrays(result))
        note("cupy", name, sizes(inside), written)
    if settings.get("out") is not None:
        out = settings["out"]
        return out[0] if isinstance(out, tuple) and len(out) == 1 else out
    return wrap(result)


def as_arrays(result: Any) -> Any:
    return np.asarray(result) if isinstance(result, np.generic) else result


class Ufunc:
    """A function of CuPy that also has `.at`, for scattered updates."""

    def __init__(self, name: str) -> None:
        self.__name__ = name
        self._numpy = getattr(np, name)

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        return compute(self.__name__, self._numpy, arguments, settings)

    def at(self, array: ndarray, key: Any, values: Any) -> None:
        inside = unwrap(values)
        self._numpy.at(unwrap(array), index(key), inside)
        note("cupy", f"{self.__name__}.at", sizes(inside), sizes(inside))


def lookup(name: str) -> Any:
    """The function `name` of the package, or None."""
    if name in UFUNCS:
        return Ufunc(name)
    if name in FUNCTIONS or name in VIEWS:
        function = getattr(np, name)
        return lambda *arguments, **settings: compute(name, function, arguments, settings)
    return None


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801
    """An array "on the device". Not a numpy.ndarray, so NumPy refuses it as it does CuPy's."""

    __slots__ = ("_array",)
    __array_priority__ = 100

    def __init__(self, shape: Any, dtype: Any = float) -> None:
        self._array = poisoned(shape, dtype)

    def _hold(self, array: np.ndarray) -> ndarray:
        self._array = array
        return self

    shape = property(lambda self: self._array.shape)
    dtype = property(lambda self: self._array.dtype)
    ndim = property(lambda self: self._array.ndim)
    size = property(lambda self: self._array.size)
    nbytes = property(lambda self: self._array.nbytes)
    itemsize = property(lambda self: self._array.itemsize)
    strides = property(lambda self: self._array.strides)
    flags = property(lambda self: self._array.flags)
    T = property(lambda self: wrap(self._array.T))

    def __array__(self, *arguments: Any, **settings: Any) -> Any:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *arguments: Any, **settings: Any) -> Any:
        if method != "__call__":
            return NotImplemented
        return compute(ufunc.__name__, ufunc, arguments, settings)

    def __array_function__(self, function: Any, types: Any, arguments: Any, settings: Any) -> Any:
        """`numpy.f(a)` of an array of this package is `cupy.f(a)`."""
        if any(kind is np.ndarray for kind in types):
            return NotImplemented
        return getattr(sys.modules["cupy"], function.__name__)(*arguments, **settings)

    def get(self, stream: Any = None, order: str = "C", out: np.ndarray | None = None) -> Any:
        """A copy in the host's memory."""
        note("to host", "get", self.nbytes, self.nbytes)
        if out is None:
            return np.array(self._array, order=order)
        np.copyto(out, self._array)
        return out

    def set(self, values: np.ndarray, stream: Any = None) -> None:
        """Fill from an array in the host's memory."""
        if not isinstance(values, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if values.dtype != self.dtype or values.shape != self.shape:
            raise TypeError(
                f"{values.dtype} {values.shape} array cannot be set to "
                f"{self.dtype} {self.shape} array"
            )
        note("to device", "set", self.nbytes, self.nbytes)
        self._array[...] = values

    def item(self) -> Any:
        note("to host", "item", self.nbytes, self.nbytes)
        return self._array.item()

    def tolist(self) -> Any:
        note("to host", "tolist", self.nbytes, self.nbytes)
        return self._array.tolist()

    def astype(self, dtype: Any, order: str = "K", copy: bool = True) -> ndarray:
        if not copy and dtype == self.dtype:
            return self  # no work for the device
        settings = {"order": order, "copy": copy}
        return compute("astype", np.ndarray.astype, (self, dtype), settings)

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, key: Any) -> Any:
        found = self._array[index(key)]
        if not np.may_share_memory(found, self._array):
            note("cupy", "getitem", sizes(as_arrays(found)), sizes(as_arrays(found)))
        return wrap(found)

    def __setitem__(self, key: Any, value: Any) -> None:
        inside, into = unwrap(value), index(key)
        self._array[into] = inside
        note("cupy", "setitem", sizes(inside), sizes(as_arrays(self._array[into])))

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __matmul__(self, other: Any) -> Any:
        return compute("matmul", np.matmul, (self, other), {})

    def __repr__(self) -> str:
        return repr(self._array)

    def __getattr__(self, name: str) -> Any:
        if name not in METHODS:
            raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r}")
        method = getattr(self._array, name)
        return lambda *arguments, **settings: compute(
            name, lambda _, *rest, **options: method(*rest, **options), (self, *arguments), settings
        )


def poisoned(shape: Any, dtype: Any) -> np.ndarray:
    """Memory nobody wrote: NaN, or an unlikely number, so that reading it shows."""
    dtype = np.dtype(dtype)
    return np.full(shape, {"f": np.nan, "i": 0x5A, "u": 0x5A}.get(dtype.kind, 0), dtype)


def empty(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return ndarray(shape, dtype)


def empty_like(a: ndarray, dtype: Any = None) -> ndarray:
    return ndarray(a.shape, dtype or a.dtype)


def full(shape: Any, value: Any, dtype: Any = None) -> ndarray:
    result = np.full(shape, unwrap(value), dtype)
    note("cupy", "full", 0, result.nbytes)
    return wrap(result)


def full_like(a: ndarray, value: Any, dtype: Any = None) -> ndarray:
    return full(a.shape, value, dtype or a.dtype)


def zeros(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    result = np.zeros(shape, dtype)
    note("memset", "zeros", 0, result.nbytes)
    return wrap(result)


def zeros_like(a: ndarray, dtype: Any = None) -> ndarray:
    return zeros(a.shape, dtype or a.dtype)


def ones(shape: Any, dtype: Any = float, order: str = "C") -> ndarray:
    return full(shape, 1, dtype)


def ones_like(a: ndarray, dtype: Any = None) -> ndarray:
    return ones(a.shape, dtype or a.dtype)


def array(a: Any, dtype: Any = None, copy: bool = True, order: str = "C") -> ndarray:
    """A copy on the device, of an array that is there already or in the host's memory."""
    inside = a._array if isinstance(a, ndarray) else a
    result = np.array(inside, dtype=dtype, order="C" if order == "K" else order)
    kind = "on device" if isinstance(a, ndarray) else "to device"
    note(kind, "array", result.nbytes, result.nbytes)
    return wrap(result)


def asarray(a: Any, dtype: Any = None, order: str | None = None, blocking: bool = False) -> ndarray:
    if isinstance(a, ndarray) and dtype in (None, a.dtype):
        return a
    return array(a, dtype)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    if isinstance(a, ndarray) and a.flags.c_contiguous and dtype in (None, a.dtype):
        return a
    return array(a, dtype)


def asnumpy(a: Any, stream: Any = None, order: str = "C", out: Any = None) -> np.ndarray:
    return a.get(out=out) if isinstance(a, ndarray) else np.asarray(a, order=order)


def copyto(target: ndarray, source: Any) -> None:
    """Copy between arrays of the device."""
    note("on device", "copyto", sizes(unwrap(source)), target.nbytes)
    np.copyto(unwrap(target), unwrap(source))


def array_equal(a: ndarray, b: ndarray) -> ndarray:
    return compute("array_equal", np.array_equal, (a, b), {})


def get_array_module(*arrays: Any) -> Any:
    return sys.modules["cupy"] if any(isinstance(a, ndarray) for a in arrays) else np
