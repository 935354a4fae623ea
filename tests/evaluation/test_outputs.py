from __future__ import annotations

from pathlib import Path

import pytest

from evaluation.outputs import write_files


def test_files_replace_old_ones_and_others_stay(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    write_files(out, {"a": b"1", "b": b"2"})
    (out / "notes").write_text("mine")
    write_files(out, {"a": b"3"})
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {"a": b"3", "b": b"2", "notes": b"mine"}


def test_a_failure_leaves_the_old_files_and_nothing_beside(tmp_path: Path) -> None:
    write_files(tmp_path, {"a": b"old"})
    with pytest.raises(OSError, match="missing"):
        write_files(tmp_path, {"a": b"new", "missing/b": b""})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}
    with pytest.raises(OSError, match="missing"):
        write_files(tmp_path / "made", {"missing/b": b""})
    assert not (tmp_path / "made").exists()
