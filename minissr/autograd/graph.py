"""A picture of how a tensor was made: SVG text, or a Matplotlib figure. Needs no other program.

Data flows downward. Rounded boxes are leaves (a thick border: they get a gradient; dashed: they
are constants), square boxes are ops with the shape of what they return, and the op with a double
border made the tensor that was asked about. Fills are of Okabe and Ito's palette, which people
with any colour vision can tell apart, and shape and border say the same once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from minissr.autograd.function import Node
from minissr.autograd.layout import Point, layered
from minissr.autograd.tensor import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_BOXES = 1000

FONT = 13.0  # px
LINE = 17.0  # px from line to line
MARGIN = 16.0
FILLS = {"leaf": "#F5DDA6", "constant": "#E6E6E6", "op": "#CBE5F6", "result": "#A9DBCB"}
INK, EDGE_INK = "#1A1A1A", "#5A5A5A"


@dataclass(frozen=True)
class Box:
    """A leaf or an op: what kind, and the lines written in it."""

    kind: str  # "leaf", "constant", "op", "result"
    lines: tuple[str, ...]

    @property
    def size(self) -> Point:
        longest = max(map(len, self.lines))
        return 0.6 * FONT * longest + 18, LINE * len(self.lines) + 12

    @property
    def corner(self) -> float:
        return 12.0 if self.kind in ("leaf", "constant") else 2.0


def to_svg(tensor: Tensor) -> str:
    """The graph behind `tensor` as the text of an SVG file.

    Parameters
    ----------
    tensor : Tensor
        Drawn before `backward`, which frees the graph, or after `backward(retain_graph=True)`.

    Returns
    -------
    str
        Self-contained: save it as a .svg, or show it in a notebook with `IPython.display.SVG`.

    Raises
    ------
    ValueError
        If the graph was freed, or has more boxes than anybody can look at.

    Examples
    --------
    >>> x = Tensor([1.0, 2.0], requires_grad=True, name="x")
    >>> to_svg((x * x).sum()).count("<rect")  # background, x, Multiply, Sum and its border
    5
    """
    boxes, edges = boxes_of(tensor)
    layout = layered([box.size for box in boxes], edges)
    width, height = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="{-MARGIN:g} {-MARGIN:g} {width:.1f} {height:.1f}" role="img" '
        f'font-family="DejaVu Sans Mono, Consolas, monospace" font-size="{FONT:g}">',
        f"<title>{escape(title(boxes))}</title>",
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="{EDGE_INK}"/>'
        "</marker></defs>",
        f'<rect x="{-MARGIN:g}" y="{-MARGIN:g}" width="{width:.1f}" height="{height:.1f}" '
        'fill="white"/>',
    ]
    parts += [svg_edge(points) for points in layout.routes]
    for box, centre in zip(boxes, layout.centres, strict=True):
        parts += svg_box(box, centre)
    return "\n".join([*parts, "</svg>"]) + "\n"


def draw(tensor: Tensor, ax: Axes | None = None) -> Axes:
    """Draw the graph behind `tensor` with Matplotlib.

    Parameters
    ----------
    tensor : Tensor
        As for `to_svg`.
    ax : matplotlib Axes, optional
        Where to draw; without one a figure of the right size is made.

    Returns
    -------
    matplotlib Axes
        Save it with `ax.figure.savefig("graph.png")`.
    """
    from matplotlib import pyplot
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import FancyBboxPatch, PathPatch
    from matplotlib.path import Path
    from matplotlib.textpath import TextPath

    boxes, edges = boxes_of(tensor)
    layout = layered([box.size for box in boxes], edges)
    width, height = layout.width + 2 * MARGIN, layout.height + 2 * MARGIN
    if ax is None:
        figure = pyplot.figure(figsize=(width / 100, height / 100))
        ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    ax.set_xlim(-MARGIN, layout.width + MARGIN)
    ax.set_ylim(-layout.height - MARGIN, MARGIN)  # y grows upward here, downward in the layout
    ax.set_aspect("equal")
    ax.axis("off")

    for points in layout.routes:
        vertices, codes = [flipped(points[0])], [Path.MOVETO]
        for curve in bezier(points):
            vertices += map(flipped, curve)
            codes += [Path.CURVE4] * 3
        ax.add_patch(PathPatch(Path(vertices, codes), fc="none", ec=EDGE_INK, lw=0.9))
        x, y = vertices[-1]
        tip = [(x, y), (x - 3.5, y + 7), (x + 3.5, y + 7)]
        ax.add_patch(PathPatch(Path(tip), fc=EDGE_INK, ec="none"))

    font = FontProperties(family="monospace")
    for box, centre in zip(boxes, layout.centres, strict=True):
        for grow, style in borders(box):
            left, top, w, h = rectangle(box, centre, grow)
            ax.add_patch(
                FancyBboxPatch(
                    (left, -top - h), w, h, boxstyle=f"round,pad=0,rounding_size={box.corner}",
                    fc=FILLS[box.kind] if not grow else "none", ec=INK,
                    lw=0.72 * style.width, ls=(0, style.dashes) if style.dashes else "-",
                )
            )  # fmt: skip
        # Outlines of letters rather than text: they scale with the boxes in axes of any size.
        for line, (x, y) in text_lines(box, centre):
            path = TextPath((0, 0), line, size=FONT, prop=font)
            extent = path.get_extents()
            shift = (x - (extent.x0 + extent.x1) / 2, -y)
            ax.add_patch(PathPatch(Path(path.vertices + shift, path.codes), fc=INK, ec="none"))
    return ax


# ---- what is in the picture -------------------------------------------------------------------


def boxes_of(tensor: Tensor) -> tuple[list[Box], list[tuple[int, int]]]:
    """A box for every op and leaf that `tensor` depends on, and the edges between them."""
    if tensor.creator is None:
        return [leaf_box(tensor)], []
    nodes = nodes_behind(tensor.creator)
    number_of: dict[int, int] = {id(node): i for i, node in enumerate(nodes)}
    boxes = [op_box(node, result=node is tensor.creator) for node in nodes]
    edges = []
    for node in nodes:
        for source in node.inputs:
            if source is None:  # an optional input that was left out
                continue
            key = id(source.creator) if source.creator is not None else id(source)
            if key not in number_of:
                number_of[key] = len(boxes)
                boxes.append(leaf_box(source))
            edges.append((number_of[key], number_of[id(node)]))
    if len(boxes) > MOST_BOXES:
        raise ValueError(
            f"a graph of {len(boxes)} boxes is too large for a picture; "
            f"draw a tensor nearer to the leaves, with at most {MOST_BOXES}"
        )
    return boxes, edges


def nodes_behind(last: Node) -> list[Node]:
    """Every node that `last` depends on and itself, oldest first."""
    found, stack = {id(last): last}, [last]
    while stack:
        node = stack.pop()
        if not node.inputs:
            raise ValueError(
                f"the graph through {node.function.__name__} was already freed by backward(); "
                "draw it before, or pass retain_graph=True"
            )
        for tensor in node.inputs:
            creator = None if tensor is None else tensor.creator
            if creator is not None and id(creator) not in found:
                found[id(creator)] = creator
                stack.append(creator)
    return sorted(found.values(), key=lambda node: node.number)


def leaf_box(tensor: Tensor) -> Box:
    kind = "leaf" if tensor.requires_grad else "constant"
    value = f"{tensor.item():.6g}" if tensor.shape == () and kind == "constant" else ""
    return Box(kind, (tensor.name or value or kind, describe(tensor.shape, tensor.dtype)))


def op_box(node: Node, result: bool) -> Box:
    described = [describe(shape, dtype) for shape, dtype in node.outputs]
    return Box("result" if result else "op", (node.function.__name__, *described))


def describe(shape: tuple[int, ...], dtype: Any) -> str:
    """(50, 31, 31, 16) float32."""
    return f"{shape} {dtype}" if shape else f"scalar {dtype}"


def title(boxes: list[Box]) -> str:
    ops = sum(box.kind in ("op", "result") for box in boxes)
    return f"Computation graph: {ops} ops, {len(boxes) - ops} leaves"


# ---- geometry shared by both pictures ---------------------------------------------------------


@dataclass(frozen=True)
class Border:
    width: float  # px
    dashes: tuple[float, float] | None = None


def borders(box: Box) -> list[tuple[float, Border]]:
    """The frames of a box, each with how far it lies outside."""
    if box.kind == "leaf":
        return [(0.0, Border(2.2))]
    if box.kind == "constant":
        return [(0.0, Border(1.0, (4.0, 3.0)))]
    return [(0.0, Border(1.0))] + ([(3.0, Border(1.0))] if box.kind == "result" else [])


def rectangle(box: Box, centre: Point, grow: float) -> tuple[float, float, float, float]:
    """Left, top, width, height."""
    width, height = box.size
    return (
        centre[0] - width / 2 - grow,
        centre[1] - height / 2 - grow,
        width + 2 * grow,
        height + 2 * grow,
    )


def text_lines(box: Box, centre: Point) -> list[tuple[str, Point]]:
    """Each line with the middle of its baseline."""
    first = centre[1] - LINE * (len(box.lines) - 1) / 2 + 0.35 * FONT
    return [(line, (centre[0], first + LINE * i)) for i, line in enumerate(box.lines)]


def bezier(points: list[Point]) -> list[tuple[Point, Point, Point]]:
    """A smooth way through the points: cubic curves that leave and arrive vertically."""
    curves = []
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (y0 + y1) / 2
        curves.append(((x0, middle), (x1, middle), (x1, y1)))
    return curves


def flipped(point: Point) -> Point:
    return point[0], -point[1]


def svg_edge(points: list[Point]) -> str:
    way = f"M{points[0][0]:.1f} {points[0][1]:.1f}" + "".join(
        "C" + " ".join(f"{x:.1f} {y:.1f}" for x, y in curve) for curve in bezier(points)
    )
    return (
        f'<path d="{way}" fill="none" stroke="{EDGE_INK}" stroke-width="1.2" '
        'marker-end="url(#arrow)"/>'
    )


def svg_box(box: Box, centre: Point) -> list[str]:
    parts = []
    for grow, border in borders(box):
        left, top, width, height = rectangle(box, centre, grow)
        fill = FILLS[box.kind] if not grow else "none"
        dashes = (
            f' stroke-dasharray="{border.dashes[0]:g} {border.dashes[1]:g}"'
            if border.dashes
            else ""
        )
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'rx="{box.corner:g}" fill="{fill}" stroke="{INK}" stroke-width="{border.width:g}"'
            f"{dashes}/>"
        )
    for i, (line, (x, y)) in enumerate(text_lines(box, centre)):
        weight = ' font-weight="bold"' if i == 0 else ""
        parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle" fill="{INK}"{weight}>'
            f"{escape(line)}</text>"
        )
    return parts
