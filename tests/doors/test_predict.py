"""What predict answers for good, bad and hostile files."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

import minissr
from minissr import predict
from minissr.data.images import read_picture
from minissr.faces.answers import Answer
from tests.doors.conftest import Run

FIELDS = ["file", "face", "box", "age", "raw_age", "status", "message"]
NUMPY = ["--backend", "numpy"]


def rows_of(call: Run, trained: Path, *arguments: object) -> list[dict]:
    code, out, err = call(predict, *arguments, "--weights", trained, "--json", "-", *NUMPY)
    assert code == 0, err
    return json.loads(out)


def test_files_folders_and_patterns(call: Run, trained: Path, pictures: Path) -> None:
    rows = rows_of(call, trained, pictures / "a.png", pictures, f"{pictures}/**/c*")
    names = [os.path.relpath(row["file"], pictures) for row in rows]
    assert names == ["a.png", "b.png", "below/c.png", "broken.jpg"]
    assert [row["status"] for row in rows] == ["ok", "ok", "ok", "error"]
    assert all(list(row) == FIELDS for row in rows)


def test_ages_are_those_of_the_estimator(call: Run, trained: Path, pictures: Path) -> None:
    (row,) = rows_of(call, trained, pictures / "a.png")
    face = read_picture(pictures / "a.png")
    (age,) = minissr.load(trained, backend="numpy").predict(face[None])
    assert row["raw_age"] == pytest.approx(float(age))
    assert row["age"] == min(max(row["raw_age"], 0), 101)
    assert row["box"] == [0, 0, 64, 64]


def test_a_picture_of_any_size_is_one_face(call: Run, trained: Path, tmp_path: Path) -> None:
    from minissr.data.images import opencv

    opencv().imwrite(str(tmp_path / "wide.png"), np.zeros((90, 200, 3), np.uint8))
    (row,) = rows_of(call, trained, tmp_path / "wide.png")
    assert row["box"] == [0, 0, 200, 90]


def test_ages_are_clamped_where_shown_and_kept_where_written(
    call: Run, trained: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minissr.estimator import Estimator

    monkeypatch.setattr(Estimator, "predict", lambda self, faces: np.float32([-7.5] * len(faces)))
    (row,) = rows_of(call, trained, pictures / "a.png")
    assert (row["age"], row["raw_age"]) == (0, -7.5)
    code, out, _ = call(predict, pictures / "a.png", "--weights", trained, *NUMPY)
    assert code == 0
    assert "0.0 years" in out
    assert "the network says -7.5" in out


def test_an_answer_that_is_no_number_is_an_error_row(
    call: Run, trained: Path, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minissr.estimator import Estimator

    answers = {"predict": lambda self, faces: np.float32([np.nan, 30, np.inf])}
    monkeypatch.setattr(Estimator, "predict", answers["predict"])
    rows = rows_of(call, trained, pictures)
    assert [row["status"] for row in rows] == ["error", "ok", "error", "error"]
    assert rows[0]["age"] is None


def test_json_has_no_word_for_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="JSON"):
        predict.as_json([Answer("a.png", age=30.0, stages=[{"width": [float("nan")]}])])


def test_the_table_names_every_file_and_what_ails_it(
    call: Run, trained: Path, pictures: Path
) -> None:
    code, out, err = call(predict, pictures, pictures / "none.jpg", "--weights", trained, *NUMPY)
    assert code == 0
    assert "cropped face" in err
    assert out.count(" years  ") == 3
    assert "broken.jpg: is no picture" in out
    assert "none.jpg: there is no such file" in out


def test_csv(call: Run, trained: Path, pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "ages.csv"
    code, _, _ = call(predict, pictures, "--weights", trained, "--csv", file, *NUMPY)
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert list(rows[0]) == FIELDS
    assert rows[0]["box"] == "0 0 64 64"
    assert 0 <= float(rows[0]["age"]) <= 101
    assert rows[-1]["status"] == "error"


def test_explain_says_what_each_stage_adds(call: Run, trained: Path, pictures: Path) -> None:
    (row,) = rows_of(call, trained, pictures / "a.png", "--explain")
    assert len(row["stages"]) == 3
    total = sum(stage["contribution"] for stage in row["stages"])
    assert total == pytest.approx(row["raw_age"], rel=1e-5)
    arguments = [pictures / "a.png", "--weights", trained, "--explain", *NUMPY]
    assert call(predict, *arguments)[1].count("stage ") == 3


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("none.jpg", "there is no such file"),
        ("*.jpg", "there is no such file"),
        ("empty", "is a folder without pictures"),
        ("pipe", "is no ordinary file"),
        ("zero.png", "is an empty file"),
        ("text.png", "is no picture"),
        ("huge.png", "megapixels"),
        ("dot.png", "1x1 pixels"),
    ],
)
def test_nothing_usable_is_exit_2_and_a_sentence(
    call: Run, trained: Path, tmp_path: Path, path: str, says: str
) -> None:
    from minissr.data.images import opencv

    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero.png").touch()
    (tmp_path / "text.png").write_text("text")
    opencv().imwrite(str(tmp_path / "dot.png"), np.zeros((1, 1, 3), np.uint8))
    header = (20_000).to_bytes(4, "big") * 2 + b"\x08\x02\x00\x00\x00"
    (tmp_path / "huge.png").write_bytes(
        b"\x89PNG\r\n\x1a\n" + (13).to_bytes(4, "big") + b"IHDR" + header + bytes(4)
    )
    code, out, err = call(predict, tmp_path / path, "--weights", trained, *NUMPY)
    assert code == 2
    assert says in err.splitlines()[-1]
    assert says not in out  # once is enough


def test_names_can_not_move_the_cursor(call: Run, trained: Path, tmp_path: Path) -> None:
    name = tmp_path / "a\x1b[2Jb\nc.png"
    name.write_text("text")
    (tmp_path / os.fsdecode(b"\xff.png")).write_text("text")
    code, out, err = call(predict, tmp_path, "--weights", trained, *NUMPY)
    assert code == 2
    assert "\x1b" not in out + err
    assert "a\\x1b[2Jb\\nc.png" in out
    code, out, _ = call(predict, tmp_path, "--weights", trained, "--json", "-", *NUMPY)
    assert str(name) in [row["file"] for row in json.loads(out)]


def test_without_weights_it_says_how_to_get_some(
    call: Run, pictures: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("minissr.training.network.WEIGHTS", tmp_path)
    code, _, err = call(predict, pictures)
    assert code == 2
    assert "minissr.train" in err
    assert "--weights" in err


def test_a_shipped_network_is_found_by_name(
    call: Run, pictures: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("minissr.training.network.WEIGHTS", tmp_path)
    (tmp_path / "ours.safetensors").write_bytes((trained / "best.safetensors").read_bytes())
    assert call(predict, pictures, *NUMPY)[0] == 0
    assert call(predict, pictures, "--weights", "ours", *NUMPY)[0] == 0
    code, _, err = call(predict, pictures, "--weights", "our", *NUMPY)
    assert code == 3
    assert "did you mean ours?" in err


def test_copies_with_the_age_below(
    call: Run, trained: Path, pictures: Path, tmp_path: Path
) -> None:
    """Small and large pictures, two of one name, and one that can't be used."""
    from minissr.data.images import opencv

    opencv().imwrite(str(tmp_path / "a.png"), np.full((3000, 1500, 3), 90, np.uint8))
    out = tmp_path / "with" / "ages"
    arguments = [pictures, tmp_path / "a.png", "--weights", trained, "--save-images", out, *NUMPY]
    code, _, err = call(predict, *arguments)
    assert code == 0, err
    sizes = {path.name: read_picture(path).shape[:2] for path in out.iterdir()}
    assert sizes.keys() == {"a.png", "b.png", "c.png", "a-2.png"}
    assert sizes["b.png"][1] == 160  # 64 pixels, enlarged until the letters can be read
    assert sizes["a-2.png"][1] == 512
    copy = read_picture(out / "b.png")
    assert (copy[160:] < 80).any()  # letters
    assert (copy[160:, 0] == 255).all()  # on white
    code, _, err = call(predict, *arguments)
    assert code == 2
    assert "is not empty" in err
    assert err.count("\n") == 1
    arguments[arguments.index(out)] = tmp_path / "a.png"
    code, _, err = call(predict, *arguments)
    assert code == 3
    assert "a.png can't be written" in err


def test_two_outputs_can_not_share_standard_output(call: Run, pictures: Path) -> None:
    code, _, err = call(predict, pictures, "--json", "-", "--csv", "-")
    assert code == 2
    assert "would mix" in err


def test_two_outputs_can_not_share_a_file(call: Run, pictures: Path, tmp_path: Path) -> None:
    file = tmp_path / "ages"
    code, _, err = call(predict, pictures, "--json", file, "--csv", tmp_path / "." / "ages")
    assert code == 2
    assert "give each its own file" in err
    assert not file.exists()


@pytest.mark.parametrize("csv_too", [False, True])
def test_a_name_that_the_terminal_can_not_show_is_escaped(
    trained: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, csv_too: bool
) -> None:
    for name in ("a\xfc.png", "b.png"):
        (tmp_path / name).write_bytes((pictures / "a.png").read_bytes())
    arguments = [str(tmp_path), "--weights", str(trained), *NUMPY, *["--csv", "-"] * csv_too]
    terminal = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(terminal, "ascii"))
    assert predict.main(arguments) == 0
    predict.sys.stdout.flush()
    first, second = terminal.getvalue().decode().splitlines()[-2:]
    assert "a\\xfc.png" in first
    assert "b.png" in second
