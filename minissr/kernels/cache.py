"""Where compiled kernels are kept between runs, and what the first run says.

Compiling takes a while, so Numba's machine code is kept on disk. Numba notices when a kernel's own
file changes but not when a function it calls, in another file, does; so the folder is named after a
digest of every Python file in `kernels/` that isn't the GPU's, and another version of any of them
starts an empty folder (only the last few folders are kept). It lies in the user's cache directory,
because the package may be installed where nobody can write:

    $MINISSR_CACHE, or $XDG_CACHE_HOME/minissr, or ~/.cache/minissr   (Linux)

Several processes may start at once on an empty folder. Numba writes every file under a temporary
name and renames it, but picks that name by looking which are free, so writing takes a lock; a
process that compiled what another has meanwhile stored writes it again. A folder that can't be
written, or a full disk, costs a warning and the time of compiling again at the next start.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from numba.core import event

try:
    import fcntl
except ImportError:  # not on Windows; there Numba's own care has to do
    fcntl = None  # type: ignore[assignment]  # mypy: a module can't be None

KERNELS = Path(__file__).resolve().parent
FOLDERS_KEPT = 6


def user_cache() -> Path:
    """The directory for things that can be made again, by the customs of the system."""
    if chosen := os.environ.get("MINISSR_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "minissr"


@lru_cache(maxsize=1)
def digest() -> str:
    """Sixteen hexadecimal digits that change when any file of `kernels/` does."""
    total = hashlib.sha256()
    for path in sorted(KERNELS.rglob("*.py")):
        if path.name == "cupy_gpu.py":
            continue
        total.update(path.relative_to(KERNELS).as_posix().encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


@lru_cache(maxsize=1)
def folder() -> Path | None:
    """The folder for this version's machine code, made if need be; None if that can't be."""
    path = user_cache() / f"kernels-{digest()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        trial = path / f".write-{os.getpid()}"
        trial.touch()
        trial.unlink()
        os.utime(path)  # the time of last use
        forget_old(path.parent)
    except (OSError, RuntimeError) as error:  # RuntimeError: no home directory
        warnings.warn(
            f"{path} can't be written ({error}), so kernels are compiled again at every start; "
            "set MINISSR_CACHE to a writable directory",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    return path


def forget_old(base: Path) -> None:
    """Remove the folders of other versions, but for those used last."""
    folders = sorted(base.glob("kernels-*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in folders[FOLDERS_KEPT:]:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Alone among all processes in writing to the folder."""
    if fcntl is None:
        yield
        return
    with open(path / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released when the file is closed
        yield


class GuardedCache:
    """A function's Numba cache that writes alone and outlives any trouble with the disk."""

    def __init__(self, inner: Any, path: Path) -> None:
        self.inner = inner
        self.path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def load_overload(self, signature: Any, target: Any) -> Any:
        """The stored machine code, or None; what is damaged is forgotten."""
        try:
            return self.inner.load_overload(signature, target)
        except Exception:  # unpickling damaged bytes can raise anything
            with contextlib.suppress(OSError), writing(self.path):
                self.inner.flush()
            return None

    def save_overload(self, signature: Any, code: Any) -> None:
        """Store machine code."""
        try:
            with writing(self.path):
                self.inner.save_overload(signature, code)
        except OSError as error:
            warnings.warn(
                f"compiled kernels could not be stored in {self.path} ({error}); "
                "the next start will compile them again",
                RuntimeWarning,
                stacklevel=2,
            )


class Announcer(event.Listener):
    """Says once why the first run takes longer, and on a terminal what is being compiled."""

    def __init__(self) -> None:
        self.depth = 0
        self.said = False
        self.started = 0.0

    def on_start(self, occurrence: Any) -> None:
        self.depth += 1
        function = occurrence.data["dispatcher"].py_func
        if self.depth > 1 or not function.__module__.startswith("minissr."):
            return
        if not self.said:
            self.said, self.started = True, time.perf_counter()
            kept = f"; kept in {folder()}" if folder() else ""
            print(
                "minissr: compiling for this processor, once for each version "
                f"(up to two minutes{kept})",
                file=sys.stderr,
                flush=True,
            )
        if sys.stderr.isatty():
            elapsed = time.perf_counter() - self.started
            name = f"{function.__module__.removeprefix('minissr.kernels.')}.{function.__name__}"
            print(f"\r\x1b[K  {elapsed:3.0f} s  {name}", end="", file=sys.stderr, flush=True)

    def on_end(self, occurrence: Any) -> None:
        self.depth -= 1
        if self.depth == 0 and self.said and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


event.register("numba:compile", Announcer())
