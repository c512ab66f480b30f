"""From a checkpoint to a network: what is refused although its digest is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from minissr.data.preprocessing import Preprocessing
from minissr.errors import CheckpointError
from minissr.models import registry
from minissr.training.checkpoint import save_checkpoint
from minissr.training.network import load_network
from minissr.training.state import named


@pytest.fixture
def contents() -> tuple[dict[str, np.ndarray], dict]:
    """A network's arrays and the metadata of its checkpoint."""
    model = registry.build("ssrnet", rng=np.random.default_rng(0))
    about = {"model": model.config(), "preprocessing": Preprocessing().to_json()}
    return model.state_dict(), about


@pytest.mark.parametrize(
    ("ending", "number", "says"),
    [
        (".w", np.nan, "has numbers that aren't finite"),
        (".b", np.inf, "has numbers that aren't finite"),
        ("moving_mean", -np.inf, "has numbers that aren't finite"),
        ("moving_variance", -1.0, "has variances below 0"),
    ],
)
def test_numbers_that_no_training_leaves_are_refused(
    contents: tuple[dict, dict], tmp_path: Path, ending: str, number: float, says: str
) -> None:
    state, about = contents
    path = tmp_path / "x.safetensors"
    save_checkpoint(path, named("model", state), about)
    load_network(path)
    name = next(name for name in state if name.endswith(ending))
    state[name] = state[name].copy()
    state[name].flat[-1] = number
    save_checkpoint(path, named("model", state), about)
    with pytest.raises(CheckpointError, match=f"{name} {says}; use another copy"):
        load_network(path)
