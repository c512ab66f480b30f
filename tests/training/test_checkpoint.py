"""A checkpoint is whole, or it is refused in one sentence; and what was saved stays saved."""

from __future__ import annotations

import errno
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minissr.errors import CheckpointError, DiskError
from minissr.training import files
from minissr.training.checkpoint import FORMAT, pack, read_checkpoint, save_checkpoint


def contents(seed: int = 0) -> tuple[dict[str, np.ndarray], dict]:
    """Arrays and metadata like those of a small training."""
    rng = np.random.default_rng(seed)
    tensors = {
        "model/conv.w": rng.normal(size=(3, 3, 3, 4)).astype(np.float32),
        "model/norm.moving_mean": rng.normal(size=4).astype(np.float32),
        "optimizer/m/conv.w": rng.normal(size=(3, 3, 3, 4)),
        "optimizer/empty": np.zeros((0, 3), np.float32),
        "optimizer/steps": np.array(17, np.int64),
    }
    metadata = {
        "model": {"name": "ssrnet", "stages": [3, 3, 3], "max_age": 101},
        "progress": {"epoch": 2, "step": 17, "train_error": 0.1 + 0.2},
        "history": [{"epoch": 1, "val_mae": 8.125}],
    }
    return tensors, metadata


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "last.safetensors"
    save_checkpoint(path, *contents())
    return path


def one_sentence(error: Exception) -> str:
    """The message, checked to be a single line."""
    text = str(error)
    assert text
    assert "\n" not in text
    return text


# ---- what it is ---------------------------------------------------------------------------------


def test_what_is_saved_is_read_back(saved: Path) -> None:
    tensors, metadata = contents()
    checkpoint = read_checkpoint(saved)
    assert checkpoint.tensors.keys() == tensors.keys()
    for name, array in tensors.items():
        np.testing.assert_array_equal(checkpoint.tensors[name], array, strict=True)
    for key, value in metadata.items():
        assert checkpoint.metadata[key] == value
    assert checkpoint.section("model").keys() == {"conv.w", "norm.moving_mean"}


def test_equal_contents_give_equal_bytes_in_any_order() -> None:
    tensors, metadata = contents()
    backwards = dict(reversed(tensors.items())), dict(reversed(metadata.items()))
    assert pack(*backwards) == pack(tensors, metadata)


def test_the_header_has_one_metadata_key_with_sorted_json(saved: Path) -> None:
    data = saved.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    (text,) = header["__metadata__"].values()
    record = json.loads(text)
    assert text == json.dumps(record, sort_keys=True, separators=(",", ":"))
    assert record["format"] == FORMAT


def test_the_safetensors_library_reads_it_without_us(saved: Path) -> None:
    from safetensors.numpy import load_file

    np.testing.assert_array_equal(load_file(saved)["model/conv.w"], contents()[0]["model/conv.w"])


def test_numbers_that_json_has_not_are_our_own_mistake(tmp_path: Path) -> None:
    tensors, metadata = contents()
    with pytest.raises(ValueError, match="JSON"):
        save_checkpoint(tmp_path / "x", tensors, {**metadata, "mae": float("nan")})
    assert list(tmp_path.iterdir()) == []


# ---- files that are not what they should be -----------------------------------------------------


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cut short"),
        (b"abc", "cut short"),
        (b"\xff" * 4096, "cut short"),  # a header of 2^64 bytes: never allocated
        (b"\x00" * 4096, "not a checkpoint"),
        (b"PK\x03\x04" + b"\x00" * 60, "cut short"),
        ((16).to_bytes(8, "little") + b'{"__metadata__":', "not a checkpoint"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=says) as caught:
        read_checkpoint(path)
    assert str(path) in one_sentence(caught.value)


def test_somebody_elses_safetensors_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import save

    path = tmp_path / "x.safetensors"
    path.write_bytes(save({"a": np.zeros(3)}, metadata={"format": "pt"}))
    with pytest.raises(CheckpointError, match="not a checkpoint of minissr"):
        read_checkpoint(path)


def test_missing_files_folders_and_pipes_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("none", "no such file"), (".", "is a folder"), ("pipe", "not an ordinary")):
        with pytest.raises(CheckpointError, match=says):
            read_checkpoint(tmp_path / name)


def test_another_format_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minissr.training.checkpoint.FORMAT", FORMAT + 1)
    save_checkpoint(tmp_path / "x", *contents())
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match=f"format {FORMAT + 1}"):
        read_checkpoint(tmp_path / "x")


