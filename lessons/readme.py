"""The table of lessons in README.md, made from what the lessons say about themselves."""

from __future__ import annotations

from lessons.source import FOLDER, Lesson

BEGIN, END = "<!-- the lessons, from their first cells -->", "<!-- end of the lessons -->"
PATH = FOLDER / "README.md"


def table(every: list[Lesson]) -> str:
    rows = [
        f"| [{e.number} {e.title}]({e.path.stem}.ipynb) | {e.question} | {e.minutes} | {e.needs} |"
        for e in every
    ]
    return "\n".join(["| lesson | question | minutes | needs |", "|---|---|---|---|", *rows])


def with_table(text: str, every: list[Lesson]) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(every)}\n{END}{after}"


def current(every: list[Lesson]) -> bool:
    text = PATH.read_text("utf-8")
    return text == with_table(text, every)


def update(every: list[Lesson]) -> None:
    PATH.write_text(with_table(PATH.read_text("utf-8"), every), "utf-8")
