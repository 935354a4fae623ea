"""`msa predict` beside `nnUNetv2_predict`: whole processes on the CPU, in turn, on the same images of 1024x256 px.

    python benchmarks/predict.py [--images 50] [--rounds 3]
    python benchmarks/predict.py --memory [--studies 60]

Three commands a round: nnUNetv2_predict on an MSATrainer model, `msa predict` on the same model, nnUNetv2_predict on the stock
trainer's model with its own mirroring. Cost does not depend on what the weights are, so they are random; the last layer is
shifted until few pixels are marked, as on a scan. Time runs from the start of the command, first mask as the file appears.
Writes benchmarks/results/predict.csv.

--memory: one `msa predict` of DICOM studies, two views each, by a narrow MSATrainer model; the memory of its whole process tree
while so many studies have been written. Writes benchmarks/results/predict_memory.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from nnunet_run import command, commit, environment, machine

RESULTS = Path(__file__).parent / "results" / "predict.csv"
MEMORY_RESULTS = RESULTS.with_name("predict_memory.csv")
SHAPE, CASES, DATASET, NUMBER = (1024, 256), 6, "Dataset992_Predict", 992
SPACING = (2.26, 2.26)
NARROW = 32  # features of the small model
SAMPLED_SECONDS = 0.1
MARKED = 1e-4  # of the pixels, some ten lesions an image
NNUNET, OURS, STOCK = "nnUNetv2_predict, MSATrainer", "msa predict, MSATrainer", "nnUNetv2_predict, stock U-Net"
MEASURES = {
    "first_mask_seconds": "first mask, s",
    "seconds": "all, s",
    "images_per_minute": "images a minute",
    "cpu_seconds": "CPU time, s",
    "memory_mib": "largest process, MiB",
}
RECIPE = {"version": 1, "crop": "none", "views": "single", "channels": "zscore", "pixel_rule": "centre", "spacing_mm": SPACING}


def counts(seed: int) -> Any:
    """Counts of a body with a few hot spots."""
    import numpy as np

    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    mean = np.where((abs(columns - 128) < 70) & (abs(rows - 512) < 450), 6.0, 0.3)
    for row, column in zip(rng.integers(100, 900, 6), rng.integers(70, 180, 6), strict=True):
        mean[(rows - row) ** 2 + (columns - column) ** 2 < rng.integers(3, 8) ** 2] = 30
    return rng.poisson(mean).astype(np.uint16)


def scan(seed: int) -> Any:
    """The same as the network gets it."""
    from dataset_conversion.network_input import network_input

    return network_input(counts(seed), "zscore")


def write_studies(folder: Path, number: int) -> None:
    """DICOM studies of as many patients, both views in one file."""
    from dataset_conversion.dicom_nm import stable_uid, write_study
    from dataset_conversion.scintigram import VIEWS, Scintigram

    folder.mkdir()
    for patient in range(number):
        file = folder / f"study_{patient:04d}.dcm"
        uids = stable_uid(file.name), stable_uid(file.name, "instance")
        views = [
            Scintigram(counts(2 * patient + frame), SPACING, view, f"BENCHMARK-{patient}", *uids, frame, file)
            for frame, view in enumerate(VIEWS, start=1)
        ]
        identity = {"patient_name": "Nobody^Benchmark", "patient_sex": "O", "study_date": "20200102"}
        write_study(file, views, **identity, study_description="SIMULATED BONE SCAN, NO PATIENT")


def write_images(folder: Path, number: int, first_seed: int) -> list[str]:
    """Images as `msa convert` names them, a study each; returns the cases."""
    from dataset_conversion.network_input import write_image

    folder.mkdir(parents=True)
    cases = [f"P{seed:06x}_01_ant" for seed in range(first_seed, first_seed + number)]
    for seed, case in enumerate(cases, start=first_seed):
        write_image(folder / f"{case}_0000.nii.gz", scan(seed), SPACING)
    return cases


def plan(root: Path, widest: int | None = None) -> None:
    """Have nnU-Net plan for images of this size, by its own command. widest: most features a stage, for a small model."""
    import numpy as np

    from dataset_conversion.network_input import write_image

    raw = root / "nnUNet_raw" / DATASET
    cases = write_images(raw / "imagesTr", CASES, 10_000)
    label = np.zeros(SHAPE, np.uint8)
    label[500:510, 100:110] = 1
    (raw / "labelsTr").mkdir()
    for case in cases:
        write_image(raw / "labelsTr" / f"{case}.nii.gz", label, SPACING)
    content = {"channel_names": {"0": "zscore"}, "labels": {"background": 0, "metastasis": 1}, "numTraining": CASES}
    (raw / "dataset.json").write_text(json.dumps(content | {"file_ending": ".nii.gz", "msa": RECIPE}))
    arguments = ["nnUNetv2_plan_and_preprocess", "-d", str(NUMBER), "-c", "2d", "-np", "1", "-npfp", "1"]
    command(arguments, root, root / "plan.txt")
    if widest is not None:
        file = root / "nnUNet_preprocessed" / DATASET / "nnUNetPlans.json"
        plans = json.loads(file.read_text())
        network = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]
        network["features_per_stage"] = [min(features, widest) for features in network["features_per_stage"]]
        file.write_text(json.dumps(plans))


def save_models(root: Path) -> None:
    """Untrained models of both trainers, each as its trainer saves it; runs in a process that has nnU-Net's variables."""
    import numpy as np
    import torch
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    from msa_trainer.prediction.engine import Engine
    from msa_trainer.prediction.model import load_model
    from msa_trainer.trainer import MSATrainer

    preprocessed = root / "nnUNet_preprocessed" / DATASET
    dataset = json.loads((preprocessed / "dataset.json").read_text())
    for trainer_class in (MSATrainer, nnUNetTrainer):
        plans = json.loads((preprocessed / "nnUNetPlans.json").read_text())
        torch.manual_seed(0)
        trainer: Any = trainer_class(plans | {"continue_training": False}, "2d", 0, dataset, torch.device("cpu"))
        trainer.initialize()
        trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()  # which axes prediction mirrors
        folder = Path(trainer.output_folder_base)
        (folder / "plans.json").write_text(json.dumps(plans))
        (folder / "dataset.json").write_text(json.dumps(dataset))
        for name, parameter in trainer.network.named_parameters():
            if name.endswith("norm.weight"):  # an untrained residual branch is scaled by 0
                torch.nn.init.uniform_(parameter, 0.5, 1)
        file = str(Path(trainer.output_folder) / "checkpoint_final.pth")
        trainer.save_checkpoint(file)
        probabilities = Engine(load_model(folder)).predict([scan(0)[None]], SPACING)[0].probabilities.astype(np.float64)
        odds = np.log(probabilities[1] / probabilities[0])
        trainer.network.decoder.seg_layers[-1].bias.data[0] += float(np.quantile(odds, 1 - MARKED))
        trainer.save_checkpoint(file)


