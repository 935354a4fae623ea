from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from dataset_conversion import exchange as module
from dataset_conversion.errors import ConversionError
from dataset_conversion.exchange import aside, exchange, recover

FILES = 3
# Builds folder after folder, each of files that hold the same number, and puts it in the place of the one before.
# argv: folder, "swap" or "two steps", the audited event before which to die (0: none).
RUN = textwrap.dedent(
    f"""
    import os, signal, sys
    from pathlib import Path
    from dataset_conversion import exchange as module

    folder, path, last = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    if path == "two steps":
        module._swapped = lambda first, second: False  # as on a file system that cannot
    target, new = folder / "target", folder / ".target.partial"
    seen = 0

    def die_in_time(event, arguments):
        global seen
        if event.startswith(("os.", "shutil.", "ctypes.", "open")):
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)

    module.recover(target, new)
    print("ready", flush=True)
    if last:
        sys.addaudithook(die_in_time)
    for number in range(1, 3 if last else 100_000):
        new.mkdir()
        for name in range({FILES}):
            (new / str(name)).write_text(str(number))
        module.exchange(new, target)
    """
)


def _folder(path: Path, number: int) -> Path:
    path.mkdir()
    for name in range(FILES):
        (path / str(name)).write_text(str(number))
    return path


def _number(path: Path) -> int:
    """The number in a folder's files; fails where it is not whole."""
    assert sorted(child.name for child in path.iterdir()) == [str(name) for name in range(FILES)]
    (number,) = {child.read_text() for child in path.iterdir()}
    return int(number)


def _start(folder: Path, path: str, last: int = 0) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", RUN, str(folder), path, str(last)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.fixture(params=["swap", "two steps"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "two steps":
        monkeypatch.setattr(module, "_swapped", lambda first, second: False)  # as on a file system that cannot
    name: str = request.param
    return name


def test_a_finished_folder_takes_the_place_of_the_old_one_and_leaves_nothing(tmp_path: Path, path: str) -> None:
    target = _folder(tmp_path / "target", 1)
    exchange(_folder(tmp_path / "new", 2), target)
    assert _number(target) == 2
    assert list(tmp_path.iterdir()) == [target]


def test_the_first_folder_takes_its_place(tmp_path: Path, path: str) -> None:
    exchange(_folder(tmp_path / "new", 2), tmp_path / "target")
    assert _number(tmp_path / "target") == 2
    assert [child.name for child in tmp_path.iterdir()] == ["target"]


def test_killed_at_any_moment_the_target_is_whole(tmp_path: Path) -> None:
    pick = random.Random(0)
    target = _folder(tmp_path / "target", 0)
    for _ in range(15):
        before = target.stat().st_ino
        process = _start(tmp_path, "swap")
        while target.stat().st_ino == before and process.poll() is None:
            pass
        time.sleep(pick.uniform(0, 0.02))  # a round takes a few milliseconds
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert _number(target) > 0  # before anything is recovered
    recover(target, tmp_path / ".target.partial")
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("path", ["swap", "two steps"], indirect=True)
def test_killed_before_any_step_it_is_the_old_or_the_new_one_after_recovery(tmp_path: Path, path: str) -> None:
    was_missing, numbers, last = [], [], 0
    while True:
        last += 1
        folder = tmp_path / str(last)
        folder.mkdir()
        _folder(folder / "target", 0)
        process = _start(folder, path, last)
        process.communicate()
        was_missing.append(not (folder / "target").exists())
        # Where the user, too, deletes the target, what comes back is whole or nothing.
        copied = shutil.copytree(folder, tmp_path / f"{last} without target")
        shutil.rmtree(copied / "target", ignore_errors=True)
        recover(copied / "target", copied / ".target.partial")
        assert not (copied / "target").exists() or _number(copied / "target") in (0, 1)
        recover(folder / "target", folder / ".target.partial")
        numbers.append(_number(folder / "target"))
        assert [child.name for child in folder.iterdir()] == ["target"]
        if process.returncode == 0:  # it had done everything before its last moment
            break
        assert process.returncode == -signal.SIGKILL
    assert last > 15
    assert numbers == sorted(numbers)
    assert set(numbers) == {0, 1, 2}
    # The window of two renames is there, and the swap has none.
    assert any(was_missing) == (path == "two steps")


