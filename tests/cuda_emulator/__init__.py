"""Running CUDA C on a CPU, to check kernels where there is no GPU (README.md tells how it works).

`module.Module` compiles and launches CUDA source on NumPy arrays. `install()` puts a stand-in for
the `cupy` package on the path, so that a program written for CuPy runs unchanged on the emulator;
`python -m tests.cuda_emulator -m PACKAGE.MODULE ...` does that from the command line.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

STAND_IN = Path(__file__).parent / "stand_in"
BANNER = "cupy (emulated): CUDA kernels run on the CPU; no time measured here is a GPU's"


_kept: dict[str, ModuleType] = {}  # the stand-in's modules while it is uninstalled


def install() -> None:
    """Make `import cupy` find the stand-in, unless a real CuPy was imported already."""
    imported = sys.modules.get("cupy")
    if imported is not None and not getattr(imported, "is_emulated", False):
        raise RuntimeError("the real cupy is imported already; start the emulator in a new process")
    if str(STAND_IN) not in sys.path:
        sys.path.insert(0, str(STAND_IN))
    sys.modules.update(_kept)  # the same modules again: classes must stay the same


def uninstall() -> None:
    """Undo `install`, so that `import cupy` means the real one, or nothing, again."""
    if str(STAND_IN) in sys.path:
        sys.path.remove(str(STAND_IN))
    for name in [n for n in sys.modules if n == "cupy" or n.startswith("cupy.")]:
        _kept[name] = sys.modules.pop(name)
