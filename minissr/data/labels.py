"""Rows: a picture, the age on it, and whatever else is known about it."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from minissr.data.headers import SUFFIXES
from minissr.data.images import PictureError
from minissr.data.pictures import Pictures, is_text
from minissr.data.preprocessing import Preprocessing
from minissr.errors import DataError

MAX_AGE = 130.0  # years; nobody is known to have lived longer
SPLITS = ("train", "val", "test")
_SPLIT_NAMES = {**{name: name for name in SPLITS}, "valid": "val", "validation": "val"}


@dataclass(frozen=True)
class Row:
    """A labelled picture: its name as the labels have it, its name in `Pictures`, age in years."""

    file: str
    member: str
    age: float
    columns: Mapping[str, str] = field(default_factory=dict)  # everything but file and age


@dataclass(frozen=True)
class BadRow:
    """A row that can't be used: what it names, the kind of trouble, and the sentence."""

    file: str
    kind: str
    reason: str

    @classmethod
    def of(cls, error: PictureError) -> BadRow:
        return cls(error.name, error.kind, error.sentence)


@dataclass
class Listing:
    """What a source found: usable rows, bad ones, names of columns, and what it left alone."""

    preprocessing: Preprocessing
    rows: list[Row] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    ignored: Counter[str] = field(default_factory=Counter)


def each_picture(pictures: Pictures, listing: Listing) -> Iterator[str]:
    """Names that end like a picture's; the others are counted as ignored, doubles as bad rows."""
    for member in sorted([*pictures.names, *pictures.twice]):
        if not member.lower().endswith(SUFFIXES):
            listing.ignored["file that is no picture"] += 1
        elif member in pictures.twice:
            listing.bad.append(BadRow.of(_twice(member, pictures)))
        else:
            yield member


def _twice(member: str, pictures: Pictures) -> PictureError:
    return PictureError(member, "twice", f"is in {pictures.path} twice; keep one of the two")


def parse_age(text: str | None) -> float:
    """An age in years, 0 to 130; ValueError saying what is wrong with it."""
    text = (text or "").strip()
    if not text:
        raise ValueError("has no age; fill it in or remove the row")
    try:
        age = math.inf if "_" in text else float(text)  # Python reads 1_0 as 10
    except ValueError:
        raise ValueError(f"age {text!r} is not a number; write it like 25 or 25.5") from None
    if math.isnan(age):
        raise ValueError("age is NaN; fill it in or remove the row")
    if math.isinf(age):
        raise ValueError(f"age {text!r} is not a number; write it like 25 or 25.5")
    if age < 0:
        raise ValueError(f"age {text} is negative; correct it or remove the row")
    if age > MAX_AGE:
        raise ValueError(f"age {text} is over {MAX_AGE:.0f}; correct it or remove the row")
    return age


class Finder:
    """Finds the picture that a label names: by its whole path, or by the end of it.

    A labels file says `25_a.jpg` where the archive holds `UTKFace/25_a.jpg`.
    """

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        self.members = set(pictures.names)
        self.by_name: dict[str, list[str]] = {}
        for member in [*pictures.names, *pictures.twice]:
            self.by_name.setdefault(member.rpartition("/")[2], []).append(member)

    def find(self, file: str) -> str:
        """The member that `file` names. Raises PictureError."""
        wanted = file.replace("\\", "/").removeprefix("./")
        if wanted in self.members:
            return wanted
        ends = self.by_name.get(wanted.rpartition("/")[2], [])
        found = [member for member in ends if f"/{member}".endswith(f"/{wanted}")]
        if not found:
            raise PictureError(
                file,
                "not there",
                f"is not in {self.pictures.path}; correct the name or add the file",
            )
        if len(found) > 1:
            raise PictureError(
                file, "ambiguous", f"may be {found[0]} or {found[1]}; write the whole path"
            )
        if found[0] in self.pictures.twice:
            raise _twice(file, self.pictures)
        return found[0]


def read_labels(path: Path, pictures: Pictures, preprocessing: Preprocessing) -> Listing:
    """Read a labels file: columns `file` and `age`, optionally `split`, `group` and any others.

    Comma, semicolon or tab between columns, UTF-8, a header line. Raises DataError if the file as
    a whole can't be used; a row that can't be used becomes a `BadRow`.
    """
    listing = Listing(preprocessing)
    finder = Finder(pictures)
    line_of: dict[str, int] = {}
    for line, record in _records(path, listing):
        where = f"{path.name} line {line}"
        file = (record.pop("file") or "").strip()
        if not file:
            listing.bad.append(BadRow(where, "no file name", "names no file; remove the row"))
            continue
        try:
            if not is_text(file):
                raise PictureError(where, "bad name", "holds a name that can't be printed; rename")
            if None in record or None in record.values():
                raise PictureError(
                    file,
                    "bad row",
                    f"({where}) has more or fewer values than the header; correct it",
                )
            member = finder.find(file)
            if member in line_of:
                raise PictureError(
                    file,
                    "twice",
                    f"is on lines {line_of[member]} and {line} of {path.name}; keep one",
                )
            line_of[member] = line
            age = _age_of(file, record.pop("age"), where)
            if "split" in record:
                record["split"] = _split_of(file, record["split"], where)
        except PictureError as error:
            listing.bad.append(BadRow.of(error))
            continue
        listing.rows.append(Row(file, member, age, record))
    if not (listing.rows or listing.bad):
        raise DataError(f"{path}: has a header and no rows; add a row for each picture")
    if unlabelled := len(pictures.names) - len(line_of):
        listing.ignored[f"file not named in {path.name}"] = unlabelled
    return listing


def _age_of(file: str, text: str | None, where: str) -> float:
    try:
        return parse_age(text)
    except ValueError as error:
        raise PictureError(file, "bad age", f"({where}) {error}") from error


def _split_of(file: str, text: str, where: str) -> str:
    split = _SPLIT_NAMES.get(text.strip().lower())
    if split is None:
        raise PictureError(
            file,
            "bad split",
            f"({where}) split {text!r} is none of {', '.join(SPLITS)}; correct it",
        )
    return split


def _records(path: Path, listing: Listing) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and values of each row; sets `listing.columns`. Raises DataError."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            delimiter = max(",;\t", key=header.count)
            names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter), [])]
            names = [name.lower() if name.lower() in _KNOWN else name for name in names]
            if missing := [name for name in ("file", "age") if name not in names]:
                raise DataError(
                    f"{path}: has no column {' and no column '.join(missing)}, only "
                    f"{', '.join(names) or 'an empty header'}; name them in the first line"
                )
            if double := [name for name in names if names.count(name) > 1]:
                raise DataError(f"{path}: has column {double[0]!r} twice; rename one")
            listing.columns = tuple(name for name in names if name not in ("file", "age"))
            reader = csv.DictReader(file, names, delimiter=delimiter, strict=True)
            for record in reader:
                yield reader.line_num + 1, record
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such labels file; check the path") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text; save it as CSV UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: is no well-formed CSV ({error}); save it as CSV again") from error
    except OSError as error:
        raise DataError(
            f"{path}: can't be read ({(error.strerror or '').lower()}); name a labels file"
        ) from error


_KNOWN = ("file", "age", "split", "group", "gender", "race", "person", "subject", "identity")
