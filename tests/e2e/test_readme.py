"""Every command in the README runs: as printed, but for schedule, number of folds, device and the paths a reader fills in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import SimpleITK as sitk  # noqa: N813

from dataset_conversion.labels import LabelMap

# Five folds on a busy machine take longer than the general limit.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
BLOCK = re.compile(r"```bash\n(.*?)```", re.DOTALL)
BRIEF_TRAINER = """
import torch
from msa_trainer.trainer import MSATrainer

class MSATrainerBrief(MSATrainer):
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs = self.num_iterations_per_epoch = self.num_val_iterations_per_epoch = 1
"""


def block_after(marker: str) -> str:
    """The first code block after a marker in the README."""
    found = BLOCK.search(README, README.index(marker))
    assert found is not None
    return found.group(1)


def as_tested(script: str) -> str:
    """A one-epoch trainer on the CPU in the place of MSATrainer on CUDA."""
    script = script.replace("-tr MSATrainer", "-tr MSATrainerBrief")
    return re.sub(r"(nnUNetv2_(?:train|predict) [^\n;]*)", r"\1 -device cpu", script)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    """Run a script in bash after the README's `eval "$(msa env)"`, in one folder with a few phantom studies."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "trainers").mkdir()
    (folder / "trainers" / "msa_brief_trainer.py").write_text(BRIEF_TRAINER)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("nnUNet_", "MSA_"))}
    environment = clean | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "nnUNet_extTrainer": str(folder / "trainers"),
        "nnUNet_def_n_proc": "2",
        "nnUNet_n_proc_DA": "1",
        "nnUNet_npp": "1",
        "nnUNet_nps": "1",
    }

    def run(script: str, prepare: str = 'eval "$(msa env)"') -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{prepare}\n{script}"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    run("msa phantom -o SCANS -n 7 --seed 1")
    run.folder = folder  # type: ignore[attr-defined]
    return run


def test_the_five_commands_go_from_dicom_to_a_report(shell) -> None:  # type: ignore[no-untyped-def]
    shell(as_tested(block_after("<!-- run: five commands -->")))
    assert (shell.folder / "report" / "report.html").stat().st_size > 10_000
    assert (shell.folder / "report" / "summary.json").is_file()


def test_models_are_compared_as_the_readme_says(shell) -> None:  # type: ignore[no-untyped-def]
    for run in ("plain_0", "plain_1", "msa_0", "msa_1"):
        shutil.copytree(shell.folder / "predictions", shell.folder / run)
    said = shell(block_after("<!-- run: compare -->"))
    assert "MSA" in said
    assert (shell.folder / "comparison" / "comparison.html").stat().st_size > 10_000


def test_the_labels_file_of_the_readme_is_one(tmp_path: Path) -> None:
    block = re.search(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert block is not None
    (tmp_path / "labels.yaml").write_text(block.group(1))
    labels = LabelMap.from_file(tmp_path / "labels.yaml")
    assert labels.dataset_labels() == {"background": 0, "metastasis": 1, "benign": 2, "ignore": 3}


def test_the_five_fold_recipe_trains_finds_the_best_and_exports(shell) -> None:  # type: ignore[no-untyped-def]
    recipe = as_tested(block_after("<!-- run: five folds -->"))
    # The first test trained the folds without --npz; validating them again writes the probabilities, two steps cheaper.
    shell(recipe.replace("--npz", "--npz --val"))
    assert (shell.folder / "bone_scan_model.zip").stat().st_size > 1_000_000


def test_three_commands_go_from_new_scans_to_a_report_that_opens(shell) -> None:  # type: ignore[no-untyped-def]
    shell("msa phantom -o NEW_SCANS -n 2 --seed 2 && rm NEW_SCANS/*.json")
    script = block_after("<!-- run: three commands -->")
    assert len(script.splitlines()) == 3
    here = script.replace("make install", f"make -C {REPOSITORY} install").replace(" .venv/", f" {REPOSITORY}/.venv/")
    shell(here, prepare="export BROWSER='cp %s opened.html'")
    report = (shell.folder / "findings" / "report.html").read_bytes()
    assert report.count(b'id="viewer-case-') == 2
    assert (shell.folder / "opened.html").read_bytes() == report
    assert len(list((shell.folder / "findings").glob("*/*_seg.dcm"))) == 2


def test_outlines_of_a_prediction_convert_into_a_dataset_of_its_masks(shell) -> None:  # type: ignore[no-untyped-def]
    script = block_after("<!-- run: corrected -->")
    shell(script.replace("-n Corrected", "-n Corrected --folds 2"))  # of the two patients above
    predicted = [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in shell.folder.glob("findings/*/*.nii.gz")]
    labels = shell.folder.glob("nnunet/nnUNet_raw/Dataset002_Corrected/labelsTr/*.nii.gz")
    converted = [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in labels]
    assert len(converted) == 4
    assert any(mask.any() for mask in converted)
    assert sorted(mask.tobytes() for mask in converted) == sorted(mask.tobytes() for mask in predicted)


def test_the_job_array_goes_on_where_a_fold_was_left(shell) -> None:  # type: ignore[no-untyped-def]
    job = next(block for block in BLOCK.findall(README) if "#SBATCH" in block)
    commands = [line for line in job.splitlines() if line and not line.startswith(("#", "cd "))]
    script = as_tested("\n".join(commands)).replace("/path/to/nnunet", "nnunet")
    shell(script, prepare="export SLURM_ARRAY_TASK_ID=0")


def test_every_make_target_of_the_readme_exists() -> None:
    for target in sorted(set(re.findall(r"(?:`|^)make (\w+)", README, re.MULTILINE))):
        done = subprocess.run(["make", "-n", target], cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, f"make {target}: {done.stderr}"


def test_every_file_and_trainer_that_the_readme_names_exists() -> None:
    from msa_trainer import variants

    for name in re.findall(r"^\| `(MSATrainer\w*)`", README, re.MULTILINE):
        assert hasattr(variants, name), name
    for path in re.findall(r"(?:`|\()((?:msa_trainer|benchmarks|docs)/[\w/.]+)", README):
        assert (REPOSITORY / path).exists(), path
