"""One tiny trained network, and pictures to try it on, for all doors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from minissr import cli
from minissr.training import figures
from tests.training.tiny import TINY, run_train

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a tiny network, trained for two epochs."""
    run = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "png", lambda figure: b"not drawn")
        assert run_train(*TINY, "--out", str(run)) == 0
    return run


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Run:
    """call(door, *arguments) -> exit code, standard output, standard error."""

    def run(door: ModuleType, *arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = cli.run(lambda: door.main([str(a) for a in arguments]))
        except SystemExit as stop:  # argparse has spoken
            code = int(stop.code or 0)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return run


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three drawn faces, one below, and files that aren't pictures."""
    from minissr.data.images import opencv
    from minissr.data.synthetic import draw_faces

    cv2 = opencv()
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "below").mkdir()
    images, _, _ = draw_faces(3, stream="test")
    for name, image in zip(("a.png", "b.png", "below/c.png"), images, strict=True):
        assert cv2.imwrite(str(folder / name), image[..., ::-1])
    (folder / "notes.txt").write_text("not a picture")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 this is no JPEG")
    return folder
