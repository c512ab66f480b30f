"""Labels files, and ages in names."""

from __future__ import annotations

import pytest

from minissr.data.labels import parse_age, read_labels
from minissr.data.pictures import open_pictures
from minissr.data.preprocessing import Preprocessing
from minissr.data.sources import SOURCES, source
from minissr.data.sources.folder import age_of
from minissr.errors import DataError
from tests.data.drawings import as_folder, as_tar


@pytest.fixture
def pictures(tmp_path):
    names = ["UTK/1.jpg", "UTK/2.jpg", "x/same.jpg", "y/same.jpg", "3.jpg"]
    return open_pictures(as_folder(tmp_path / "in", dict.fromkeys(names, b"x")))


def read(text, pictures, tmp_path, encoding="utf-8"):
    path = tmp_path / "labels.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return read_labels(path, pictures, Preprocessing())


@pytest.mark.parametrize(("text", "age"), [("25", 25), (" 7.5 ", 7.5), ("0", 0), ("130", 130)])
def test_ages(text, age):
    assert parse_age(text) == age


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no age"),
        (None, "has no age"),
        ("nan", "is NaN"),
        ("-1", "negative"),
        ("130.5", "over 130"),
        ("inf", "not a number"),
        ("old", "not a number"),
        ("2_5", "not a number"),
        ("23,5", "not a number"),
        ("0x20", "not a number"),
    ],
)
def test_ages_that_are_none(text, said):
    with pytest.raises(ValueError, match=said):
        parse_age(text)


def test_reads_columns_and_finds_pictures(pictures, tmp_path):
    text = "File,AGE,split,mood\n1.jpg,5,train,glad\nx/same.jpg,6.5,Validation,\n"
    listing = read(text, pictures, tmp_path)
    assert not listing.bad
    assert listing.columns == ("split", "mood")
    assert [(r.file, r.member, r.age) for r in listing.rows] == [
        ("1.jpg", "UTK/1.jpg", 5),
        ("x/same.jpg", "x/same.jpg", 6.5),
    ]
    assert [dict(r.columns) for r in listing.rows] == [
        {"split": "train", "mood": "glad"},
        {"split": "val", "mood": ""},
    ]
    assert listing.ignored == {"file not named in labels.csv": 3}


@pytest.mark.parametrize(
    "text", ["file;age\n3.jpg;5\n", "file\tage\n3.jpg\t5\n", "\ufefffile,age\r\n3.jpg,5\r\n"]
)
def test_other_ways_to_write_a_csv(text, pictures, tmp_path):
    assert [r.age for r in read(text, pictures, tmp_path).rows] == [5]


@pytest.mark.parametrize(
    ("row", "kind", "said"),
    [
        ("gone.jpg,5,train", "not there", "correct the name or add the file"),
        ("same.jpg,5,train", "ambiguous", "x/same.jpg or y/same.jpg"),
        ("3.jpg,,train", "bad age", "line 2"),
        ("3.jpg,nan,train", "bad age", "NaN"),
        ("3.jpg,-4,train", "bad age", "negative"),
        ("3.jpg,131,train", "bad age", "over 130"),
        ("3.jpg,abc,train", "bad age", "'abc' is not a number"),
        ("3.jpg,5,holdout", "bad split", "'holdout' is none of train, val, test"),
        ("3.jpg,5,", "bad split", "''"),
        ("3.jpg,5,train,more", "bad row", "more or fewer"),
        ("3.jpg,5", "bad row", "more or fewer"),
        (",5,train", "no file name", "names no file"),
    ],
)
def test_a_bad_row_is_one_bad_row(row, kind, said, pictures, tmp_path):
    listing = read(f"file,age,split\n{row}\n1.jpg,5,val\n", pictures, tmp_path)
    assert [r.file for r in listing.rows] == ["1.jpg"]
    [bad] = listing.bad
    assert bad.kind == kind
    assert said in bad.reason


