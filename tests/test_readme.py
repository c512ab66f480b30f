"""README's promises: its snippet runs and prints what its comments say, its commands exist."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from importlib import import_module

import pytest

from minissr.cli import VERBS
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def test_first_two_shell_blocks_are_one_command_each():
    install_and_train, install_and_test = blocks("sh")[:2]
    assert "minissr.train" in install_and_train
    assert "pytest" in install_and_test
    assert install_and_train.count("\n") == install_and_test.count("\n") == 1


def test_snippet_prints_what_its_comments_say():
    (snippet,) = blocks("python")
    promised = [line.split("  # ")[1] for line in snippet.splitlines() if line.startswith("print")]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(snippet, "README.md", "exec"), {})
    assert printed.getvalue().splitlines() == promised


COMMANDS = re.findall(r"^    python -m minissr\.(\w+)(.*)$", README, flags=re.MULTILINE)


@pytest.mark.parametrize(("verb", "arguments"), COMMANDS)
def test_every_command_shown_parses(verb, arguments):
    assert verb in VERBS
    import_module(f"minissr.{verb}").build_parser().parse_args(shlex.split(arguments))
