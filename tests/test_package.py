"""What `import minissr` and `--help` cost: nothing is loaded that isn't used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from minissr.cli import USAGE, VERBS, entry

HEAVY = ("numba", "cv2", "matplotlib", "cupy", "torch", "onnx", "tqdm", "safetensors")


def loaded_after(code: str) -> set[str]:
    """The top-level modules in a fresh interpreter after `code`."""
    script = f"{code}\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.parametrize(
    "code",
    [
        "import minissr",
        "import minissr; minissr.Tensor; minissr.no_grad; minissr.use_backend",
        *(f"import minissr.{verb} as door; door.build_parser()" for verb in VERBS),
    ],
)
def test_loads_nothing_heavy(code):
    assert loaded_after(code).isdisjoint(HEAVY)


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_one_worked_example(verb):
    done = subprocess.run(
        [sys.executable, "-m", f"minissr.{verb}", "--help"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert "example" in done.stdout
    assert f"minissr.{verb}" in done.stdout


def test_umbrella_lists_every_verb(capsys):
    assert entry(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(verb in printed for verb in VERBS)
    assert entry([]) == 2
    assert entry(["fly"]) == 2
    assert "no verb 'fly'" in capsys.readouterr().err
    assert USAGE.count("minissr") > 1


def test_what_ships_has_its_card_and_its_notice():
    """Weights without their terms must not leave the house."""
    from minissr.training.network import WEIGHTS, load_network, shipped

    for name in shipped():
        network = load_network(name)
        assert network.about["licence"]
        (card,) = [path for path in WEIGHTS.glob("*.md") if name.startswith(path.stem)]
        assert network.sha256 in card.read_text()
        assert network.model.parameter_count() <= 40_915