def test_a_picture_named_twice_is_a_bad_row(pictures, tmp_path):
    [bad] = read("file,age\n3.jpg,5\n./3.jpg,6\n", pictures, tmp_path).bad
    assert bad.reason == "is on lines 2 and 3 of labels.csv; keep one"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column file and no column age"),
        ("name,age\n3.jpg,5\n", "no column file, only name, age"),
        ("file,age,age\n", "'age' twice"),
        ("file,age\n", "no rows"),
        (b"file,age\n\xff\xfe,5\n", "not UTF-8"),
        ('file,age\n"3.jpg,5\n', "no well-formed CSV"),
    ],
)
def test_a_file_that_is_no_labels_file(text, said, pictures, tmp_path):
    with pytest.raises(DataError, match=said):
        read(text, pictures, tmp_path)


def test_a_missing_labels_file(pictures, tmp_path):
    with pytest.raises(DataError, match="no such labels file"):
        read_labels(tmp_path / "no.csv", pictures, Preprocessing())
    with pytest.raises(DataError, match="can't be read"):
        read_labels(tmp_path, pictures, Preprocessing())


def test_unknown_source():
    with pytest.raises(ValueError, match="'imbd' is none of utkface, csv, folder"):
        source("imbd")
    for name in SOURCES:
        assert callable(source(name).list_faces)


def test_utkface_names(tmp_path):
    names = [
        "U/26_1_2_20170112213500903.jpg.chip.jpg",
        "U/61_1_20170109142408075.jpg.chip.jpg",  # these three are as the original has them
        "U/53__0_20170116184028385.jpg.chip.jpg",
        "U/24_0_1_20170116220224657 .jpg.chip.jpg",
        "U/30_3_20170116220224657.jpg.chip.jpg",
        "U/31_1__20170116220224657.jpg.chip.jpg",
        "U/32_20170116220224657.jpg.chip.jpg",
        "U/33_2_3_20170116220224657.jpg",
        "U/34_0_5_20170116220224657.jpg",
        "U/131_0_0_20170116220224657.jpg",
        "U/holiday.jpg",
        "readme.txt",
    ]
    pictures = open_pictures(as_tar(tmp_path / "U.tar", dict.fromkeys(names, b"x")))
    listing = source("utkface").list_faces(pictures, None)
    found = {r.member: (r.age, r.columns["gender"], r.columns["race"]) for r in listing.rows}
    assert found == {
        names[0]: (26, "1", "2"),
        names[1]: (61, "", ""),
        names[2]: (53, "", "0"),
        names[3]: (24, "0", "1"),
        names[4]: (30, "", ""),
        names[5]: (31, "1", ""),
        names[6]: (32, "", ""),
        names[7]: (33, "", "3"),
        names[8]: (34, "0", ""),
    }
    assert {(b.file, b.kind) for b in listing.bad} == {
        (names[9], "bad age"),
        (names[10], "bad name"),
    }
    assert listing.ignored == {"file that is no picture": 1}


@pytest.mark.parametrize(
    ("member", "age"),
    [
        ("25/a.jpg", 25),
        ("x/7.5/a.jpg", 7.5),
        ("25_a.jpg", 25),
        ("25/3_a.jpg", 25),
        ("a/9-b.png", 9),
    ],
)
def test_ages_in_folders_and_names(member, age):
    assert age_of(member) == age


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("a.jpg", "neither in a folder named by age"),
        ("0025.jpg", "neither"),  # more often a count than an age
        ("-3/a.jpg", "negative"),
        ("200/a.jpg", "over 130"),
        ("25x/a.jpg", "neither"),
    ],
)
def test_names_that_state_no_age(member, said):
    with pytest.raises(DataError, match=said):
        age_of(member)


def test_what_sources_need(pictures, tmp_path):
    with pytest.raises(DataError, match="add --labels FILE"):
        source("csv").list_faces(pictures, None)
    with pytest.raises(DataError, match="use prepare csv"):
        source("folder").list_faces(pictures, tmp_path / "labels.csv")
