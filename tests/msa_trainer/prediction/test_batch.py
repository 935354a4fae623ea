"""A run over many studies: what is there is kept, what fails is named, and no one's name is written anywhere."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from msa_trainer.prediction.batch import AHEAD, BEHIND, run
from msa_trainer.prediction.options import PredictOptions


def _content(folder: Path) -> dict[str, str]:
    """SHA-256 of all that is written of the studies."""
    paths = [path for path in sorted(folder.glob("*/**/*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def _folders(output: Path) -> list[Path]:
    return sorted(path for path in output.iterdir() if path.is_dir())


def test_a_run_writes_a_folder_a_study_a_report_and_a_manifest(
    small: PredictOptions, network: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(small, lambda _: network) == 0
    said = capsys.readouterr()
    assert said.out.startswith("4 studies: 4 written; ")
    (line,) = [line for line in said.err.splitlines() if line.startswith("msa predict")]
    assert "msa_pseudonym.key: made; it tells whose" in line
    assert {path.name for path in small.output.iterdir() if path.is_file()} == {"report.html", "run.json"}
    for folder in _folders(small.output):
        name = folder.name
        assert {path.name for path in folder.iterdir()} == {
            f"{name}_ant.nii.gz", f"{name}_post.nii.gz", f"{name}_seg.dcm", "lesions.csv", "findings.json", "complete.json"
        }  # fmt: skip
    manifest = json.loads((small.output / "run.json").read_text())
    assert manifest["outcomes"]["written"] == 4
    assert {study["name"] for study in manifest["studies"]} == {folder.name for folder in _folders(small.output)}
    assert (small.output.parent / "msa_pseudonym.key").stat().st_mode & 0o777 == 0o600


def test_what_is_complete_is_not_done_again(small: PredictOptions, network: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(small, lambda _: network) == 0
    before, predicted = _content(small.output), len(network.seen)
    assert run(small, lambda _: network) == 0
    assert (len(network.seen), _content(small.output)) == (predicted, before)
    assert "4 complete already" in capsys.readouterr().out


@pytest.mark.parametrize("change", ["model", "option", "input", "missing file", "missing folder", "unmarked"])
def test_what_is_of_another_model_option_or_input_or_not_whole_is_done_again(
    small: PredictOptions, network: Any, scans: Path, write_scan: Callable[..., Path], change: str
) -> None:
    assert run(small, lambda _: network) == 0
    predicted, options = len(network.seen), small
    first = _folders(small.output)[0]
    if change == "model":
        network.sha256 = "1" * 64
    elif change == "option":
        options = replace(small, labelme=True)
    elif change == "input":
        write_scan(scans / "Meier1_1.dcm", edit=lambda dataset: setattr(dataset, "StudyDescription", "Corrected"))
    elif change == "missing file":
        next(first.glob("*_ant.nii.gz")).unlink()
    else:
        for path in [*first.iterdir()]:
            path.unlink()
        first.rmdir()
    assert run(options, lambda _: network) == 0
    assert len(network.seen) - predicted == {"model": 8, "option": 8}.get(change, 2)
    assert len(_folders(small.output)) == 4
    assert all((folder / "complete.json").is_file() for folder in _folders(small.output))


def test_what_a_reader_corrected_is_kept_and_another_model_does_not_overwrite_it(
    small: PredictOptions, network: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    options = replace(small, labelme=True)
    assert run(options, lambda _: network) == 0
    corrected = next(small.output.glob("*/labelme/*_anterior.json"))
    corrected.write_text(corrected.read_text().replace("metastasis", "benign"))
    added = corrected.with_name("notes.txt")
    added.write_text("looked at it")
    mine = corrected.read_text()
    assert run(options, lambda _: network) == 0
    network.sha256 = "1" * 64
    assert run(options, lambda _: network) == 1
    said = capsys.readouterr().err
    assert f"{corrected.parents[1]}: holds files that were added or changed since, so it is not made anew" in said
    assert (corrected.read_text(), added.read_text()) == (mine, "looked at it")


def test_a_folder_that_is_not_ours_is_left_alone(
    small: PredictOptions, network: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(small, lambda _: network) == 0
    first = _folders(small.output)[0]
    (first / "complete.json").write_text("{}")
    before = _content(first.parent)
    assert run(small, lambda _: network) == 1
    assert "was not made by this command" in capsys.readouterr().err
    assert _content(first.parent) == before


def _all_bytes(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        yield path, str(path.relative_to(folder)).encode()
        if path.is_file():
            yield path, path.read_bytes()
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    yield from ((path, archive.read(name)) for name in archive.namelist())


@pytest.mark.parametrize("anonymise", [True, False])
def test_no_identity_is_written_but_the_segs_which_return_to_the_archive(
    small: PredictOptions, network: Any, scans: Path, write_scan: Callable[..., Path], anonymise: bool
) -> None:
    whole = write_scan(scans / "Meier_cut.dcm", "ZURICH-4").read_bytes()
    (scans / "Meier_cut.dcm").write_bytes(whole[:-900])
    shutil.copy(scans / "Meier1_1.dcm", scans / "Meier_copy.dcm")
    (scans / "Meier.txt").write_text("no scan")
    options = replace(small, anonymise=anonymise, labelme=anonymise, save_probabilities=True)
    assert run(options, lambda _: network) == 1
    header = dcmread(scans / "Meier1_1.dcm")
    secret = [b"Meier", b"ZURICH", b"Invented", b"20200", header.StudyInstanceUID.encode(), header.SOPInstanceUID.encode()]
    told = {path for path, content in _all_bytes(small.output) if any(word in content for word in secret)}
    assert told == (set() if anonymise else set(small.output.glob("*/*_seg.dcm")))
    segs = [dcmread(path) for path in small.output.glob("*/*_seg.dcm")]
    assert len(segs) == 4
    assert len({str(seg.PatientID) for seg in segs}) == 3
    assert all(str(seg.PatientID).startswith("P" if anonymise else "ZURICH") for seg in segs)


def test_a_bad_study_is_named_and_the_others_are_done(
    small: PredictOptions, network: Any, scans: Path, write_scan: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    bad = write_scan(scans / "bad.dcm", "ZURICH-9")
    bad.write_bytes(bad.read_bytes()[:-900])
    assert run(small, lambda _: network) == 1
    said = capsys.readouterr()
    assert f"msa predict: {bad}: " in said.err
    assert "4 written, 1 failed" in said.out
    assert len(_folders(small.output)) == 4
    (failed,) = [s for s in json.loads((small.output / "run.json").read_text())["studies"] if s["outcome"] == "failed"]
    assert failed["faults"]
    assert "bad" not in failed["faults"][0]


def test_half_a_study_is_written_said_and_tried_again(
    tmp_path: Path, network: Any, write_scan: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_scan(tmp_path / "in" / "a.dcm", views=("anterior",))
    cut = write_scan(tmp_path / "in" / "p.dcm", views=("posterior",))
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-900])
    options = PredictOptions((tmp_path / "in",), tmp_path / "out", "m")
    assert run(options, lambda _: network) == 1
    (folder,) = _folders(options.output)
    assert json.loads((folder / "complete.json").read_text())["faults"]
    assert run(options, lambda _: network) == 1
    assert len(network.seen) == 2
    cut.write_bytes(whole)
    assert run(options, lambda _: network) == 0
    assert len(list(folder.glob("*.nii.gz"))) == 2
    assert "1 partial" in capsys.readouterr().out


def test_a_network_that_fails_on_one_study_is_asked_for_the_next(
    small: PredictOptions, network: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail_once(number: int) -> None:
        if number == 2:
            network.seen.append(None)
            raise RuntimeError("CUDA out of memory.\nmore words")

    network.then = fail_once
    assert run(small, lambda _: network) == 1
    assert "the network failed on it (CUDA out of memory.)" in capsys.readouterr().err
    assert len(_folders(small.output)) == 3


def test_a_second_scan_of_a_study_has_a_folder_of_its_own_and_goes_with_its_file(
    tmp_path: Path, network: Any, write_scan: Callable[..., Path]
) -> None:
    write_scan(tmp_path / "in" / "body.dcm")
    spot = write_scan(tmp_path / "in" / "spot.dcm", shape=(64, 64), views=("anterior",))
    options = PredictOptions((tmp_path / "in",), tmp_path / "out", "m")
    assert run(options, lambda _: network) == 0
    first, second = _folders(options.output)
    assert second.name == f"{first.name}_2"
    assert [len(list(folder.glob("*.nii.gz"))) for folder in (first, second)] == [2, 1]
    spot.unlink()
    assert run(options, lambda _: network) == 0
    assert _folders(options.output) == [first]


def test_nothing_to_do_is_said_and_leaves_nothing(tmp_path: Path, network: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "notes.txt").write_text("no scan")
    assert run(PredictOptions((tmp_path / "in",), tmp_path / "out", "m"), lambda _: network) == 2
    assert f"{tmp_path / 'in'}: holds no scan" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"jobs": 0}, "--jobs is 0"),
        ({"spacing": (2.0, -1.0)}, "--spacing is 2 -1"),
        ({"anonymise": True, "key": "out/key"}, "out/key: the key must not lie in the output"),
        ({"output": "Meier_Hans"}, "Meier_Hans: lies in the output folder"),
        ({"output": "Meier_Hans/Meier1_1.dcm"}, "Meier1_1.dcm: is a file; name a folder"),
        ({"key": "Meier_Hans/Meier1_1.dcm"}, "Meier1_1.dcm: is no key file"),
    ],
)
def test_options_that_cannot_work_are_refused_before_anything_is_loaded(
    small: PredictOptions, tmp_path: Path, changed: dict[str, Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = {name: tmp_path / value if name in ("key", "output") else value for name, value in changed.items()}
    assert run(replace(small, **paths), lambda _: pytest.fail("the model was loaded")) == 2
    assert says in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"Meier_Hans"}


def test_two_runs_on_one_output_do_not_mix(small: PredictOptions, network: Any, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = []

    def second(number: int) -> None:
        if number == 0:  # a POSIX lock is a process's own
            process = multiprocessing.get_context("fork").Process(target=lambda: os._exit(run(small, lambda _: network)))
            process.start()
            process.join()
            outcomes.append(process.exitcode)

    network.then = second
    assert run(small, lambda _: network) == 0
    assert outcomes == [2]
    assert len(_folders(small.output)) == 4


def test_workers_that_are_killed_cost_nothing(small: PredictOptions, network: Any) -> None:
    def kill_workers(number: int) -> None:
        if number in (0, 4):
            for child in multiprocessing.active_children():
                child.kill()

    network.then = kill_workers
    assert run(small, lambda _: network) == 0
    assert len(_folders(small.output)) == 4


def test_no_more_than_a_few_studies_are_held_at_a_time(tmp_path: Path, network: Any, write_scan: Callable[..., Path]) -> None:
    for number in range(14):
        write_scan(tmp_path / "in" / f"{number}.dcm", f"ZURICH-{number}")
    output, behind = tmp_path / "out", []

    def count(number: int) -> None:
        behind.append(number // 2 - len(list(output.glob("*/complete.json"))))

    network.then = count
    assert run(PredictOptions((tmp_path / "in",), output, "m", dicom_seg=False), lambda _: network) == 0
    assert len(behind) == 14
    assert max(behind) <= BEHIND
    assert AHEAD + BEHIND < 14


def _killed_after(seconds: float, options: PredictOptions, network: Any) -> bool:
    process = multiprocessing.get_context("fork").Process(target=run, args=(options, lambda _: network))
    process.start()
    time.sleep(seconds)
    was_running = process.is_alive()
    process.kill()
    process.join()
    return was_running


def test_kill_9_at_any_moment_leaves_whole_studies_alone_and_the_next_run_goes_on(
    small: PredictOptions, network: Any, tmp_path: Path
) -> None:
    whole = replace(small, output=tmp_path / "whole")
    began = time.monotonic()
    assert run(whole, lambda _: network) == 0
    window, expected = time.monotonic() - began, _content(whole.output)
    chance, interrupted = random.Random(0), 0
    for _ in range(6):
        killed = _killed_after(chance.uniform(0.2, 1) * window, small, network)
        window *= 1 if killed else 0.7  # what the killed runs finished is not done again
        interrupted += killed
        done = [path for path in small.output.glob("P*") if path.is_dir()] if small.output.exists() else []
        for folder in done:
            mine = {name: digest for name, digest in _content(small.output).items() if name.startswith(f"{folder.name}/")}
            assert mine == {name: digest for name, digest in expected.items() if name.startswith(f"{folder.name}/")}
    assert interrupted
    time.sleep(1)  # the workers of the killed run end by themselves
    assert run(small, lambda _: network) == 0
    assert _content(small.output) == expected
    assert not list(small.output.glob(".*"))


def _with_small_files(options: PredictOptions, network: Any) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 10, 4 << 10))
    os._exit(run(options, lambda _: network))


def test_a_disk_without_room_leaves_no_half_study_and_the_next_run_goes_on(
    small: PredictOptions, network: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    process = multiprocessing.get_context("fork").Process(target=_with_small_files, args=(small, network))
    process.start()
    process.join()
    said = capfd.readouterr().err
    assert process.exitcode == 2
    assert "cannot be written (File too large); what was there is as it was." in said
    assert "Traceback" not in said
    assert not small.output.exists()
    assert run(small, lambda _: network) == 0


def test_an_interrupt_ends_the_workers_too(small: PredictOptions, network: Any) -> None:
    network.then = lambda number: os.kill(os.getpid(), signal.SIGINT) if number == 2 else None
    with pytest.raises(KeyboardInterrupt):
        run(small, lambda _: network)
    assert not multiprocessing.active_children()
    assert not [thread for thread in threading.enumerate() if "QueueManager" in thread.name]
    network.then = lambda number: None
    assert run(small, lambda _: network) == 0