def commands(images: Path, outputs: dict[str, Path]) -> dict[str, list[str]]:
    """What a user would type for each arm."""
    stock = ["-d", str(NUMBER), "-c", "2d", "-f", "0", "-device", "cpu"]
    return {
        NNUNET: ["nnUNetv2_predict", "-i", str(images), "-o", str(outputs[NNUNET]), "-tr", "MSATrainer", *stock],
        OURS: ["msa", "predict", "-i", str(images), "-o", str(outputs[OURS]), "-m", str(NUMBER), "-f", "0", "-device", "cpu"],
        STOCK: ["nnUNetv2_predict", "-i", str(images), "-o", str(outputs[STOCK]), *stock],
    }


def measure(arguments: list[str], output: Path, root: Path, log: Path) -> dict[str, float]:
    """Run one command and watch for its first mask."""
    program = Path(sys.executable).parent / arguments[0]
    shutil.rmtree(output, ignore_errors=True)
    with log.open("a") as file:
        began = time.perf_counter()
        process = subprocess.Popen([program, *arguments[1:]], env=environment(root), stdout=file, stderr=subprocess.STDOUT)
        first: float | None = None
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if first is None and any(
                not part.startswith(".") for path in output.rglob("*.nii.gz") for part in path.parts[-2:-1]
            ):
                first = time.perf_counter() - began
            if pid:
                break
            time.sleep(0.02)
        seconds = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status) != 0 or first is None:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{log.read_text(errors='replace')[-2000:]}")
    return {
        "first_mask_seconds": first,
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "memory_mib": usage.ru_maxrss / 1024,
    }


