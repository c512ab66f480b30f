"""Evaluate the LaTeX of a formula, so that the text itself is checked and not a copy of it.

The dialect is the lessons': fractions, roots, sums and products with bounds, indices below and
(in brackets) above, powers, accents, |x|, floors, [m = n], and products written side by side.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Names = Mapping[str, Any]
Part = Callable[[Names], Any]  # a piece of a formula: its value, given what the names mean

TOKEN = re.compile(r"\\[a-zA-Z]+|\\.|\d+(?:\.\d+)?|\S")
NOTHING = {r"\,", r"\;", r"\!", r"\ ", r"\left", r"\right"}  # spacing and sizes
ACCENTS = {r"\bar", r"\tilde", r"\hat"}
FUNCTIONS = {"tanh": np.tanh, "sign": np.sign, "max": max, "sqrt": np.sqrt}
CLOSING = {"(": ")", "[": "]", "{": "}", r"\lfloor": r"\rfloor", "|": "|"}
ENDS = {*CLOSING.values(), "+", "-", "=", ","} - {"|"}


def statements(tex: str) -> list[list[str]]:
    """The equations of a displayed formula, each split at its equals signs."""
    parts = re.split(r"\\q?quad|\\Rightarrow", tex)
    return [split(part.strip(" ,\n"), "=") for part in parts if "=" in part]


def split(tex: str, at: str) -> list[str]:
    """Split at a sign that stands outside of all brackets."""
    pieces, depth = [""], 0
    for character in tex:
        depth += (character in "{[(") - (character in ")]}")
        if character == at and depth == 0:
            pieces.append("")
        else:
            pieces[-1] += character
    return [piece.strip() for piece in pieces]


def value(tex: str, names: Names) -> Any:
    """What an expression comes to.

    `names` has numbers, arrays, functions of the indices, and other formulas to put in; "bar s" is
    what `\\bar s` means, "range i" the values of an index that a sum gives no bounds for.
    """
    parser = Parser(tex)
    whole = parser.sum()
    if parser.tokens:
        raise ValueError(f"{tex!r}: nothing known of {parser.tokens[:5]}")
    return whole({"e": np.e, **names})


class Parser:
    """Recursive descent; each method takes its tokens from the front and returns a `Part`."""

    def __init__(self, tex: str) -> None:
        self.tokens = [t for t in TOKEN.findall(tex) if t not in NOTHING]
        self.inside_bars = False

    @property
    def next(self) -> str:
        return self.tokens[0] if self.tokens else ""

    def take(self, wanted: str = "") -> str:
        if not self.tokens or (wanted and self.next != wanted):
            raise ValueError(f"expected {wanted!r}, not {self.tokens[:5]}")
        return self.tokens.pop(0)

    def sum(self) -> Part:
        sign = -1 if self.next == "-" and self.take() else 1
        first = self.product()
        parts = [(sign, first)]
        while self.next in ("+", "-"):
            sign = 1 if self.take() == "+" else -1
            parts.append((sign, self.product()))
        return lambda names: sum(sign * part(names) for sign, part in parts)

    def product(self) -> Part:
        factors = [(1, self.power())]
        while self.tokens and self.next not in ENDS and not (self.inside_bars and self.next == "|"):
            if self.next == r"\cdot":
                self.take()
            exponent = -1 if self.next == "/" and self.take() else 1
            factors.append((exponent, self.power()))
        return lambda names: np.prod([float(part(names)) ** e for e, part in factors])

    def power(self) -> Part:
        base = self.factor()
        if self.next != "^":
            return base
        self.take()
        exponent = self.group()
        return lambda names: base(names) ** exponent(names)

    def group(self) -> Part:
        """What stands in braces, or a single token."""
        if self.next == "{":
            return self.bracketed()
        single = Parser(self.take())
        return single.sum()

    def bracketed(self) -> Part:
        opening = self.take()
        bars, self.inside_bars = self.inside_bars, opening == "|"
        inner = self.sum()
        if opening == "[":  # 1 if both are equal, else 0
            self.take("=")
            left, right = inner, self.sum()
            inner = lambda names: float(left(names) == right(names))  # noqa: E731
        self.take(CLOSING[opening])
        self.inside_bars = bars
        wrap = {"|": abs, r"\lfloor": np.floor}.get(opening)
        return inner if wrap is None else lambda names: wrap(inner(names))

    def factor(self) -> Part:
        token = self.next
        if token in CLOSING:
            return self.bracketed()
        if token[0].isdigit():
            number = float(self.take())
            return lambda names: number
        if token == r"\frac":
            self.take()
            above, below = self.group(), self.group()
            return lambda names: above(names) / below(names)
        if token in (r"\sum", r"\prod"):
            return self.repeated(np.sum if self.take() == r"\sum" else np.prod)
        if token == r"\operatorname" or token.lstrip("\\") in FUNCTIONS:
            return self.function()
        return self.symbol()

    def function(self) -> Part:
        name = self.take().lstrip("\\")
        if name == "operatorname":
            name = "".join(self.raw())
        if self.next != "(":
            argument = self.group() if self.next == "{" else self.power()
            return lambda names: FUNCTIONS[name](argument(names))
        arguments = self.arguments()
        return lambda names: FUNCTIONS[name](*(argument(names) for argument in arguments))

    def arguments(self) -> list[Part]:
        self.take("(")
        found = [self.sum()]
        while self.next == ",":
            self.take()
            found.append(self.sum())
        self.take(")")
        return found

    def repeated(self, total: Callable[[Any], Any]) -> Part:
        """A sum or product: over bounds, from an index on, or over "range i" of every index."""
        self.take("_")
        below = self.raw()
        above = None
        if self.next == "^":
            self.take()
            above = self.group()
        body = self.product()
        if "=" in below or r"\ge" in below:
            index, start = below[0], Parser("".join(below[2:])).sum()

            def values(names: Names) -> Any:
                last = above(names) if above else names["K"]
                return [{index: n} for n in range(int(start(names)), int(last) + 1)]
        else:
            letters = below[:1] if r"\in" in below else [token for token in below if token != ","]

            def values(names: Names) -> Any:
                ranges = [names[f"range {letter}"] for letter in letters]
                return [dict(zip(letters, at, strict=True)) for at in itertools.product(*ranges)]

        return lambda names: total([body({**names, **at}) for at in values(names)])

    def raw(self) -> list[str]:
        """The tokens in braces, or a single one."""
        if self.next != "{":
            return [self.take()]
        self.take()
        found: list[str] = []
        while self.next != "}":
            found.append(self.take())
        self.take()
        return found

    def symbol(self) -> Part:
        accent = f"{self.take()[1:]} " if self.next in ACCENTS else ""
        braced = accent and self.next == "{"
        if braced:
            self.take()
        name = accent + self.take().lstrip("\\")
        if braced:
            self.take("}")
        indices: list[Part] = []
        if self.next == "_":
            self.take()
            below = self.raw()
            word = "".join(below)
            if len(word) > 1 and word.isalpha() and word in ("in", "out"):
                name = f"{name}_{word}"
            else:
                indices = indices_of(below)
        if self.tokens[:3] == ["^", "{", "("]:
            self.take()
            indices.append(Parser("".join(self.raw())).sum())
        call = self.arguments() if name == "f" and self.next == "(" else []
        return lambda names: meaning(
            names, name, [int(part(names)) for part in indices], [part(names) for part in call]
        )


def indices_of(tokens: list[str]) -> list[Part]:
    """Several indices: between commas, or letter by letter if there is no sum among them."""
    if "," in tokens:
        return [Parser(" ".join(tex.split())).sum() for tex in " ".join(tokens).split(",")]
    if "+" in tokens or "-" in tokens:
        return [Parser(" ".join(tokens)).sum()]
    return [Parser(token).sum() for token in tokens]


def meaning(names: Names, name: str, at: list[int], arguments: list[Any]) -> Any:
    known = names[name]
    if isinstance(known, str):
        return value(known, names)
    if callable(known):
        return known(*at, *arguments)
    return known[tuple(at)] if at else known
