from __future__ import annotations

from pathlib import Path

import pytest

from dataset_conversion.archive.pairs import Pair, read_pairs
from dataset_conversion.errors import ConversionError


def _table(folder: Path, text: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_found_by_their_outlines_with_paths_under_the_input_folder(tmp_path: Path) -> None:
    table = _table(tmp_path, "\ufeffscan,outlines,view,rater\na/1.dcm,b/x.json,Posterior,lin\na/1.dcm, b/x.json ,,\n")
    assert read_pairs(table, tmp_path) == {
        (tmp_path / "b/x.json").resolve(): [
            Pair(table, 2, tmp_path / "a/1.dcm", tmp_path / "b/x.json", "posterior", "lin"),
            Pair(table, 3, tmp_path / "a/1.dcm", tmp_path / "b/x.json", None, ""),
        ]
    }


def test_absolute_paths_stay_and_a_table_without_rows_is_empty(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere" / "x.json"
    (pair,) = read_pairs(_table(tmp_path, f"scan,outlines\n/data/1.dcm,{elsewhere}\n"), tmp_path / "input")[elsewhere.resolve()]
    assert pair.scan == Path("/data/1.dcm")
    assert read_pairs(_table(tmp_path, "scan,outlines\n"), tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scan,view\n1.dcm,anterior\n", "column 'outlines' is missing"),
        ("scan,outlines,reader\n1.dcm,x.json,lin\n", "column 'reader' is unknown"),
        ("scan,outlines\n,x.json\n", "row 2 has no scan"),
        ("scan,outlines\n1.dcm,x.json\n1.dcm\n", "row 3 has no outlines"),
        ("scan,outlines,view\n1.dcm,x.json,left\n", "row 2 has the view 'left'; expected anterior or posterior"),
    ],
)
def test_a_table_that_cannot_be_followed_is_refused_with_its_row(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConversionError, match=words):
        read_pairs(_table(tmp_path, text), tmp_path)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_bytes(b"\xff\xfe\x00scan")
    for path in (tmp_path / "pairs.csv", tmp_path / "absent.csv"):
        with pytest.raises(ConversionError, match="cannot be read as a CSV table"):
            read_pairs(path, tmp_path)
