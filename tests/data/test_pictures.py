"""Folders, tars and zips are read alike, and nothing in them reaches outside."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile

import pytest

from minissr.data.images import PictureError
from minissr.data.pictures import open_pictures
from minissr.errors import DataError
from tests.data.drawings import as_folder, as_tar, as_zip

FILES = {"UTK/b.jpg": b"two", "UTK/a.jpg": b"one", "c.txt": b"three", "UTK/.DS_Store": b"x"}


def build(kind, tmp_path, files):
    if kind == "folder":
        return as_folder(tmp_path / "in", files)
    if kind == "zip":
        return as_zip(tmp_path / "in.zip", files)
    mode = {"tar": "w", "tar.gz": "w:gz", "tar.xz": "w:xz", "tar.bz2": "w:bz2"}[kind]
    return as_tar(tmp_path / f"in.{kind}", files, mode)


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_reads_what_is_there(kind, tmp_path):
    pictures = open_pictures(build(kind, tmp_path, FILES))
    assert pictures.names == ["UTK/a.jpg", "UTK/b.jpg", "c.txt"]
    assert pictures.ignored == {"hidden file": 1}
    wanted = ["c.txt", "UTK/a.jpg"]
    assert dict(pictures.read(wanted)) == {"c.txt": b"three", "UTK/a.jpg": b"one"}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_climb_out_are_left_alone(kind, tmp_path):
    files = {"/etc/a.jpg": b"x", "../b.jpg": b"x", "a/../../c.jpg": b"x", "C:\\d.jpg": b"x"}
    pictures = open_pictures(build(kind, tmp_path, {**files, "./ok.jpg": b"y"}))
    assert pictures.names == ["ok.jpg"]
    assert pictures.ignored["unsafe name"] == 4


def test_links_and_devices_in_a_tar_are_left_alone(tmp_path):
    path = tmp_path / "in.tar"
    with tarfile.open(path, "w") as archive:
        for name, kind in [
            ("s.jpg", tarfile.SYMTYPE),
            ("h.jpg", tarfile.LNKTYPE),
            ("p", tarfile.FIFOTYPE),
        ]:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        member = tarfile.TarInfo("ok.jpg")
        member.size = 1
        archive.addfile(member, io.BytesIO(b"y"))
    pictures = open_pictures(path)
    assert pictures.names == ["ok.jpg"]
    assert pictures.ignored == {"link or device": 3}


def test_links_in_a_zip_are_left_alone(tmp_path):
    link = zipfile.ZipInfo("s.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("ok.jpg", "y")
    pictures = open_pictures(tmp_path / "in.zip")
    assert pictures.names == ["ok.jpg"]
    assert pictures.ignored == {"link or device": 1}


@pytest.mark.skipif(os.name != "posix", reason="pipes and links")
def test_a_pipe_in_a_folder_does_not_wait_for_ever(tmp_path):
    folder = as_folder(tmp_path / "in", {"ok.jpg": b"y"})
    os.mkfifo(folder / "pipe.jpg")
    (folder / "dangling.jpg").symlink_to(tmp_path / "nothing")
    (folder / "loop").symlink_to(folder)
    pictures = open_pictures(folder)
    assert pictures.names == ["ok.jpg"]
    assert pictures.ignored == {"link to nothing, pipe or device": 2}


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_occurs_twice_is_nobodys(tmp_path):
    tar, zipped = tmp_path / "in.tar", tmp_path / "in.zip"
    with tarfile.open(tar, "w") as archive:
        for data in (b"one", b"two"):
            member = tarfile.TarInfo("a.jpg")
            member.size = 3
            archive.addfile(member, io.BytesIO(data))
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("a.jpg", "one")
        archive.writestr("./a.jpg", "two")
    for path in (tar, zipped):
        pictures = open_pictures(path)
        assert pictures.names == []
        assert pictures.twice == {"a.jpg"}


def test_a_file_that_goes_on_for_ever_is_cut_short(tmp_path, monkeypatch):
    monkeypatch.setattr("minissr.data.pictures.MAX_FILE_BYTES", 1000)
    for kind in ("folder", "zip", "tar.gz"):
        path = build(kind, tmp_path, {"bomb.jpg": bytes(100_000)})
        [(_, error)] = open_pictures(path).read(["bomb.jpg"])
        assert isinstance(error, PictureError)
        assert error.kind == "too large"


def test_a_damaged_member_of_a_zip_is_one_bad_picture(tmp_path):
    path = as_zip(tmp_path / "in.zip", {"a.jpg": b"A" * 50, "b.jpg": b"B" * 50})
    path.write_bytes(path.read_bytes().replace(b"A" * 50, b"C" * 50))
    read = dict(open_pictures(path).read(["a.jpg", "b.jpg"]))
    assert isinstance(read["a.jpg"], PictureError)
    assert read["b.jpg"] == b"B" * 50


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.8])
def test_truncated_archives(kind, share, tmp_path):
    noise = {f"{i}.jpg": os.urandom(3000) for i in range(20)}
    path = build(kind, tmp_path, noise)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"copy it again|neither a folder"):
        open_pictures(path)


def test_a_tar_that_ends_in_a_zip_is_a_tar(tmp_path):
    inner = as_zip(tmp_path / "inner.zip", {"x.jpg": b"x"}).read_bytes()
    path = as_tar(tmp_path / "in.tar", {"a.jpg": b"one", "inner.zip": inner})
    assert open_pictures(path).names == ["a.jpg", "inner.zip"]


def test_passwords_are_refused(tmp_path):
    path = as_zip(tmp_path / "in.zip", {"a.jpg": b"one"})
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="needs a password"):
        open_pictures(path)


def test_says_what_is_wrong_with_the_place(tmp_path):
    with pytest.raises(DataError, match="there is no such folder or archive"):
        open_pictures(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no files"):
        open_pictures(tmp_path / "empty")
    (tmp_path / "face.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match="neither a folder, a tar nor a zip"):
        open_pictures(tmp_path / "face.jpg")
    with pytest.raises(DataError, match="left alone: 1 hidden file"):
        open_pictures(as_folder(tmp_path / "hidden", {".a.jpg": b"x"}))
