"""`python -m tests.cuda_emulator -m MODULE ...`: run a program with the stand-in `cupy`.

    python -m tests.cuda_emulator -m minissr.train --backend cupy --epochs 1
    python -m tests.cuda_emulator script.py ...

CUDA_EMULATOR_MODE (fast, asan, tsan), CUDA_EMULATOR_ORDER (forward, reverse, random, warps,
strided) and CUDA_EMULATOR_SEED choose how.
"""

from __future__ import annotations

import runpy
import sys

from tests.cuda_emulator import BANNER, install
from tests.cuda_emulator.build import why_not


def main(arguments: list[str]) -> None:
    """Run the module or script named by `arguments` as `__main__`."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return
    if reason := why_not():
        sys.exit(reason)
    install()
    print(BANNER, file=sys.stderr, flush=True)
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
