"""Where the boxes of a graph go: a layered drawing, made here so that no other program is needed.

Four steps (Sugiyama et al. 1981): every box gets a layer below all it depends on; an edge across
several layers gets a bend in each; each layer is sorted so that few edges cross; and boxes move
sideways until edges are as straight as the order allows.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Point = tuple[float, float]
Edge = tuple[int, int]

GAP_X, GAP_Y, BEND_WIDTH = 18.0, 34.0, 8.0
SWEEPS = 12


@dataclass(frozen=True)
class Layout:
    """Centres of the boxes, the route of each edge, and the size of the whole, y downward."""

    centres: list[Point]
    routes: list[list[Point]]  # from the lower side of one box to the upper side of another
    width: float
    height: float


def layered(sizes: Sequence[Point], edges: Sequence[Edge]) -> Layout:
    """Lay out a graph without cycles.

    Parameters
    ----------
    sizes : sequence of (width, height)
        Of each box.
    edges : sequence of (from, to)
        Numbers of boxes; the same edge may stand more than once.

    Returns
    -------
    Layout
    """
    layer_of = assign_layers(len(sizes), edges)
    widths = [width for width, _ in sizes]
    chains, links = add_bends(edges, layer_of, widths)
    layers: list[list[int]] = [[] for _ in range(max(layer_of, default=-1) + 1)]
    for vertex, layer in enumerate(layer_of):
        layers[layer].append(vertex)
    above, below = neighbours(len(widths), links)
    layers = fewest_crossings(layers, above, below)
    x = straighten(layers, widths, above, below, real=len(sizes))

    y = [0.0] * len(widths)
    bottom = 0.0
    for members in layers:
        height = max((sizes[v][1] for v in members if v < len(sizes)), default=0.0)
        for vertex in members:
            y[vertex] = bottom + height / 2
        bottom += height + GAP_Y
    left = min((a - w / 2 for a, w in zip(x, widths, strict=True)), default=0.0)
    x = [a - left for a in x]

    centres = list(zip(x, y, strict=True))
    right = max((a + w / 2 for a, w in zip(x, widths, strict=True)), default=0.0)
    routes = route(edges, chains, centres, sizes)
    return Layout(centres[: len(sizes)], routes, right, max(bottom - GAP_Y, 0.0))


def assign_layers(count: int, edges: Sequence[Edge]) -> list[int]:
    """A layer for each vertex: below everything it depends on, and sources close to their use."""
    waiting = [0] * count
    successors: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        successors[a].append(b)
        waiting[b] += 1
    sources = [v for v in range(count) if not waiting[v]]
    layer, ready = [0] * count, list(sources)
    while ready:
        a = ready.pop()
        for b in successors[a]:
            layer[b] = max(layer[b], layer[a] + 1)
            waiting[b] -= 1
            if not waiting[b]:
                ready.append(b)
    for a in sources:
        if successors[a]:
            layer[a] = min(layer[b] for b in successors[a]) - 1
    return layer


def add_bends(
    edges: Sequence[Edge], layer_of: list[int], widths: list[float]
) -> tuple[list[list[int]], list[Edge]]:
    """Give each edge a vertex in every layer it passes; returns the chains and all short links."""
    chains: list[list[int]] = []
    links: list[Edge] = []
    for a, b in edges:
        chain = [a]
        for layer in range(layer_of[a] + 1, layer_of[b]):
            chain.append(len(layer_of))
            layer_of.append(layer)
            widths.append(BEND_WIDTH)
        chain.append(b)
        chains.append(chain)
        links.extend(pairwise(chain))
    return chains, links


def neighbours(count: int, links: Sequence[Edge]) -> tuple[list[list[int]], list[list[int]]]:
    """For each vertex those it is linked to in the layer above and in the layer below."""
    above: list[list[int]] = [[] for _ in range(count)]
    below: list[list[int]] = [[] for _ in range(count)]
    for a, b in links:
        above[b].append(a)
        below[a].append(b)
    return above, below


def fewest_crossings(
    layers: list[list[int]], above: list[list[int]], below: list[list[int]]
) -> list[list[int]]:
    """Sort layers by the mean place of the neighbours, down and up in turn; keep the best."""
    layers = [list(layer) for layer in layers]
    best, fewest = [list(layer) for layer in layers], crossings(layers, below)
    for sweep in range(SWEEPS):
        downward = sweep % 2 == 0
        order = range(1, len(layers)) if downward else range(len(layers) - 2, -1, -1)
        beside = above if downward else below
        for number in order:
            fixed = layers[number - 1 if downward else number + 1]
            place = {v: i for i, v in enumerate(fixed)}
            means = {
                v: mean([place[u] for u in beside[v]], otherwise=i)
                for i, v in enumerate(layers[number])
            }
            layers[number].sort(key=means.__getitem__)
        count = crossings(layers, below)
        if count < fewest:
            best, fewest = [list(layer) for layer in layers], count
    return best


def mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def crossings(layers: list[list[int]], below: list[list[int]]) -> int:
    """How many pairs of links cross: inversions between the order above and the order below."""
    total = 0
    for upper, lower in pairwise(layers):
        place = {v: i for i, v in enumerate(lower)}
        seen: list[int] = []
        for a in upper:
            ends = sorted(place[b] for b in below[a])
            total += sum(len(seen) - bisect_left(seen, end + 1) for end in ends)
            for end in ends:
                insort(seen, end)
    return total


def straighten(
    layers: list[list[int]],
    widths: list[float],
    above: list[list[int]],
    below: list[list[int]],
    real: int,
) -> list[float]:
    """Horizontal centres: each vertex near the mean of its neighbours, in order, not touching."""
    x = [0.0] * len(widths)
    for layer in layers:
        spread(layer, [0.0] * len(layer), widths, x, real)
    for sweep in range(4 * SWEEPS):
        order = layers if sweep % 2 == 0 else layers[::-1]
        for layer in order:
            near = [above[v] + below[v] for v in layer]
            wanted = [mean([x[u] for u in us], x[v]) for v, us in zip(layer, near, strict=True)]
            spread(layer, wanted, widths, x, real)
    return x


def spread(
    layer: list[int], wanted: list[float], widths: list[float], x: list[float], real: int
) -> None:
    """Set x of one layer as close to `wanted` as order and gaps allow (least squares).

    Measured from where tightly packed boxes would stand, the places must not decrease: isotonic
    regression, solved by merging neighbours that are in the wrong order into blocks.
    Bends pull harder than boxes, to keep long edges straight.
    """
    packed, position = [], 0.0
    for i, v in enumerate(layer):
        if i:
            position += (widths[layer[i - 1]] + widths[v]) / 2 + GAP_X
        packed.append(position)
    blocks: list[list[float]] = []  # [sum of weight * offset, weight, members]
    for v, want, base in zip(layer, wanted, packed, strict=True):
        weight = 1.0 if v < real else 4.0
        blocks.append([weight * (want - base), weight, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] >= blocks[-1][0] / blocks[-1][1]:
            last = blocks.pop()
            blocks[-1] = [p + q for p, q in zip(blocks[-1], last, strict=True)]
    offsets = [total / weight for total, weight, members in blocks for _ in range(int(members))]
    for v, base, offset in zip(layer, packed, offsets, strict=True):
        x[v] = base + offset


def route(
    edges: Sequence[Edge], chains: list[list[int]], centres: list[Point], sizes: Sequence[Point]
) -> list[list[Point]]:
    """Each edge's points; the edges into a box arrive side by side, in the order they come from."""
    arriving: dict[int, list[int]] = {}
    for number, (_, b) in enumerate(edges):
        arriving.setdefault(b, []).append(number)
    routes: list[list[Point]] = [[] for _ in edges]
    for b, numbers in arriving.items():
        numbers.sort(key=lambda number: centres[chains[number][-2]][0])
        (x, y), (width, height) = centres[b], sizes[b]
        for place, number in enumerate(numbers, start=1):
            a, *bends = chains[number][:-1]
            start = centres[a][0], centres[a][1] + sizes[a][1] / 2
            end = x + width * (place / (len(numbers) + 1) - 0.5), y - height / 2
            routes[number] = [start, *(centres[bend] for bend in bends), end]
    return routes
