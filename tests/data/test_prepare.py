"""The command `python -m minissr.prepare`: what a person types, what they get."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minissr import cli
from minissr.data.images import opencv
from minissr.data.opening import open_dataset
from minissr.errors import DataError
from minissr.prepare import build_parser, main
from tests.data.drawings import (
    as_folder,
    as_tar,
    as_zip,
    drawing,
    encoded,
    huge_png,
    labels_csv,
    picture,
)

FILES = {f"{20 + seed}_0_1_2017010100000{seed}.jpg.chip.jpg": picture(seed) for seed in range(10)}


@pytest.fixture
def door(capsys):
    """Run the command: exit code, standard output, last line of standard error."""

    def run(*argv):
        code = cli.run(lambda: main([str(a) for a in argv]))
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return code, said.out, said.err.rstrip("\n").rpartition("\n")[2]

    return run


@pytest.fixture
def folder(tmp_path):
    return as_folder(tmp_path / "in", FILES)


def test_folder_tar_and_zip_give_the_same_bytes(door, tmp_path):
    inside = {f"UTKFace/{name}": data for name, data in FILES.items()}
    places = [
        as_folder(tmp_path / "UTK", inside),
        as_tar(tmp_path / "UTK.tar", dict(reversed(inside.items()))),
        as_tar(tmp_path / "UTK.tgz", inside, "w:gz"),
        as_zip(tmp_path / "UTK.zip", inside),
    ]
    digests = set()
    for i, place in enumerate(places):
        code, out, _ = door("utkface", place, "--out", tmp_path / f"out{i}")
        assert code == 0
        assert "10 faces" in out
        assert "8 train, 2 val (seed 0, validation share 0.2)" in out
        assert "dropped   0" in out
        digests.add(open_dataset(tmp_path / f"out{i}").digest)
        shown = opencv().imread(str(tmp_path / f"out{i}" / "contact.png"))
        assert shown is not None
        assert shown.std() > 30
    assert len(digests) == 1


def test_seed_and_share(door, folder, tmp_path):
    for seed in (0, 1):
        args = ("--seed", seed, "--val-share", 0.5)
        assert door("utkface", folder, "--out", tmp_path / f"out{seed}", *args)[0] == 0
    a, b = (open_dataset(tmp_path / f"out{seed}").splits["val"] for seed in (0, 1))
    assert len(a) == len(b) == 5
    assert set(a.labels["file"]) != set(b.labels["file"])
    meta = json.loads((tmp_path / "out1" / "meta.json").read_text())
    assert meta["split"] == {
        "by": "seed", "seed": 1, "val_share": 0.5, "groups": 10, "divided_groups": 0,
    }  # fmt: skip


def test_folder_source(door, tmp_path):
    folder = as_folder(
        tmp_path / "in",
        {"25/a.png": picture(1, ".png"), "7.5/b.png": picture(2, ".png"), "60_c.jpg": picture(3)},
    )
    code, out, _ = door("folder", folder, "--out", tmp_path / "out")
    assert code == 0
    data = open_dataset(tmp_path / "out")
    ages = {
        file: age
        for faces in data.splits.values()
        for file, age in zip(faces.labels["file"], faces.ages.tolist(), strict=True)
    }
    assert ages == {"25/a.png": 25.0, "7.5/b.png": 7.5, "60_c.jpg": 60.0}
    assert "next: python -m minissr.train --data" in out


def test_groups_and_persons_stay_on_one_side(door, tmp_path):
    files = {f"{i}.png": picture(i, ".png") for i in range(12)}
    files["10.png"] = files["0.png"]  # a copy
    mirrored = drawing(1)[:, ::-1]
    files["11.png"] = encoded(np.ascontiguousarray(mirrored))
    folder = as_folder(tmp_path / "in", files)
    person = {f"{i}.png": f"p{i // 2}" for i in range(2, 10)}
    labels = labels_csv(tmp_path / "l.csv", dict.fromkeys(files, 30), person=person)
    for seed in range(5):
        out = tmp_path / f"out{seed}"
        args = ("--labels", labels, "--seed", seed, "--val-share", 0.4)
        assert door("csv", folder, "--out", out, *args)[0] == 0
        side = {
            file: name
            for name, faces in open_dataset(out).splits.items()
            for file in faces.labels["file"]
        }
        together = [("0.png", "10.png"), ("1.png", "11.png")]
        together += [(f"{i}.png", f"{i + 1}.png") for i in range(2, 10, 2)]
        assert all(side[a] == side[b] for a, b in together)


def test_the_labels_files_split_is_kept_and_its_leaks_are_said(door, tmp_path):
    files = {f"{i}.png": picture(i, ".png") for i in range(6)}
    files["5.png"] = files["0.png"]
    folder = as_folder(tmp_path / "in", files)
    split = {f"{i}.png": "test" if i == 5 else "train" for i in range(6)}
    ages = {f"{i}.png": 20 + i for i in range(6)}
    labels = labels_csv(tmp_path / "l.csv", ages, split=split)
    code, out, _ = door("csv", folder, "--labels", labels, "--out", tmp_path / "out")
    assert code == 0
    assert "5 train, 1 test (as the labels file says)" in out
    assert "divided by the labels file's split: 1 (" in out
    assert "2 pictures have a byte-identical copy labelled with another age" in out
    code, _, said = door(
        "csv", folder, "--labels", labels, "--out", tmp_path / "no", "--val-share", 0.1
    )
    assert code == 2
    assert "--val-share means nothing" in said


SIXTEEN_BITS = encoded(drawing(20).astype(np.uint16) * 257)
BAD = {
    "truncated.jpg": (picture(11)[:-400], "whose end is missing"),
    "tiny.png": (encoded(np.zeros((1, 1, 3), np.uint8)), "is 1x1 pixels"),
    "huge.png": (huge_png(), "400 megapixels"),
    "noise.jpg": (b"no picture at all", "is no picture"),
    "empty.jpg": (b"", "is an empty file"),
}
GOOD = {
    "grey.png": encoded(drawing(21)[:, :, 0]),
    "sixteen.png": SIXTEEN_BITS,
    "alpha.png": encoded(np.dstack([drawing(22), drawing(23)[:, :, 0]])),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_picture_stops_or_is_left_out(name, door, tmp_path):
    data, reason = BAD[name]
    files = {**GOOD, name: data}
    folder = as_folder(tmp_path / "in", files)
    labels = labels_csv(tmp_path / "l.csv", dict.fromkeys(files, 30))
    out = tmp_path / "out"
    code, _, said = door("csv", folder, "--labels", labels, "--out", out)
    assert code == 2
    assert said.startswith(f"minissr: 1 of 4 pictures can't be used: {name} ")
    assert reason in said
    assert "--bad-rows skip" in said
    assert not out.exists()
    code, printed, _ = door("csv", folder, "--labels", labels, "--out", out, "--bad-rows", "skip")
    assert code == 0
    assert "3 faces" in printed
    assert "dropped   1 (1 " in printed
    assert name in printed
    [row] = json.loads((out / "meta.json").read_text())["dropped"]["rows"]
    assert row["file"] == name
    assert reason in row["reason"]


@pytest.mark.parametrize(
    ("age", "said"),
    [("", "has no age"), ("nan", "NaN"), ("-1", "negative"), ("131", "over 130"), ("x", "number")],
)
def test_a_bad_label_stops_or_is_left_out(age, said, door, tmp_path):
    folder = as_folder(tmp_path / "in", GOOD)
    labels = labels_csv(tmp_path / "l.csv", {**dict.fromkeys(GOOD, 30), "grey.png": age})
    args = ("csv", folder, "--labels", labels, "--out", tmp_path / "out")
    code, _, error = door(*args)
    assert code == 2
    assert "grey.png (l.csv line 2)" in error
    assert said in error
    code, printed, _ = door(*args, "--bad-rows", "skip")
    assert code == 0
    assert "2 faces" in printed
    assert "1 bad age" in printed


def test_a_labelled_file_that_is_not_there(door, tmp_path):
    folder = as_folder(tmp_path / "in", GOOD)
    labels = labels_csv(tmp_path / "l.csv", {**dict.fromkeys(GOOD, 30), "gone.png": 4})
    args = ("csv", folder, "--labels", labels, "--out", tmp_path / "out")
    code, _, said = door(*args)
    assert code == 2
    assert "gone.png is not in" in said
    code, printed, _ = door(*args, "--bad-rows", "skip")
    assert code == 0
    assert "dropped   1 (1 not there)" in printed


def test_many_bad_rows_are_counted_and_the_first_named(door, tmp_path):
    folder = as_folder(tmp_path / "in", {**GOOD, **{k: v for k, (v, _) in BAD.items()}})
    labels = labels_csv(tmp_path / "l.csv", dict.fromkeys([*BAD, *GOOD], 30))
    code, _, said = door("csv", folder, "--labels", labels, "--out", tmp_path / "out")
    assert code == 2
    assert "5 of 8 pictures can't be used: truncated.jpg" in said
    assert "and 2 more" in said


@pytest.mark.parametrize(
    ("count", "said"), [(0, "no usable picture of 1"), (1, "one usable picture of 2")]
)
def test_one_image_in_all(count, said, door, tmp_path):
    files = {f"30_{i}.jpg": picture(i) for i in range(count)}
    folder = as_folder(tmp_path / "in", {**files, "30_x.jpg": b"x"})
    code, _, error = door("folder", folder, "--out", tmp_path / "out", "--bad-rows", "skip")
    assert code == 2
    assert said in error
    assert "needs at least 2" in error
    assert not (tmp_path / "out").exists()


def test_copies_of_one_picture_cannot_be_split(door, tmp_path):
    folder = as_folder(tmp_path / "in", {"30_a.jpg": picture(0), "31_b.jpg": picture(0)})
    code, _, error = door("folder", folder, "--out", tmp_path / "out")
    assert code == 2
    assert "all 2 pictures are of one group" in error


def test_bad_arguments(door, folder, tmp_path):
    out = ("--out", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("x")
    for argv, said in [
        (("imdb2", folder, *out), "'imdb2' is none of utkface, csv, folder"),
        (("utkface", tmp_path / "nowhere", *out), "there is no such folder"),
        (("utkface", tmp_path / "empty", *out), "holds no files"),
        (("utkface", tmp_path / "text", *out), "none of its 1 files is a picture"),
        (("csv", folder, *out), "add --labels FILE"),
        (("csv", folder, "--labels", tmp_path / "no.csv", *out), "no such labels file"),
        (("utkface", folder, "--val-share", "1.5", *out), "--val-share 1.5"),
        (("utkface", folder, "--seed", "-1", *out), "--seed -1"),
        (("utkface", folder, "--out", folder / "data"), "lies inside"),
    ]:
        code, printed, error = door(*argv)
        assert (code, printed) == (2, "")
        assert error.startswith("minissr: ")
        assert said in error
        assert not (tmp_path / "out").exists()


def test_an_existing_data_set_is_kept_unless_told(door, folder, tmp_path):
    out = tmp_path / "out"
    assert door("utkface", folder, "--out", out)[0] == 0
    before = open_dataset(out).digest
    code, _, said = door("utkface", folder, "--out", out, "--seed", 5)
    assert code == 2
    assert "--overwrite" in said
    assert open_dataset(out).digest == before
    assert door("utkface", folder, "--out", out, "--seed", 5, "--overwrite")[0] == 0
    assert open_dataset(out).digest != before
    after = open_dataset(out).digest
    assert door("utkface", tmp_path / "nowhere", "--out", out, "--overwrite")[0] == 2
    assert open_dataset(out).digest == after


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_interrupted(how, code, tmp_path, capsys):
    """Ctrl-C cleans up and says so; after kill -9 opening and preparing again say so."""
    files = {
        f"{i % 100}_0_1_{20170101000000 + i}.png": encoded(drawing(i, 400, 400)) for i in range(40)
    }
    files = {name: data for i in range(30) for name, data in (
        (f"{i}/{name}", data) for name, data in files.items())}  # fmt: skip
    folder, out = as_zip(tmp_path / "in.zip", files), tmp_path / "out"
    command = [sys.executable, "-m", "minissr.prepare", "utkface", str(folder), "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    decoded = out / "decoded.part"
    deadline = time.monotonic() + 60
    while not (decoded.exists() and decoded.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(how)
    _, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in error
    if how == signal.SIGINT:
        assert error.rstrip().endswith("was finished; run the command again")
        assert not out.exists()
        return
    assert not (out / "meta.json").exists()
    with pytest.raises(DataError, match="was interrupted"):
        open_dataset(out)
    small = as_folder(tmp_path / "small", FILES)
    assert main(["utkface", str(small), "--out", str(out)]) == 0
    assert "interrupted prepare left; starting over" in capsys.readouterr().err
    assert len(open_dataset(out).splits["train"]) == 8


@pytest.mark.skipif(os.name != "posix", reason="permissions")
def test_out_that_cannot_be_written(door, folder, tmp_path):
    if os.geteuid() == 0:
        out = "/proc/minissr/data"  # not even root may
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
        out = tmp_path / "locked" / "data"
    code, _, said = door("utkface", folder, "--out", out)
    assert code == 3
    assert "can't be written" in said


def test_a_source_that_cannot_be_read_is_not_blamed_on_out(door, tmp_path, monkeypatch):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    source = tmp_path / "faces.bin"
    source.write_bytes(b"PK")
    with monkeypatch.context() as patch:  # root may read everything
        patch.setattr(Path, "open", refuse)
        code, _, said = door("utkface", source, "--out", tmp_path / "out")
    assert code == 2
    assert f"{source}: can't be read (permission denied); check its permissions" in said
    assert "--out" not in said
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(os.name != "posix", reason="limits")
@pytest.mark.parametrize("limit", [50_000, 10 * 64 * 64 * 3 + 64])
def test_a_disk_that_is_full(limit, folder, tmp_path):
    """No file may grow beyond `limit`: while decoding, or while writing images.npy."""
    out = tmp_path / "out"
    code = (
        "import resource, sys; from minissr import cli, prepare;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
        f"argv = ['utkface', {str(folder)!r}, '--out', {str(out)!r}];"
        "sys.exit(cli.run(lambda: prepare.main(argv)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "Traceback" not in done.stderr
    assert done.stderr.rstrip().endswith("make room or name another place")
    assert not out.exists()


def test_help_is_quick_and_shows_an_example():
    code = (
        "import sys; from minissr.prepare import build_parser; text = build_parser().format_help();"
        "assert 'python -m minissr.prepare utkface' in text;"
        "heavy = {'numpy', 'cv2', 'tqdm', 'numba', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "--bad-rows" in build_parser().format_help()


@pytest.mark.slow
def test_real_faces(utkface_dir, door, tmp_path):
    tar, labels = utkface_dir / "UTKFace.tar", utkface_dir / "labels.csv"
    assert door("utkface", tar, "--labels", labels, "--out", tmp_path / "a")[0] == 0
    data = open_dataset(tmp_path / "a")
    assert {name: len(faces) for name, faces in data.splits.items()} == {
        "train": 18_532,
        "val": 2_319,
    }
    val = data.splits["val"].ages
    assert abs(np.abs(val - np.median(data.splits["train"].ages)).mean() - 14.9) < 0.1
    shutil.rmtree(tmp_path / "a")
