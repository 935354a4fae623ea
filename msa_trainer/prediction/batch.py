"""`msa predict`: scans in, masks, DICOM SEG, tables and one report out; one process runs the network, others read and write."""

from __future__ import annotations

import errno
import io
import os
import shutil
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dataset_conversion.errors import ConversionError
from dataset_conversion.lock import only_one
from dataset_conversion.pseudonym import digest, load_key, store_key
from dataset_conversion.scans import ReadOptions
from evaluation.errors import UnusableInputError
from msa_trainer.prediction.completeness import fingerprint, remove_surplus, scan_name, standing
from msa_trainer.prediction.errors import PredictionError
from msa_trainer.prediction.network import Network
from msa_trainer.prediction.options import PredictOptions, checked_key
from msa_trainer.prediction.outputs import OutputOptions, PredictedView, write_scan
from msa_trainer.prediction.reading import ReadStudy, read_study
from msa_trainer.prediction.run_manifest import StudyRecord, manifest, write_manifest
from msa_trainer.prediction.studies import Study, find_studies
from msa_trainer.prediction.terminal import Terminal
from msa_trainer.prediction.workers import Task, Workers

DONE, PARTIAL, NOTHING = 0, 1, 2
LOCK_NAME = ".msa-predict.lock"
# Studies read ahead of the network and written behind it: enough that it never waits, a few MB each.
AHEAD, BEHIND = 4, 4
# After one of these every further study would fail as well.
HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


OpenNetwork = Callable[[PredictOptions], Network]


def run(options: PredictOptions, open_network: OpenNetwork) -> int:
    """Predict all studies; return 0 if all is there, 1 if something could not be done, 2 if nothing was.

    What could not be done is named on stderr. open_network: loads the model, once.
    """
    terminal = Terminal()
    try:
        return _run(options, open_network, terminal)
    except (PredictionError, ConversionError) as error:
        terminal.say(str(error))
    except OSError as error:
        terminal.say(f"{error.filename or options.output}: {error.strerror or error}.")
    return NOTHING


def _run(options: PredictOptions, open_network: OpenNetwork, terminal: Terminal) -> int:
    began, clock = datetime.now(timezone.utc), time.monotonic()
    key_path = checked_key(options)
    key = load_key(key_path)
    workers = Workers(options.jobs)
    try:
        workers.submit(_warm_up)  # starts the processes, which import while this one loads the model
        with _only_one(options.output):
            found = find_studies(options.input, [options.output, key_path], key)
            for path, reason in found.skipped.items():
                terminal.note(f"{path}: skipped: {reason}")
            for fault in found.faults:
                terminal.say(fault)
            if not found.studies:
                raise PredictionError(f"{options.input[0]}: holds no scan; expected DICOM NM, arrays or converted images.")
            with redirect_stdout(io.StringIO()), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # nnU-Net prints where it looked for the trainer, torch what will change in it
                network = open_network(options)
            if not key_path.exists():
                terminal.say(f"{key_path}: made; it tells whose the names of the studies are, keep it apart from the output.")
            store_key(key_path, key)
            batch = Batch(options, network, workers, terminal, key)
            batch.predict(found.studies)
            skipped = found.skipped | batch.skipped
            description = {"sha256": network.sha256, "labels": dict(network.labels), **network.description()}
            content = manifest(
                batch.records, skipped, network=description, options=batch.written_options, began=began,
                seconds=time.monotonic() - clock, stopped=batch.stopped,
            )  # fmt: skip
            is_whole = _written(options.output, batch, content, terminal)
    finally:
        workers.close()
    terminal.close()
    print(_summary(batch.records, options.output))
    outcomes = {record.outcome for record in batch.records}
    if not outcomes & {"written", "complete", "partial"}:
        return NOTHING
    return DONE if outcomes <= {"written", "complete", "skipped"} and not found.faults and is_whole else PARTIAL


