"""`msa demo`: the main job on two CPU cores, every stage through the commands a user types."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from tqdm import tqdm

from msa_trainer.demo_new_scans import gather, masks_of_msa, masks_of_nnunet, require_identical
from msa_trainer.environment import nnunet_environment
from msa_trainer.prediction.processor import WAIT

PATIENTS = 18  # two views each: 14 patients in two folds, 4 to test on
FOLDS = (0, 1)
TEST_FRACTION = 0.2
PHANTOM_ID, REAL_ID = 501, 502
# nnU-Net then plans patches of 448 x 96 px: 0.4 s a training step on two cores.
GPU_MEMORY_TARGET_GB = 0.25
TRAINER = "MSATrainer_demo"
EPOCHS = 10
# NEMA's "NM1" (pydicom-data): a real whole-body bone scan whose pixel sum must be the counts its header states.
REAL_SCAN, REAL_NAME, REAL_COUNTS = "JPEG-LL.dcm", "NM1.dcm", 3_596_452
MARKER, KEY, MODEL = "demo.json", "pseudonyms.key", "model.zip"
FAILED_LINES = 15


@dataclass(frozen=True)
class Stage:
    """One line of the demo: a command, and how its output tells its progress."""

    title: str
    command: list[str]
    counted: str | None = None  # a line matching this is one step of `steps`
    steps: int = 0


@dataclass
class Finished:
    """What a stage took, for the summary page."""

    title: str
    command: str
    seconds: float


@dataclass
class Demo:
    """The demo's folders and the stages done so far."""

    root: Path
    finished: list[Finished] = field(default_factory=list)

    @property
    def raw(self) -> Path:
        return self.root / "nnunet" / "nnUNet_raw"

    def environment(self) -> dict[str, str]:
        """nnU-Net's variables for this demo's own folders, whatever the shell has set; two workers, no seedless start.

        Threads that wait sleep: beside another busy process ones that spin took 184 s an epoch in the place of 16.
        """
        own = {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": "2", "MSA_SEED": "0", "nnUNet_compile": "f"}
        cleared = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
        cleared.setdefault(WAIT, "PASSIVE")
        commands = os.pathsep.join([str(Path(sys.executable).parent), cleared.get("PATH", "")])
        return nnunet_environment(self.root / "nnunet", cleared) | own | {"PATH": commands}

    def run(self, stage: Stage) -> None:
        """Run one stage with its output in logs/, one line on the terminal. Raises SystemExit where it fails."""
        number = len(self.finished) + 1
        log = self.root / "logs" / f"{number:02d}.txt"
        log.parent.mkdir(exist_ok=True)
        began = time.monotonic()
        code = _run_logged(stage, log, self.environment())
        seconds = time.monotonic() - began
        if code != 0:
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-FAILED_LINES:])
            raise SystemExit(f"msa demo: stage '{stage.title}' failed with exit code {code}; its last lines ({log}):\n{tail}")
        print(f"{number:2d}. {stage.title:<58} {seconds:6.1f} s", flush=True)
        self.finished.append(Finished(stage.title, " ".join(stage.command), seconds))


def run(output: Path) -> int:
    """Phantom and one real scan -> dataset -> two folds -> report on new scans -> evaluation -> summary page under `output`.

    An earlier demo's folder is replaced; any other folder with files in it is refused. Returns the exit code.
    """
    output = output.resolve()
    if output.exists() and any(output.iterdir()):
        if not (output / MARKER).is_file():
            print(f"msa demo: {output} has files in it that are not a demo's. Choose another folder with -o.", file=sys.stderr)
            return 2
        shutil.rmtree(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / MARKER).write_text(json.dumps({"finished": False}))
    demo = Demo(output)
    began = time.monotonic()
    for stage in _training(demo):
        demo.run(stage)
    real = _real_scan_counts(demo)
    scans = gather(
        _manifest(demo, PHANTOM_ID), demo.root / "studies", [demo.root / "real_scan" / REAL_NAME], demo.root / "scans"
    )
    for stage in _prediction(demo):
        demo.run(stage)
    masks = _identical_masks(demo)
    print(f"    msa predict and nnUNetv2_predict: {masks} masks, identical", flush=True)
    demo.run(_evaluation(demo))
    page = _summary_page(demo, time.monotonic() - began, real_counts=real, scans=len(scans), masks=masks)
    (output / MARKER).write_text(json.dumps({"finished": True, "seconds": round(time.monotonic() - began, 1)}))
    print(f"\nDone in {(time.monotonic() - began) / 60:.1f} minutes. Open {page}")
    return 0


def _training(demo: Demo) -> list[Stage]:
    studies, real = demo.root / "studies", demo.root / "real_scan"
    _copy_real_scan(real)
    phantom = ["msa", "phantom", "-o", str(studies), "-n", str(PATIENTS)]
    convert = ["msa", "convert", "--key", str(demo.root / KEY)]
    return [
        Stage(f"phantom studies: DICOM + LabelMe, {PATIENTS} patients", phantom),
        Stage(
            "convert to an nnU-Net dataset, patient-grouped folds",
            [*convert, "-i", str(studies), "-d", str(PHANTOM_ID), "-n", "Phantom", "--folds", str(len(FOLDS)),
             "--test-fraction", str(TEST_FRACTION)],
        ),
        Stage(
            "convert the real scan NM1",
            [*convert, "-i", str(real), "-d", str(REAL_ID), "-n", "NM1", "--unlabelled", "test"],
        ),
        Stage(
            "plan and preprocess",
            ["nnUNetv2_plan_and_preprocess", "-d", str(PHANTOM_ID), "-c", "2d", "--verify_dataset_integrity",
             "-gpu_memory_target", str(GPU_MEMORY_TARGET_GB), "-np", "2", "-npfp", "2"],
        ),
        *[
            Stage(
                f"train fold {fold} with {TRAINER}",
                ["nnUNetv2_train", str(PHANTOM_ID), "2d", str(fold), "-tr", TRAINER, "-device", "cpu"],
                counted=r"Epoch time",
                steps=EPOCHS,
            )
            for fold in FOLDS
        ],
    ]  # fmt: skip


