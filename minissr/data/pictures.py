"""Where pictures come from: a folder, a tar or a zip, read as one.

Nothing is ever unpacked to disk. A member's name is only a name: absolute names, names that climb
out with "..", links and devices are left alone and counted, so an archive can't reach a file that
isn't in it. Hidden files (and the `__MACOSX` that Finder adds) are left alone too.
"""

from __future__ import annotations

import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from minissr.data.images import MAX_FILE_BYTES, PictureError
from minissr.errors import DataError

_ARCHIVE_ERRORS = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # zipfile: a compression it doesn't know
    RuntimeError,  # zipfile: a password is required
    OSError,
)


class Pictures:
    """The files of a folder or archive.

    Attributes
    ----------
    path : where it is.
    names : their names, relative, with "/", sorted. A name that occurs twice is not among them.
    twice : names that occur twice in an archive: which one is meant, nobody can say.
    ignored : why -> how many entries were left alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ignored: Counter[str] = Counter()
        self.twice: set[str] = set()
        self._where: dict[str, Any] = {}
        self._scan()
        for name in self.twice:
            del self._where[name]
        self.names = sorted(self._where)

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes | PictureError]]:
        """Each named file's bytes, or why it can't be read; in whatever order is quickest."""
        raise NotImplementedError

    def _scan(self) -> None:
        raise NotImplementedError

    def _add(self, name: str, where: Any) -> None:
        """Enter a file, unless its name says to leave it alone."""
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name[:2]:
            self.ignored["unsafe name"] += 1
        elif not is_text(name):
            self.ignored["name that is no valid text"] += 1
        elif any(part.startswith(".") or part == "__MACOSX" for part in path.parts):
            self.ignored["hidden file"] += 1
        elif str(path) in self._where:
            self.twice.add(str(path))
        else:
            self._where[str(path)] = where


class Folder(Pictures):
    """A folder and its sub-folders. Links to files are followed, links to folders are not."""

    def _scan(self) -> None:
        def refuse(error: OSError) -> None:
            raise DataError(
                f"{error.filename}: can't be listed ({(error.strerror or '').lower()}); "
                "check its permissions"
            )

        for folder, _, files in os.walk(self.path, onerror=refuse):
            for file in files:
                path = Path(folder, file)
                try:
                    regular = stat.S_ISREG(path.stat().st_mode)
                except OSError:
                    regular = False
                if regular:  # a pipe would wait for ever
                    self._add(path.relative_to(self.path).as_posix(), path)
                else:
                    self.ignored["link to nothing, pipe or device"] += 1

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes | PictureError]]:
        for name in names:
            try:
                with open(self._where[name], "rb") as file:
                    yield name, _bytes(name, file)
            except OSError as error:
                yield name, _unreadable(name, error)


class Tar(Pictures):
    """A tar, compressed or not; read from front to end once to list it and once to read it."""

    def _scan(self) -> None:
        with self._open() as archive:
            try:
                for member in archive:
                    if member.isreg():
                        self._add(member.name, member.offset_data)
                    elif not member.isdir():
                        self.ignored["link or device"] += 1
                    _forget(archive)
            except _ARCHIVE_ERRORS as error:
                raise self._damaged(error) from error

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes | PictureError]]:
        wanted = {self._where[name]: name for name in names}
        with self._open() as archive:
            try:
                for member in archive:
                    name = wanted.pop(member.offset_data, None) if member.isreg() else None
                    if name is not None:
                        file = archive.extractfile(member)
                        assert file is not None  # a regular member always has one
                        yield name, _bytes(name, file)
                    if not wanted:
                        return
                    _forget(archive)
            except _ARCHIVE_ERRORS as error:
                raise self._damaged(error) from error

    def _open(self) -> tarfile.TarFile:
        try:
            return tarfile.open(self.path, "r:*")
        except _ARCHIVE_ERRORS as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DataError:
        return DataError(f"{self.path}: is a damaged or truncated tar ({error}); copy it again")


class Zip(Pictures):
    """A zip archive."""

    def _scan(self) -> None:
        with self._open() as archive:
            for member in archive.infolist():
                mode = member.external_attr >> 16  # Unix mode, where the archiver stored one
                if member.is_dir():
                    continue
                if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                    self.ignored["link or device"] += 1
                elif member.flag_bits & 1:
                    raise DataError(
                        f"{self.path}: {member.filename} needs a password; unpack it to a folder"
                    )
                else:
                    self._add(member.filename, member)

    def read(self, names: Sequence[str]) -> Iterator[tuple[str, bytes | PictureError]]:
        with self._open() as archive:
            for name in sorted(names, key=lambda name: self._where[name].header_offset):
                try:
                    with archive.open(self._where[name]) as file:
                        yield name, _bytes(name, file)
                except _ARCHIVE_ERRORS as error:
                    yield name, _unreadable(name, error)

    def _open(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except _ARCHIVE_ERRORS as error:
            raise DataError(
                f"{self.path}: is a damaged or truncated zip ({error}); copy it again"
            ) from error


def open_pictures(path: str | Path) -> Pictures:
    """List the files of a folder, tar or zip. Raises DataError naming path and remedy."""
    path = Path(path)
    try:
        pictures = _listed(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"{path}: can't be read ({reason}); check its permissions") from error
    if not pictures.names and not pictures.twice:
        left = ", ".join(f"{n} {why}" for why, n in pictures.ignored.items())
        raise DataError(
            f"{path}: holds no files{f' (left alone: {left})' if left else ''}; "
            "name the folder or archive that holds the pictures"
        )
    return pictures


def _listed(path: Path) -> Pictures:
    """`open_pictures`, but for an empty collection and what the system refuses."""
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise DataError(f"{path}: there is no such folder or archive; check the path")
    if not path.is_file():
        raise DataError(f"{path}: is neither a folder, a tar nor a zip; name one of these")
    if _is_tar(path):  # before zip: a tar may end in one
        return Tar(path)
    with path.open("rb") as file:
        if file.read(2) == b"PK":
            return Zip(path)
    raise DataError(f"{path}: is neither a folder, a tar nor a zip; unpack it to a folder")


def is_text(name: str) -> bool:
    """Whether a file's name can be written as UTF-8 on one line of a labels file."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return name.isprintable()


def _forget(archive: tarfile.TarFile) -> None:
    """Drop the members seen so far; a TarFile keeps them all, and a collection has a million."""
    archive.members = []  # type: ignore[attr-defined]  # its stubs leave it out


def _is_tar(path: Path) -> bool:
    try:
        return tarfile.is_tarfile(path)
    except _ARCHIVE_ERRORS:  # a compressed file cut off within its first block
        return path.name.endswith((".tar", ".tgz", ".gz", ".bz2", ".xz"))


def _bytes(name: str, file: BinaryIO | Any) -> bytes | PictureError:
    """All of a file, unless it goes on beyond the limit, whatever size its header promised."""
    data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        return PictureError(name, "too large", "is over 256 MiB; shrink the picture first")
    return data


def _unreadable(name: str, error: Exception) -> PictureError:
    reason = getattr(error, "strerror", None) or str(error)
    return PictureError(name, "unreadable", f"can't be read ({reason.lower()}); copy it again")