@dataclass
class Batch:
    """The studies on their way: read ahead, predicted in turn, written behind."""

    options: PredictOptions
    network: Network
    workers: Workers
    terminal: Terminal
    key: bytes
    records: list[StudyRecord] = field(default_factory=list)
    skipped: dict[Path, str] = field(default_factory=dict)
    stopped: str = ""
    _writing: deque[tuple[StudyRecord, Path, Task]] = field(default_factory=deque)

    def predict(self, studies: Sequence[Study]) -> None:
        """Predict the studies that are not complete yet; what becomes of each stands in `records`."""
        _clear_up(self.options.output)
        self.records = [StudyRecord(study) for study in studies]
        with tqdm(total=len(studies), desc="predicting", unit="study", disable=None, delay=1) as bar:
            for record, task in self._read_ahead():
                began = time.monotonic()
                self._predict(record, task)
                while len(self._writing) > BEHIND:
                    self._finish(*self._writing.popleft())
                record.seconds = time.monotonic() - began
                bar.update()
                if self.stopped:
                    break
            while self._writing:
                self._finish(*self._writing.popleft())
            bar.update(sum(record.outcome == "complete" for record in self.records))
        if self.stopped:
            left = sum(record.outcome == "not attempted" for record in self.records)
            self.terminal.say(f"{self.stopped} {left} studies were not attempted; run the same command again to go on.")

    @property
    def written_options(self) -> dict[str, Any]:
        """The options that decide what is written; the key as a digest of its own."""
        options = self.options
        return {
            "mirroring": options.mirroring,
            "dicom_seg": options.dicom_seg,
            "labelme": options.labelme,
            "probabilities": options.save_probabilities,
            "anonymise": options.anonymise,
            "spacing": options.spacing,
            "allow_lossy": options.allow_lossy,
            "key": digest("", self.key)[:16] if options.anonymise else None,
        }

    def _read_ahead(self) -> Iterator[tuple[StudyRecord, Task]]:
        """The studies to be done, each with its reading under way."""
        reading = ReadOptions(allow_lossy=self.options.allow_lossy, spacing_mm=self.options.spacing)
        waiting: deque[tuple[StudyRecord, Task]] = deque()
        for record in self.records:
            if self._is_to_do(record):
                waiting.append((record, self.workers.submit(read_study, record.study, self.network.recipe, reading)))
            if len(waiting) > AHEAD:
                yield waiting.popleft()
        yield from waiting

    def _is_to_do(self, record: StudyRecord) -> bool:
        there = standing(self.options.output, record.study.name, self._fingerprint(record.study))
        if there.state == "complete":
            record.outcome, record.markers = "complete", there.markers
            return False
        if there.state in ("missing", "stale"):
            return True
        what = "holds files that were added or changed since" if there.state == "altered" else "was not made by this command"
        place = self.options.output / record.study.name
        self._fail(record, f"{place}: {what}, so it is not made anew; move it away, or choose another output.")
        return False

    def _fingerprint(self, study: Study) -> str:
        return fingerprint(study, self.network.sha256, self.written_options)

    def _predict(self, record: StudyRecord, task: Task) -> None:
        """Run the network on one study, as soon as it is read, and have its outputs written."""
        sources = ", ".join(str(file.path) for file in record.study.files)
        try:
            read: ReadStudy = self.workers.result(task)
        except PredictionError as error:
            self._fail(record, f"{sources}: {error}")
            return
        self.skipped |= read.skipped
        record.notes = read.notes
        for path, reason in read.skipped.items():
            self.terminal.note(f"{path}: skipped: {reason}")
        for note in read.notes:
            self.terminal.note(note)
        for fault in read.faults:
            self._fail(record, fault)
        if not read.scans and not read.faults:
            record.outcome = "skipped"
        remove_surplus(self.options.output, record.study.name, len(read.scans))
        context = {
            "fingerprint": self._fingerprint(record.study),
            "study": record.study.name,
            "patient": record.study.patient,
            "inputs": [file.sha256 for file in record.study.files],
            "model": self.network.sha256,
            "scans": len(read.scans),
            "faults": record.reasons,
            "notes": record.remarks,
        }
        for number, cases in enumerate(read.scans, start=1):
            try:
                answers = self.network.predict([case.pixels for case in cases], cases[0].view.spacing_mm)
            except (PredictionError, RuntimeError, ValueError, MemoryError) as error:  # torch's own are RuntimeErrors
                self._fail(record, f"{sources}: the network failed on it ({_first_line(error)}).")
                continue
            predicted = [PredictedView(case, *answer) for case, answer in zip(cases, answers, strict=True)]
            place = self.options.output / scan_name(record.study.name, number)
            how = OutputOptions(
                dicom_seg=self.options.dicom_seg, labelme=self.options.labelme, anonymise=self.options.anonymise,
                probabilities=self.options.save_probabilities, key=self.key,
            )  # fmt: skip
            arguments = (place, predicted, dict(self.network.labels), how, {**context, "scan": number})
            self._writing.append((record, place, self.workers.submit(write_scan, *arguments)))

    def _finish(self, record: StudyRecord, place: Path, task: Task) -> None:
        """Wait until the outputs of a scan are written."""
        try:
            marker, faults = self.workers.result(task)
        except OSError as error:
            self._fail(record, f"{place}: cannot be written ({error.strerror or error}); what was there is as it was.")
            if error.errno in HOPELESS:
                self.stopped = f"{self.options.output}: {os.strerror(error.errno)}."
            return
        except (ConversionError, PredictionError, UnusableInputError) as error:
            self._fail(record, str(error) if str(place) in str(error) else f"{place}: {error}")
            return
        record.markers.append(marker)
        for fault in faults:
            self._fail(record, fault)
        record.outcome = "partial" if record.faults else "written"

    def _fail(self, record: StudyRecord, fault: str) -> None:
        self.terminal.say(fault)
        record.faults.append(fault)
        record.outcome = "partial" if record.markers else "failed"


