"""How long inference and a training step take, backends and threads taking turns (lesson 18).

    python -m lessons.studies.speed        writes lessons/studies/results/speed.json

Under a minute. Run it while nothing else runs; what it says is about one machine on one day.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lessons.studies.common import write_results
from minissr import no_grad, use_backend
from minissr.data.synthetic import draw_faces
from minissr.kernels.threads import set_threads
from minissr.models.registry import build

REPEATS = 15
CASES = [("numpy", 1, 8), ("numba", 1, 8), ("numba", 1, 64), ("numba", 2, 64)]


def inference(backend: str, threads: int, batch: int) -> Callable[[], np.ndarray]:
    """A function that predicts `batch` faces."""
    faces = draw_faces(batch, stream="test")[0]
    model = build("ssrnet", rng=np.random.default_rng(0)).to(backend).eval()

    def run() -> np.ndarray:
        if backend == "numba":
            set_threads(threads)
        with use_backend(backend), no_grad():
            return model(faces).numpy()

    return run


def main() -> None:
    """Time every case once a round, round after round."""
    runs = {case: inference(*case) for case in CASES}
    answers = {case: run() for case, run in runs.items()}  # also compiles and warms up
    first = answers[CASES[0]]
    for case, ages in answers.items():
        if not np.allclose(ages[: len(first)], first, rtol=1e-3, atol=1e-2):
            raise SystemExit(f"{case} computes other ages than {CASES[0]}")
    times: dict[tuple[str, int, int], list[float]] = {case: [] for case in CASES}
    for _ in range(REPEATS):
        for case, run in runs.items():
            started = time.perf_counter()
            run()
            times[case].append(1e3 * (time.perf_counter() - started))
    cases: list[dict[str, Any]] = [
        {"backend": backend, "threads": threads, "batch": batch,
         "ms": [round(ms, 3) for ms in times[backend, threads, batch]]}
        for backend, threads, batch in CASES
    ]  # fmt: skip
    write_results("speed", "python -m lessons.studies.speed", {"cases": cases})


if __name__ == "__main__":
    main()
