"""RawModule and RawKernel on the emulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cupy._array import unwrap
from cupy._recording import note
from cupy.cuda import current_stream
from tests.cuda_emulator.module import Module
from tests.cuda_emulator.source import EmulatorError


class RawModule:
    """CUDA source whose kernels are fetched by name."""

    def __init__(
        self,
        *,
        code: str | None = None,
        options: Sequence[str] = (),
        backend: str = "nvrtc",
        **others: Any,
    ) -> None:
        if code is None or others.get("name_expressions"):
            raise NotImplementedError("the stand-in compiles source without name_expressions only")
        if isinstance(options, str):
            raise TypeError("options must be a tuple of str")
        self.code, self.options, self.backend = code, tuple(options), backend
        self._module: Module | None = None

    def compile(self, log_stream: Any = None) -> None:
        self._module = self._module or Module(self.code, self.options)

    def get_function(self, name: str) -> RawKernel:
        self.compile()
        kernel = RawKernel.__new__(RawKernel)
        kernel.module, kernel.name = self, name
        kernel.compile()
        return kernel


class RawKernel:
    """One kernel; call it with grid, block and arguments."""

    module: RawModule
    name: str

    def __init__(self, code: str, name: str, options: Sequence[str] = (), **others: Any) -> None:
        self.module, self.name = RawModule(code=code, options=options, **others), name

    def compile(self, log_stream: Any = None) -> None:
        self.module.compile()
        if self.name not in self.module._module.kernels:
            raise EmulatorError(
                f"CUDA_ERROR_NOT_FOUND: named symbol not found ({self.name}); "
                f"there are {sorted(self.module._module.kernels)}"
            )

    def __call__(
        self,
        grid: Sequence[int],
        block: Sequence[int],
        args: Sequence[Any],
        *,
        shared_mem: int = 0,
        stream: Any = None,
    ) -> None:
        self.compile()
        module = self.module._module
        arguments = [unwrap(a) for a in args]
        self._note(grid, block, arguments, args)
        sizes = tuple(map(int, grid)), tuple(map(int, block))
        (stream or current_stream()).do(
            self.name, lambda: module.launch(self.name, *sizes, arguments, shared_mem)
        )

    def _note(
        self, grid: Sequence[int], block: Sequence[int], arguments: Sequence[Any], given: Any
    ) -> None:
        read = written = 0
        parameters = self.module._module.parameters(self.name)
        for (_, access, _), argument in zip(parameters, arguments, strict=False):
            if isinstance(argument, np.ndarray):
                read += argument.nbytes if access == "r" else 0
                written += argument.nbytes if access == "w" else 0
        details = {
            "source": self.module.code,
            "options": self.module.options,
            "arguments": tuple(given),
        }
        note("kernel", self.name, read, written, tuple(grid), tuple(block), details)
