"""A lesson's source as cells, and what its first cell says about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Cell:
    """One cell: `text` is code, or Markdown without its comment signs."""

    kind: str  # "code" | "markdown"
    text: str
    line: int  # where it starts in the source, counted from 1


@dataclass(frozen=True)
class Lesson:
    """A lesson, from its file name and its first cell."""

    path: Path
    cells: tuple[Cell, ...]

    @property
    def number(self) -> str:
        """Two digits, "01"."""
        return self.path.name[:2]

    @property
    def title(self) -> str:
        return self._said(r"^# \d\d\. (.+)$")

    @property
    def question(self) -> str:
        return self._said(r"^\*\*Question:\*\* (.+)$")

    @property
    def minutes(self) -> int:
        return int(self._said(r"^\*\*Minutes:\*\* (\d+) "))

    @property
    def needs(self) -> str:
        return self._said(r"\*\*Needs:\*\* (.+)$")

    @property
    def markdown(self) -> str:
        return "\n\n".join(cell.text for cell in self.cells if cell.kind == "markdown")

    @property
    def code(self) -> list[Cell]:
        return [cell for cell in self.cells if cell.kind == "code"]

    def _said(self, pattern: str) -> str:
        if not (found := re.search(pattern, self.cells[0].text, re.MULTILINE)):
            raise ValueError(f"the first cell of {self.path.name} has no line like {pattern}")
        return found[1].strip()


def lessons() -> list[Lesson]:
    """All lessons there are, in order."""
    return [read(path) for path in sorted(FOLDER.glob("[0-9][0-9]_*.py"))]


def read(path: Path) -> Lesson:
    """Split a py:percent file at its `# %%` lines; what stands before the first is left out."""
    cells: list[Cell] = []
    lines: list[str] = []
    kind, start = "", 0
    for number, line in enumerate([*path.read_text("utf-8").splitlines(), "# %%"], 1):
        if line.startswith("# %%"):
            if kind:
                cells.append(Cell(kind, text_of(kind, lines), start))
            kind, start = "markdown" if "[markdown]" in line else "code", number + 1
            lines = []
        else:
            lines.append(line)
    return Lesson(path, tuple(cells))


def text_of(kind: str, lines: list[str]) -> str:
    if kind == "markdown":
        lines = [re.sub(r"^# ?", "", line) for line in lines]
    return "\n".join(lines).strip()
