"""Figure 2, Table 2 and Figure 3: what is read, drawn and written."""

from __future__ import annotations

import csv

import pytest

from minissr.errors import DataError
from minissr.reproduction import comparison, parameters

KERAS = "epoch,loss,mean_absolute_error,val_loss,val_mean_absolute_error\n"


def row(case, epochs, **more):
    return {
        "case": case,
        "seed": 0,
        "epochs": epochs,
        "parameters": 40915,
        "train_mae_by_epoch": [9.0 - n for n in range(epochs)],
        "val_mae_by_epoch": [9.5 - n for n in range(epochs)],
        "val_mae": 7.5,
        "val_ca3": 0.3,
        "val_ca5": 0.4,
        **more,
    }


@pytest.fixture
def authors(tmp_path):
    folder = tmp_path / "curves"
    folder.mkdir()
    (folder / "morph2__ssrnet_3_3_3_64_1.0_1.0.csv").write_text(KERAS + "1,5,5,6,6\n2,4,4,5,5\n")
    return folder / "morph2"


def lines_of(path):
    return list(csv.reader(path.read_text().splitlines()))


def test_figure_2_has_a_line_an_epoch_and_the_authors_curves(authors, tmp_path):
    rows = [row("minissr", 2), row("densenet", 1)]
    path = comparison.figure2(tmp_path, rows, str(authors))
    assert path.read_bytes().startswith(b"\x89PNG")
    assert lines_of(tmp_path / "figure2.csv") == [
        ["method", "by", "epoch", "train_mae", "val_mae"],
        ["minissr", "here", "1", "9.0", "9.5"],
        ["minissr", "here", "2", "8.0", "8.5"],
        ["densenet", "here", "1", "9.0", "9.5"],
        ["minissr", "authors", "1", "5.0", "6.0"],
        ["minissr", "authors", "2", "4.0", "5.0"],
    ]


def test_the_figure_says_how_long_each_was_trained():
    assert comparison.title("densenet", [row("densenet", 10)]) == "DenseNet 19, 10 epochs"
    assert comparison.title("mobilenet", []) == "MobileNet 0.25: not run yet"


def test_other_files_than_histories_are_named(authors, tmp_path):
    with pytest.raises(DataError, match=r"there is no .*wiki__ssrnet"):
        comparison.authors_curves(str(authors.parent / "wiki"))
    for text in ("epoch,loss\n1,2\n", KERAS + "1,5,x,6,6\n", KERAS + "1,5\n"):
        (authors.parent / "morph2__mobilenet_reg_0.25_64.csv").write_text(text)
        with pytest.raises(DataError, match=r"mobilenet_reg_0.25_64.csv is no history"):
            comparison.authors_curves(str(authors))


def test_table_2_is_of_the_test_faces_where_there_are_some(tmp_path):
    tested = {"test_mae": 6.0, "test_ca3": 0.5, "test_ca5": 0.6}
    rows = [
        row("minissr", 2, **tested),
        row("released", 2, val_mae=7.0),
        row("released", 2, seed=1, val_mae=8.0),
    ]
    path = comparison.table2(tmp_path, rows)
    assert path.read_bytes().startswith(b"\x89PNG")
    header, ours, released = lines_of(tmp_path / "table2.csv")
    assert header[:6] == ["method", "faces", "epochs", "seeds", "parameters", "MAE"]
    assert ours == "SSR-Net, ours|test|2|1|40,915|6.00|0.500|0.600|0.549|0.741".split("|")
    assert released == [
        "SSR-Net as released",
        "val",
        "2",
        "2",
        "40,915",
        "7.50",
        "0.300",
        "0.400",
        "",
        "",
    ]


def test_figure_3_counts_what_is_built(tmp_path):
    path = parameters.figure3(tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG")
    lines = lines_of(tmp_path / "figure3.csv")
    assert ["3,3,3", "27", "40915", "50653"] in lines
    assert lines[-1] == ["ORCNN", "", "428040", ""]
    for _, classes, staged, single in lines[1:-1]:
        assert int(staged) < int(single)
        assert int(classes) >= 8
