"""Writing a file so that a reader never sees half of it.

The bytes go to a temporary name beside the target, are synced to the disk, and only then take the
target's place; the folder is synced last. Whatever happens on the way (a full disk, a power cut,
kill -9), the name holds either the old contents or the new, whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
from pathlib import Path

from minissr.errors import DiskError

TEMPORARY = re.compile(r"\..+\.\d+\.tmp")  # .NAME.PID.tmp, as `write_atomically` names them
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Give `path` the contents `data`, or leave it as it was and raise DiskError."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        _write_synced(temporary, data)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise _failure(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # already gone if all went well


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise now the DiskError that `write_atomically` would after a long computation."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _write_synced(temporary, b"")
    except OSError as error:
        raise _failure(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def _failure(path: Path, error: OSError) -> DiskError:
    reason = (error.strerror or str(error)).lower()
    remedy = "free some space" if error.errno in FULL else "check the folder and its rights"
    before = "; what it held before is intact" if path.exists() else ""
    return DiskError(f"could not write {path}: {reason}{before}; {remedy}")


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """`write_atomically` for text, in UTF-8."""
    write_atomically(path, text.encode())


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files a killed process left in `folder`.

    Only for a folder that no other process writes to, such as a locked run directory.
    """
    for leftover in folder.glob(".*.tmp"):
        if not TEMPORARY.fullmatch(leftover.name):
            continue  # somebody else's
        with contextlib.suppress(OSError):
            leftover.unlink()


def _write_synced(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]  # write may take less than it is given
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where folders can be synced at all."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
