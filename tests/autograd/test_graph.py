"""The picture of the graph: everything in it, nothing on top of anything else."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minissr import Tensor, ops, use_backend
from minissr.autograd import graph
from minissr.autograd.layout import GAP_X, layered


def small_network() -> Tensor:
    rng = np.random.default_rng(0)

    def parameter(name: str, *shape: int) -> Tensor:
        return Tensor(rng.standard_normal(shape), requires_grad=True, name=name)

    with use_backend("numpy"):
        x = Tensor(rng.standard_normal((2, 8, 8, 3)), name="images")
        maps = ops.relu(ops.conv2d(x, parameter("conv.w", 3, 3, 3, 4), parameter("conv.b", 4)))
        features = ops.flatten(ops.avg_pool(maps) * ops.max_pool(maps))
        p = ops.softmax(ops.dense(features, parameter("p.w", 36, 6)))
        eta, delta = ops.tanh(p), ops.tanh(p[:, :2]) * 0.9
        age = ops.soft_stagewise_regression(p, eta, delta, stages=(3, 3))
        return ops.mae(age, np.array([20.0, 30.0]))


def texts(svg: str) -> list[str]:
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


def test_svg_names_ops_leaves_shapes_and_types() -> None:
    written = texts(graph.to_svg(small_network()))
    for text in (
        "Conv2d", "Relu", "AvgPool", "MaxPool", "SoftStagewiseRegression", "MeanAbsoluteError",
        "conv.w", "images", "p.w", "0.9", "(2, 8, 8, 3) float64", "(3, 3, 3, 4) float64",
        "scalar float64",
    ):  # fmt: skip
        assert text in written


def test_svg_is_self_contained_and_escaped() -> None:
    x = Tensor(np.ones(2), requires_grad=True, name="<a & b>")
    svg = graph.to_svg(x * x)
    assert "<a & b>" in texts(svg)
    assert svg.count("http") == 1  # the name space, and nothing to load
    assert "<image" not in svg
    assert "<script" not in svg


def test_a_tensor_used_twice_is_one_box_with_two_edges() -> None:
    x = Tensor(np.ones(2), requires_grad=True, name="x")
    boxes, edges = graph.boxes_of((x * x).sum())
    assert sorted(box.lines[0] for box in boxes) == ["Multiply", "Sum", "x"]
    assert sorted(edges) == [(0, 1), (2, 0), (2, 0)]


def test_kinds_differ_by_more_than_colour() -> None:
    x = Tensor(np.ones(2), requires_grad=True)
    boxes, _ = graph.boxes_of(x * 2.0 + Tensor(np.ones(2)))
    looks = {(box.kind, box.corner, tuple(graph.borders(box))) for box in boxes}
    assert {kind for kind, *_ in looks} == {"leaf", "constant", "op", "result"}
    assert len({look[1:] for look in looks}) == 4


def test_a_leaf_alone() -> None:
    assert "weights" in texts(graph.to_svg(Tensor([1.0], requires_grad=True, name="weights")))


def test_optional_inputs_left_out_are_not_drawn() -> None:
    x, w = (Tensor(np.ones((2, 2)), requires_grad=True) for _ in "ab")
    boxes, edges = graph.boxes_of(ops.dense(x, w))
    assert len(boxes) == 3
    assert len(edges) == 2


def test_a_freed_graph_says_how_to_keep_it() -> None:
    loss = small_network()
    with use_backend("numpy"):
        loss.backward(retain_graph=True)
        graph.to_svg(loss)
        loss.backward()
    with pytest.raises(ValueError, match=r"already freed by backward\(\); draw it before, or pass"):
        graph.to_svg(loss)


def test_a_graph_too_large_to_look_at() -> None:
    x = Tensor(np.ones(1), requires_grad=True)
    for _ in range(3000):
        x = x + 1.0
    with pytest.raises(ValueError, match=r"6001 boxes is too large .* at most 1000"):
        graph.to_svg(x)


def test_the_same_graph_gives_the_same_text() -> None:
    assert graph.to_svg(small_network()) == graph.to_svg(small_network())


def test_matplotlib_draws_the_same_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    loss = small_network()
    boxes, edges = graph.boxes_of(loss)
    ax = graph.draw(loss)
    lines = sum(len(box.lines) for box in boxes)
    frames = sum(len(graph.borders(box)) for box in boxes)
    assert len(ax.patches) == lines + frames + 2 * len(edges)  # an edge is a curve and a tip
    ax.figure.canvas.draw()
    image = np.asarray(ax.figure.canvas.buffer_rgba())
    assert (image[..., :3].min(axis=2) < 60).mean() > 0.01  # there is ink
    pyplot.close(ax.figure)

    figure, given = pyplot.subplots(figsize=(3, 3))
    assert graph.draw(loss, given) is given
    pyplot.close(figure)


# ---- the layout -------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[float, float]], list[tuple[int, int]]]:
    count = draw(st.integers(1, 15))
    sizes = [(draw(st.floats(20, 200)), draw(st.floats(20, 50))) for _ in range(count)]
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    edges = [(min(pair), max(pair)) for pair in draw(st.lists(pairs, max_size=30))]
    return sizes, [(a, b) for a, b in edges if a != b]


@given(graphs())
def test_boxes_do_not_touch_and_edges_point_down(drawn) -> None:
    sizes, edges = drawn
    layout = layered(sizes, edges)
    for i, ((x, y), (w, h)) in enumerate(zip(layout.centres, sizes, strict=True)):
        assert x - w / 2 >= -1e-6
        assert x + w / 2 <= layout.width + 1e-6
        assert y - h / 2 >= -1e-6
        assert y + h / 2 <= layout.height + 1e-6
        for (x2, y2), (w2, h2) in zip(layout.centres[:i], sizes[:i], strict=True):
            apart = abs(x - x2) >= (w + w2) / 2 + GAP_X - 1e-6
            assert apart or abs(y - y2) >= (h + h2) / 2 - 1e-6
    for (a, b), points in zip(edges, layout.routes, strict=True):
        heights = [y for _, y in points]
        assert heights == sorted(heights)
        assert layout.centres[a][1] < layout.centres[b][1]
        assert points[0][0] == layout.centres[a][0]
        assert abs(points[-1][0] - layout.centres[b][0]) < sizes[b][0] / 2


def test_no_crossing_where_none_is_needed() -> None:
    """Two chains side by side, their boxes numbered alternately."""
    layout = layered([(30, 20)] * 6, [(0, 3), (1, 2), (2, 5), (3, 4)])
    x = [centre[0] for centre in layout.centres]
    assert (x[0] < x[1]) == (x[3] < x[2]) == (x[4] < x[5])
    assert x[0] == pytest.approx(x[3]) == pytest.approx(x[4])
