"""Rung 7: how much a training step and an inference pass ask of the device, held to a budget."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import gpu_model

MOST_TRAINING, MOST_INFERENCE = 70, 15  # launches and copies
BATCH = 50  # bytes a batch are compared with bytes a batch
# Bytes over those of the fused ideal. 1.5 is what inference is held to. Training is far from it;
# README tells what of.
MOST_BYTES = {"inference pass": 1.5, "training step": 3.5}


@pytest.fixture(scope="module")
def passes() -> tuple[gpu_model.Pass, gpu_model.Pass]:
    from tests import cuda_emulator
    from tests.cuda_emulator.build import why_not

    if reason := why_not():
        pytest.skip(reason)
    try:
        return gpu_model.record_passes(BATCH)
    finally:
        cuda_emulator.uninstall()


@pytest.mark.gpu_rungs
def test_launches_are_within_their_budgets(passes: Any) -> None:
    training, inference = passes
    assert len(training.launches) <= MOST_TRAINING
    assert len(inference.launches) <= MOST_INFERENCE


@pytest.mark.gpu_rungs
def test_bytes_are_within_their_budgets(passes: Any) -> None:
    for done in passes:
        assert 1 <= done.excess <= MOST_BYTES[done.name], done.name


@pytest.mark.gpu_rungs
def test_the_convolutions_are_counted(passes: Any) -> None:
    """Against the multiply-adds that the network's own summary counts."""
    import numpy as np

    from minissr.models.ssrnet import SSRNet
    from minissr.models.summary import trace

    rows = trace(SSRNet(), np.zeros((1, 64, 64, 3), np.uint8))
    inference = passes[1]
    assert inference.flops / BATCH == pytest.approx(2 * sum(row.macs for row in rows), rel=0.1)


@pytest.mark.gpu_rungs
def test_a_bound_is_a_bound(passes: Any) -> None:
    for done in passes:
        for card in gpu_model.CARDS:
            assert 0 < done.ideal_bound(card) <= done.bound(card)
            assert done.bound(card) >= done.flops / card.flops
        assert "nothing was measured on a GPU" in gpu_model.table(done)


def test_a_launch_takes_as_long_as_the_slower_of_the_two() -> None:
    card = gpu_model.Card("a card", flops=1e12, bandwidth=1e11, link=1e10)
    assert gpu_model.Launch("kernel", "k", 10**9, 1e9).seconds(card) == pytest.approx(1e-2)
    assert gpu_model.Launch("kernel", "k", 10**6, 1e12).seconds(card) == pytest.approx(1.0)
    assert gpu_model.Launch("to host", "get", 10**9, 0).seconds(card) == pytest.approx(0.1)