@pytest.mark.parametrize("text", ["[1]", "{}", "nonsense", '{"format": "1"}', "[" * 100_000])
def test_a_right_digest_around_wrong_metadata_is_still_refused(tmp_path: Path, text: str) -> None:
    import hashlib

    from safetensors.numpy import save

    trailer = '{"sha256":"' + "0" * 64 + '"}'
    blank = save({"a": np.zeros(3)}, metadata={"minissr": text + trailer})
    path = tmp_path / "x.safetensors"
    path.write_bytes(blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode(), 1))
    with pytest.raises(CheckpointError, match="not a valid checkpoint"):
        read_checkpoint(path)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """`data` with one random accident."""
    header_end = 8 + int.from_bytes(data[:8], "little")
    # Half of the accidents befall the header, which is small and where the meaning is.
    end = header_end if rng.random() < 0.5 else len(data)
    at = int(rng.integers(end))
    match rng.integers(7):
        case 0:  # one bit
            return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
        case 1:  # cut short
            return data[:at]
        case 2:  # bytes put in
            return data[:at] + rng.bytes(int(rng.integers(1, 9))) + data[at:]
        case 3:  # bytes lost
            return data[:at] + data[at + int(rng.integers(1, 9)) :]
        case 4:  # two places swapped
            other = int(rng.integers(end))
            changed = bytearray(data)
            changed[at], changed[other] = changed[other], changed[at]
            return bytes(changed)
        case 5:  # a digit or letter of the header replaced by another
            at = int(rng.integers(8, header_end))
            return data[:at] + bytes([int(rng.integers(32, 127))]) + data[at + 1 :]
        case _:  # a block of the disk lost
            return data[:at] + bytes(min(512, len(data) - at)) + data[at + 512 :]


@pytest.mark.parametrize(
    "count", [200, pytest.param(2000, marks=pytest.mark.slow)], ids=["200", "2000"]
)
def test_no_altered_checkpoint_loads(saved: Path, tmp_path: Path, count: int) -> None:
    original = saved.read_bytes()
    rng = np.random.default_rng(7)
    path = tmp_path / "altered.safetensors"
    done = 0
    while done < count:
        changed = mutate(original, rng)
        if changed == original:  # a byte replaced by itself
            continue
        done += 1
        path.write_bytes(changed)
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path)
        assert str(path) in one_sentence(caught.value)


# ---- a disk that fails, a process that dies ------------------------------------------------------


def assert_intact(path: Path) -> None:
    """The first contents are at `path` and nothing else is in its folder."""
    assert path.read_bytes() == pack(*contents())
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_refusing_disk_leaves_the_previous_one(
    saved: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    real_write = os.write

    def refuse(*arguments: object, **_: object) -> int:
        if call == "write" and len(arguments[1]) > 64:  # half of it still went through
            return real_write(arguments[0], bytes(arguments[1][:64]))
        raise OSError(number, os.strerror(number), "x")

    monkeypatch.setattr(files.os, call, refuse)
    with pytest.raises(DiskError, match="is intact") as caught:
        save_checkpoint(saved, *contents(seed=1))
    monkeypatch.undo()
    assert os.strerror(number).lower() in one_sentence(caught.value)
    assert caught.value.exit_code == 3
    assert_intact(saved)


def test_a_file_size_limit_is_a_full_disk(saved: Path) -> None:
    """The real thing, without a small disk: the system refuses to let the file grow."""
    script = f"""
import resource, sys
from minissr import cli
from minissr.training.checkpoint import save_checkpoint
from tests.training.test_checkpoint import contents
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
sys.exit(cli.run(lambda: save_checkpoint({str(saved)!r}, *contents(1))))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("\n") == 1
    assert "too large" in done.stderr
    assert_intact(saved)
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 1000


STEPS = ("open", "write", "fsync", "close", "replace")


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_at_any_step_one_of_the_two_is_there(saved: Path, step: str, moment: str) -> None:
    script = f"""
import os
from minissr.training import files
from minissr.training.checkpoint import pack
from tests.training.test_checkpoint import contents
data = pack(*contents(1))
real = os.{step}
def dying(*arguments):
    if {moment!r} == "after":
        real(*((arguments[0], bytes(arguments[1][:100])) if {step!r} == "write" else arguments))
    os._exit(9)
files.os.{step} = dying
files.write_atomically({str(saved)!r}, data)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 9, done.stderr
    new = step == "replace" and moment == "after"
    read = read_checkpoint(saved)
    np.testing.assert_array_equal(
        read.tensors["model/conv.w"], contents(int(new))[0]["model/conv.w"]
    )
    foreign = saved.parent / ".notes.tmp"
    foreign.write_text("somebody else's")
    files.remove_leftovers(saved.parent)
    assert {entry.name for entry in saved.parent.iterdir()} == {saved.name, foreign.name}
