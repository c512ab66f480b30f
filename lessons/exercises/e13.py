"""The exercises of lesson 13: the network."""

import numpy as np

from lessons.check import exercise
from lessons.checking import attempted, call, compare, require, same
from lessons.solutions import e13 as right
from minissr.models import registry


@exercise(
    "13.1",
    "map_sizes",
    (
        "A 3x3 convolution without padding: 64 -> 62. Pooling 2x2: 62 -> 31.",
        "An odd last row is dropped: 29 -> 14. In Python: 29 // 2.",
        "size = (size - 2) // 2, once for each block, collected in a list.",
    ),
)
def map_sizes(answer):
    cases = [{"size": size, "blocks": n} for size, n in ((4, 1), (7, 1), (64, 2), (64, 4), (99, 4))]
    same(answer, right.map_sizes, cases, name="map_sizes")


@exercise(
    "13.2",
    "stream_count",
    (
        "One block: 9 c_in c_out weights, c_out biases, and four numbers a channel of batch norm.",
        "c_in is 3 for the first block; for the others it is c_out.",
        "(9 * 3 * c + 5 * c) + (blocks - 1) * (9 * c * c + 5 * c).",
    ),
)
def stream_count(answer):
    cases = [{"channels": c, "blocks": n} for c, n in ((1, 1), (2, 1), (2, 2), (16, 4), (32, 4))]
    same(answer, right.stream_count, cases, name="stream_count")


def block_case(n, features, bins, seed=13):
    """Inputs and weights of a prediction block, half of the units alive."""
    rng = np.random.default_rng(seed)
    sizes = {"s": (features, bins), "x": (features, bins), "mix": (bins, 2 * bins),
             "p": (2 * bins, bins), "eta": (2 * bins, bins)}  # fmt: skip
    weights = {
        name: (rng.normal(0, 1, shape).round(2), rng.normal(0, 1, shape[1]).round(2))
        for name, shape in sizes.items()
    }
    s, x = rng.uniform(0, 1, (2, n, features)).round(2)
    return {"s": s, "x": x, "weights": weights}


@exercise(
    "13.3",
    "prediction_block",
    (
        "x @ w + b is a dense layer. Which activations follow? See the cell with `stage`.",
        "ReLU after s, x, mix and p, tanh after eta; the product is taken after the ReLUs.",
        "mixed = relu(dense(s)) * relu(dense(x)); mixed = relu(dense_mix(mixed)); then p and eta.",
    ),
)
def prediction_block(answer):
    cases = [block_case(1, 2, 1, seed) for seed in range(4)]
    cases += [block_case(n, 4, 3, seed) for n in (1, 3) for seed in range(4)]
    for case in cases:
        got = call(answer, case, name="prediction_block")
        compare(got, right.prediction_block(**case), case, name="prediction_block")


@exercise(
    "13.4",
    "smaller",
    (
        "Which blocks have most of the numbers? Which two settings are they the product of?",
        "filters_x is 32, filters_s 16, compact 10; a stream grows with the square of its filters.",
        '{"filters_x": 20} saves most of it; lower filters_s or compact a little too.',
    ),
)
def smaller(answer):
    settings = attempted(answer() if callable(answer) else answer)
    try:
        network = registry.build("ssrnet", **{"variant": "released", **settings})
    except (TypeError, ValueError) as error:
        require(False, f"smaller() = {settings} builds no network: {error}")
    chosen = network.settings
    require(tuple(chosen.stages) == (3, 3, 3), f"stages are {chosen.stages}, not (3, 3, 3)")
    require(chosen.image_size == 64, f"the network takes {chosen.image_size} pixels, not 64")
    count = network.parameter_count()
    require(count <= 20_000, f"{settings} has {count:,} numbers; at most 20,000")


WRONG = {
    "13.1": [
        lambda size, blocks: [size // 2 ** (i + 1) for i in range(blocks)],  # padding assumed
        lambda size, blocks: [-(-(size - 2) // 2)] * blocks,
    ],
    "13.2": [
        lambda channels, blocks: blocks * (9 * channels * channels + 5 * channels),
        lambda channels, blocks: right.stream_count(channels, blocks) - 2 * channels * blocks,
    ],
    "13.3": [
        lambda s, x, weights: right.prediction_block(x, s, weights),
        lambda s, x, weights: (right.prediction_block(s, x, weights)[1],) * 2,
    ],
    "13.4": [lambda: {"stages": (3,)}, lambda: {"filters_x": 30}, lambda: {"filters_z": 1}],
}