def tree_memory(root_pid: int) -> float:
    """MiB of a process and all below it, shared pages shared out (PSS). Linux alone."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(entry.name))
    found = [root_pid]
    for pid in found:
        found += parents.get(pid, [])
    total = 0
    for pid in found:
        with suppress(OSError):  # ended meanwhile
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def measure_memory(studies: int) -> list[dict[str, Any]]:
    """Rows: studies written, and the highest memory since the row before; the last row until the end, the report included."""
    marks = sorted({min(mark, studies) for mark in (10, 30, studies)})
    peaks, ends = [0.0] * (len(marks) + 1), [0.0] * (len(marks) + 1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        plan(root, widest=NARROW)
        command([sys.executable, __file__, "--save-models", str(root)], root, root / "models.txt")
        write_studies(root / "studies", studies)
        line = ["predict", "-i", str(root / "studies"), "-o", str(root / "out"), "-m", str(NUMBER), "-f", "0", "-device", "cpu"]
        with (root / "run.txt").open("w") as log:
            began = time.perf_counter()
            process = subprocess.Popen(
                [Path(sys.executable).parent / "msa", *line], env=environment(root), stdout=log, stderr=subprocess.STDOUT
            )
            while process.poll() is None:
                written = sum(1 for _ in (root / "out").glob("P*/complete.json"))
                span = sum(written >= mark for mark in marks)
                peaks[span] = max(peaks[span], tree_memory(process.pid))
                ends[span] = time.perf_counter() - began
                time.sleep(SAMPLED_SECONDS)
        if process.returncode != 0:
            raise SystemExit(f"msa {' '.join(line)} failed:\n{(root / 'run.txt').read_text(errors='replace')[-2000:]}")
    names = [*(str(mark) for mark in marks), "report"]
    return [{"until": name, "peak_pss_mib": peak, "seconds": end} for name, peak, end in zip(names, peaks, ends, strict=True)]


def differing_pixels(ours: Path, theirs: Path) -> int:
    """Pixels in which the masks of two folders differ; SystemExit where one lacks a mask."""
    import SimpleITK as sitk  # noqa: N813

    total = 0
    for path in sorted(theirs.glob("*.nii.gz")):
        found = list(ours.rglob(path.name))
        if len(found) != 1:
            raise SystemExit(f"{ours}: holds {len(found)} masks {path.name}")
        masks = [sitk.GetArrayFromImage(sitk.ReadImage(str(one))) for one in (path, found[0])]
        total += int((masks[0] != masks[1]).sum())
    return total


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: each measure's median, and throughput against the other commands of the same round."""
    lines = ["| | " + " | ".join(MEASURES.values()) + " |", "|---|" + "---:|" * len(MEASURES)]
    lines += [f"| {row['arm']} | " + " | ".join(f"{float(row[m]):.3g}" for m in MEASURES) + " |" for row in rows]
    ours = next(row for row in rows if row["arm"] == OURS)
    lines.append(
        f"\n`msa predict` has {float(ours['times_nnunet']):.2f} times the throughput of nnUNetv2_predict on the same model"
        f" ({int(ours['differing_pixels'])} pixels of the masks differ) and {float(ours['times_stock']):.2f} times that of the"
        f" stock U-Net with its own mirroring. {ours['images']} images of 1024x256 px, {ours['rounds']} rounds in turn,"
        f" medians; {ours['machine']}, load {float(ours['load']):.1f} before;"
        f" commit {ours['commit']}; `python benchmarks/predict.py`."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true", help="memory over many studies, in the place of time")
    parser.add_argument("--studies", type=int, default=60, help="of --memory")
    parser.add_argument("--save-models", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.save_models:
        save_models(arguments.save_models)
        return
    import pandas as pd
    from tqdm import tqdm

    if arguments.memory:
        origin = {"studies": arguments.studies, "machine": machine(), "commit": commit()}
        origin["command"] = f"python benchmarks/predict.py --memory --studies {arguments.studies}"
        measured_memory = pd.DataFrame([row | origin for row in measure_memory(arguments.studies)])
        measured_memory.to_csv(MEMORY_RESULTS, index=False, float_format="%.5g")
        print(measured_memory[["until", "peak_pss_mib", "seconds"]].to_string(index=False, float_format="%.0f"))
        return
    load = os.getloadavg()[0]
    measured: dict[str, list[dict[str, float]]] = {arm: [] for arm in (NNUNET, OURS, STOCK)}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        plan(root)
        command([sys.executable, __file__, "--save-models", str(root)], root, root / "models.txt")
        write_images(root / "images", arguments.images, 1)
        outputs = {arm: root / "out" / str(number) for number, arm in enumerate(measured)}
        todo = [(arm, line) for _ in range(arguments.rounds) for arm, line in commands(root / "images", outputs).items()]
        for arm, line in tqdm(todo, desc="commands in turn"):
            measured[arm].append(measure(line, outputs[arm], root, root / "run.txt"))
        differing = differing_pixels(outputs[OURS], outputs[NNUNET])
    rows: list[dict[str, Any]] = []
    for arm, rounds in measured.items():
        row: dict[str, Any] = {"arm": arm, "images": arguments.images, "rounds": arguments.rounds}
        row |= {m: statistics.median(one[m] for one in rounds) for m in MEASURES if m in rounds[0]}
        row["images_per_minute"] = 60 * arguments.images / row["seconds"]
        for other, name in ((NNUNET, "times_nnunet"), (STOCK, "times_stock")):
            row[name] = statistics.median(b["seconds"] / a["seconds"] for a, b in zip(rounds, measured[other], strict=True))
        rows.append(row | {"differing_pixels": differing, "load": load, "machine": machine(), "commit": commit()})
    RESULTS.parent.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(RESULTS, index=False, float_format="%.5g")
    print(table(pd.read_csv(RESULTS).to_dict("records")))


if __name__ == "__main__":
    main()