def test_no_one_who_looks_finds_the_target_missing(tmp_path: Path) -> None:
    _folder(tmp_path / "target", 0)
    first = (tmp_path / "target").stat().st_ino
    process = _start(tmp_path, "swap")
    seen = set()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        seen.add((tmp_path / "target").stat().st_ino)
    process.kill()
    process.communicate()
    assert seen != {first}


def test_a_run_killed_while_it_deleted_the_old_folder_does_not_bring_back_its_rest(tmp_path: Path, path: str) -> None:
    target = _folder(tmp_path / "target", 2)
    rest = tmp_path / ".target.deleted"
    rest.mkdir()
    (rest / "0").write_text("1")
    shutil.rmtree(target)
    recover(target)
    assert not list(tmp_path.iterdir())


def test_recovery_brings_back_what_was_aside_and_deletes_it_where_the_new_one_is_in_place(tmp_path: Path) -> None:
    target = tmp_path / "target"
    _folder(aside(target), 1)
    _folder(tmp_path / "new", 2)
    recover(target, tmp_path / "new")
    assert _number(target) == 1
    assert list(tmp_path.iterdir()) == [target]
    _folder(aside(target), 0)
    recover(target)
    assert _number(target) == 1
    assert list(tmp_path.iterdir()) == [target]
    recover(target)  # nothing to do is no error


@pytest.mark.parametrize("is_there", [False, True])
def test_an_exchange_recovers_first(tmp_path: Path, path: str, is_there: bool) -> None:
    target = tmp_path / "target"
    _folder(aside(target), 1)
    if is_there:
        _folder(target, 1)
    exchange(_folder(tmp_path / "new", 2), target)
    assert _number(target) == 2
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", ["file", "link", "dangling link"])
def test_a_target_that_is_no_folder_is_refused_and_kept(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    if kind == "file":
        target.write_text("kept")
    else:
        target.symlink_to(_folder(tmp_path / "elsewhere", 1) if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(ConversionError, match="is a link or a file, expected a folder"):
        exchange(_folder(tmp_path / "new", 2), target)
    assert _number(tmp_path / "new") == 2
    assert target.is_symlink() or target.read_text() == "kept"


def test_a_refused_swap_leaves_both_folders_as_they_were(tmp_path: Path, path: str) -> None:
    target = _folder(tmp_path / "target", 1)
    with pytest.raises(ConversionError, match="the finished folder absent cannot take its place"):
        exchange(tmp_path / "absent", target)
    assert _number(target) == 1
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_folder_on_another_disk_is_refused_and_the_old_one_comes_back(tmp_path: Path, path: str) -> None:
    other = Path("/dev/shm") / f"exchange-{os.getpid()}"
    if not other.parent.is_dir() or other.parent.stat().st_dev == tmp_path.stat().st_dev:
        other = tmp_path / "absent"  # one disk alone here: an absent folder is refused as well
    else:
        _folder(other, 2)
    target = _folder(tmp_path / "target", 1)
    try:
        with pytest.raises(ConversionError, match="so it is what it was"):
            exchange(other, target)
        assert _number(target) == 1
        assert list(tmp_path.iterdir()) == [target]
    finally:
        shutil.rmtree(other, ignore_errors=True)


@pytest.mark.parametrize(("function", "wrong"), [("renameat2", 22), ("syncfs", 9)])
def test_calls_of_the_c_library_are_found_and_report_their_errors(function: str, wrong: int) -> None:
    if sys.platform != "linux":
        assert module._linux_call(function) is None
        return
    call = module._linux_call(function)
    assert call is not None
    arguments = (-1,) if function == "syncfs" else (-100, b"/", -100, b"/", 1 << 20)
    assert call(*arguments) == -1
    assert ctypes.get_errno() == wrong