def _prediction(demo: Demo) -> list[Stage]:
    """Export the model; `msa predict` on the new scans as they come; nnU-Net's command on the same scans, converted."""
    model = demo.root / MODEL
    trained = ["-d", str(PHANTOM_ID), "-c", "2d", "-tr", TRAINER, "-f", *map(str, FOLDS)]
    # Neither command mirrors: half the passes save two minutes of the demo, and the masks can be compared all the same.
    stock = ["nnUNetv2_predict", *trained, "-device", "cpu", "-npp", "0", "-nps", "0", "--disable_tta"]
    images = {number: _dataset(demo, number) / "imagesTs" for number in (PHANTOM_ID, REAL_ID)}
    return [
        Stage("export the model, both folds", ["nnUNetv2_export_model_to_zip", *trained, "-o", str(model)]),
        Stage(
            "new scans -> masks, DICOM SEG, outlines, report",
            ["msa", "predict", "-i", str(demo.root / "scans"), "-o", str(demo.root / "findings"), "-m", str(model),
             "--key", str(demo.root / KEY), "--labelme", "-device", "cpu", "--no-mirroring"],
        ),
        Stage(
            "nnUNetv2_predict on the test patients, converted",
            [*stock, "-i", str(images[PHANTOM_ID]), "-o", str(demo.root / "predictions")],
            counted=r"^done with",
            steps=len(list(images[PHANTOM_ID].glob("*.nii.gz"))),
        ),
        Stage(
            "nnUNetv2_predict on NM1, converted",
            [*stock, "-i", str(images[REAL_ID]), "-o", str(demo.root / "real_prediction")],
        ),
    ]  # fmt: skip


def _identical_masks(demo: Demo) -> int:
    """Number of masks on which both commands agree; SystemExit where they do not."""
    theirs = masks_of_nnunet(_manifest(demo, PHANTOM_ID), demo.root / "predictions")
    theirs |= masks_of_nnunet(_manifest(demo, REAL_ID), demo.root / "real_prediction")
    return require_identical(masks_of_msa(demo.root / "findings"), theirs)


def _evaluation(demo: Demo) -> Stage:
    phantom = _dataset(demo, PHANTOM_ID)
    return Stage(
        "evaluate by lesion size",
        ["msa", "evaluate", "-r", str(phantom / "labelsTs"), "-p", str(demo.root / "predictions"),
         "-o", str(demo.root / "evaluation"), "--cases", str(phantom / "manifest.csv"), "--images", str(phantom / "imagesTs")],
    )  # fmt: skip


def _run_logged(stage: Stage, log: Path, environment: Mapping[str, str]) -> int:
    """Run a command, its output to `log`; a bar on stderr where its steps can be counted."""
    matches = re.compile(stage.counted).search if stage.counted else (lambda _: None)
    with (
        log.open("w") as file,
        tqdm(total=stage.steps, desc=f"    {stage.title}", leave=False, disable=not stage.steps) as bar,
        subprocess.Popen(
            stage.command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):
        file.write(f"$ {' '.join(stage.command)}\n")
        assert process.stdout is not None
        for line in process.stdout:
            file.write(line)
            file.flush()
            if matches(line):
                bar.update()
        return process.wait()


def _copy_real_scan(folder: Path) -> None:
    """NM1 as a hospital's folder would hold it. Raises SystemExit where the package that ships it is missing."""
    try:
        from pydicom.data import get_testdata_file

        file = get_testdata_file(REAL_SCAN, download=False)
    except (ImportError, ValueError):
        file = None
    if file is None:
        raise SystemExit(f'msa demo: the real scan {REAL_SCAN} is not installed; pip install "msa-trainer[demo]".')
    folder.mkdir()
    shutil.copyfile(str(file), folder / REAL_NAME)


def _real_scan_counts(demo: Demo) -> int:
    """Counts of the converted real scan. Raises SystemExit where they are not what its header accumulated."""
    with _manifest(demo, REAL_ID).open(newline="") as file:
        counts = int(next(csv.DictReader(file))["counts"])
    if counts != REAL_COUNTS:
        raise SystemExit(f"msa demo: NM1 was decoded to {counts} counts; its header accumulated {REAL_COUNTS}.")
    return counts


def _dataset(demo: Demo, number: int) -> Path:
    return next(demo.raw.glob(f"Dataset{number:03d}_*"))


def _manifest(demo: Demo, number: int) -> Path:
    return _dataset(demo, number) / "manifest.csv"


def _summary_page(demo: Demo, seconds: float, **said: int) -> Path:
    """index.html: what was run, the report on the new scans, the figures by lesion size. said: numbers the page states."""
    import jinja2

    summary = json.loads((demo.root / "evaluation" / "summary.json").read_text())
    template = jinja2.Template(resources.files("msa_trainer").joinpath("templates/demo.html").read_text(), autoescape=True)
    page = demo.root / "index.html"
    page.write_text(template.render(stages=demo.finished, minutes=seconds / 60, summary=summary, patients=PATIENTS, **said))
    return page