@contextmanager
def _only_one(output: Path) -> Iterator[None]:
    """Hold the output folder, made where it is missing and removed where nothing came of it."""
    made = not output.exists()
    output.mkdir(parents=True, exist_ok=True)
    try:
        with ExitStack() as held:
            try:
                held.enter_context(only_one(output / LOCK_NAME))
            except ConversionError as error:
                raise PredictionError(f"{output}: another `msa predict` is writing there; wait for it.") from error
            yield
    finally:
        if made and not any(output.iterdir()):
            output.rmdir()


def _clear_up(output: Path) -> None:
    """Remove what a killed run left under hidden names."""
    for leftover in output.glob(".*.partial*"):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


def _written(output: Path, batch: Batch, content: Mapping[str, Any], terminal: Terminal) -> bool:
    """Write report.html and run.json; False where one of them could not be."""
    from msa_trainer.prediction.report import write_report

    try:
        write_report(output, batch.records, content, batch.network.recipe.channels, batch.workers)
        write_manifest(output, content)
    except OSError as error:
        terminal.say(f"{output}: report.html or run.json cannot be written ({error.strerror or error}).")
        return False
    return True


def _summary(records: Sequence[StudyRecord], output: Path) -> str:
    counted = [(outcome, sum(record.outcome == outcome for record in records)) for outcome in
               ("written", "complete", "partial", "failed", "skipped", "not attempted")]  # fmt: skip
    words = {"complete": "complete already", "skipped": "no planar bone scan"}
    lesions = sum(marker["lesions"] for record in records for marker in record.markers)
    studies = "1 study" if len(records) == 1 else f"{len(records)} studies"
    listed = ", ".join(f"{number} {words.get(outcome, outcome)}" for outcome, number in counted if number)
    return f"{studies}: {listed}; {lesions} lesions marked -> {output / 'report.html'}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _warm_up() -> None:
    """Import what reading and writing need."""
    with suppress(ImportError):
        import highdicom.seg  # noqa: F401
    import skimage.measure  # noqa: F401
