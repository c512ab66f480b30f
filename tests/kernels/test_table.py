"""The kernel table: every backend has every kernel, with the same arguments."""

from __future__ import annotations

import inspect

import pytest

from minissr.kernels import BACKENDS, GAPS, KERNELS, lookup, register


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_backend_has_every_kernel(kernel: str, backend: str) -> None:
    if (kernel, backend) in GAPS:
        with pytest.raises(NotImplementedError, match=kernel):
            lookup(kernel, backend)
    else:
        reference, version = lookup(kernel, "numpy"), lookup(kernel, backend)
        names = list(inspect.signature(version).parameters)
        assert names == list(inspect.signature(reference).parameters)


def test_gaps_are_kernels_and_say_why() -> None:
    for (kernel, backend), reason in GAPS.items():
        assert kernel in KERNELS
        assert backend in BACKENDS
        assert reason


def test_the_reference_has_no_gaps() -> None:
    assert not [kernel for kernel, backend in GAPS if backend in ("numpy", "numba")]


def test_unknown_names_are_refused() -> None:
    with pytest.raises(KeyError, match="no kernel 'conv3d'"):
        lookup("conv3d", "numpy")
    with pytest.raises(KeyError, match="conv3d"):
        register("conv3d", "numpy")
    with pytest.raises(KeyError, match="fortran"):
        register("conv2d_forward", "fortran")
