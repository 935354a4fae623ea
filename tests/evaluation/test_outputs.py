from __future__ import annotations

from collections.abc import Iterator
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
    with pytest.raises(OSError, match="exists"):
        write_files(tmp_path, {"a": b"new", "a/b": b""})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"old"}
    with pytest.raises(OSError, match="exists"):
        write_files(tmp_path / "made", {"a": b"new", "a/b": b""})
    assert not (tmp_path / "made").exists()


def test_content_may_come_in_blocks_and_in_subfolders(tmp_path: Path) -> None:
    write_files(tmp_path / "out", {"plots/a.svg": b"old"})
    write_files(tmp_path / "out", {"plots/a.svg": b"new", "page.html": (bytes([65 + i]) for i in range(3))})
    assert (tmp_path / "out" / "plots" / "a.svg").read_bytes() == b"new"
    assert (tmp_path / "out" / "page.html").read_bytes() == b"ABC"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["page.html", "plots"]


def test_a_block_that_cannot_be_made_leaves_the_old_files(tmp_path: Path) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"half"
        raise ValueError("gone")

    write_files(tmp_path, {"a.csv": b"old"})
    with pytest.raises(ValueError, match="gone"):
        write_files(tmp_path, {"a.csv": b"new", "page.html": blocks()})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a.csv": b"old"}
