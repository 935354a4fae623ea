"""Time and memory of `msa convert`: 286 two-view scans, and whether memory stays flat from 50 to 2,000 scans.

    python benchmarks/conversion.py [--scans 50 286 2000]

Phantom scans of 256x1024 px; beyond the first PHANTOMS they are copies with other counts in one pixel and other identities, so
that every one of them is read, drawn and written. Prints one row a size and keeps the table in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pandas as pd
import pydicom
from nnunet_run import commit, machine
from tqdm import tqdm

from dataset_conversion.phantom import write_phantom

PHANTOMS = 20
RESULTS = Path(__file__).parent / "results" / "conversion.csv"
POLL_S = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, nargs="+", default=[50, 286, 2000])
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        originals = write_phantom(Path(folder) / "phantoms", PHANTOMS, 0)
        for scans in arguments.scans:
            studies = Path(folder) / "studies"
            _multiply(originals, studies, scans)
            rows += [{"scans": scans, "run": run, **_convert(studies, Path(folder) / "raw")} for run in ("new", "unchanged")]
            print(pd.DataFrame(rows[-2:]).to_string(index=False, header=len(rows) == 2), flush=True)
            shutil.rmtree(studies)
            shutil.rmtree(Path(folder) / "raw")
    table = pd.DataFrame(rows).assign(commit=commit(), machine=machine(), command="python benchmarks/conversion.py")
    table.to_csv(RESULTS, index=False)
    print(f"-> {RESULTS.relative_to(Path.cwd()) if RESULTS.is_relative_to(Path.cwd()) else RESULTS}")


def _multiply(originals: list[Path], studies: Path, scans: int) -> None:
    studies.mkdir()
    for number in tqdm(range(scans), desc=f"{scans} scans", unit="scan", delay=2, disable=None):
        source = originals[number % len(originals)]
        target = studies / f"scan{number:05d}.dcm"
        dataset = pydicom.dcmread(source)
        for keyword in ("PatientID", "StudyInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, f"{dataset[keyword].value}{'.' if keyword.endswith('UID') else '-'}{number}")
        pixels = bytearray(dataset.PixelData)
        pixels[0] = number % 7
        dataset.PixelData = bytes(pixels)
        dataset.save_as(target)
        for outlines in source.parent.glob(f"{source.stem}_*.json"):
            shutil.copy(outlines, studies / outlines.name.replace(source.stem, target.stem))


def _convert(studies: Path, raw: Path) -> dict[str, float]:
    """Seconds of the whole process, and the highest sum of the memory of it and its workers (proportional set size)."""
    command = [sys.executable, "-m", "msa_trainer", "convert", "-i", str(studies), "-d", "1", "-n", "Bench", "-o", str(raw)]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peak = [0]
    watch = threading.Thread(target=_watch, args=(process, peak), daemon=True)
    watch.start()
    _, errors = process.communicate()
    seconds = time.perf_counter() - began
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} ended with exit code {process.returncode}:\n{errors[-2000:]}")
    return {"seconds": round(seconds, 1), "peak_mib": round(peak[0] / 2**20, 0)}


def _watch(process: subprocess.Popen[str], peak: list[int]) -> None:
    while process.poll() is None:
        peak[0] = max(peak[0], sum(_proportional_set_size(pid) for pid in [process.pid, *_children(process.pid)]))
        time.sleep(POLL_S)


def _children(parent: int) -> list[int]:
    """Processes whose parent is `parent`, as Linux lists them by thread."""
    try:
        return [int(pid) for tasks in Path(f"/proc/{parent}/task").glob("*/children") for pid in tasks.read_text().split()]
    except OSError:  # it has just ended
        return []


def _proportional_set_size(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return 1024 * int(next(line.split()[1] for line in rollup.splitlines() if line.startswith("Pss:")))


if __name__ == "__main__":
    main()
