"""Sources: who knows where a collection of faces keeps its ages.

Each is a module with `PREPROCESSING` (how its pictures were cropped) and
`list_faces(pictures, labels)`, which says which pictures there are and how old each face is. They
are imported when they are asked for.
"""

from __future__ import annotations

import importlib
from types import ModuleType

SOURCES = {
    "utkface": "UTKFace, aligned and cropped; ages from the file names, or from --labels",
    "csv": "your own pictures, named with their ages in a labels file",
    "folder": "your own pictures, in sub-folders named by age (25/a.jpg) or named by it (25_a.jpg)",
}
_MODULES = {"utkface": "utkface", "csv": "labelled", "folder": "folder"}


def source(name: str) -> ModuleType:
    """The module of source `name`; ValueError naming the choices if there is none."""
    if name not in SOURCES:
        raise ValueError(f"source {name!r} is none of {', '.join(SOURCES)}")
    return importlib.import_module(f"minissr.data.sources.{_MODULES[name]}")
