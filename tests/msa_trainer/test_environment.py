"""`msa env`: as functions for what it says, as a shell and a job scheduler would run it for what it does."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from msa_trainer import environment
from msa_trainer.environment import EXTERNAL_TRAINERS, FOLDERS, TRAINER_FOLDER, WORKERS, exports, nnunet_environment

MSA = str(Path(sys.executable).parent / "msa")


@pytest.fixture
def clean() -> dict[str, str]:
    """This shell's environment without nnU-Net's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}


def msa_env(arguments: list[str], folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([MSA, "env", *arguments], cwd=folder, env=variables, capture_output=True, text=True)


def test_a_root_places_and_makes_all_three_folders_whatever_was_set(tmp_path: Path) -> None:
    variables = nnunet_environment(tmp_path / "new", {"nnUNet_raw": str(tmp_path / "other")})
    for name in FOLDERS:
        assert variables[name] == str(tmp_path / "new" / name)
        assert (tmp_path / "new" / name).is_dir()
    assert not (tmp_path / "other").exists()


def test_without_a_root_set_folders_stay_and_the_others_go_under_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    variables = nnunet_environment(None, {"nnUNet_raw": str(tmp_path / "mine"), "nnUNet_results": ""})
    assert variables["nnUNet_raw"] == str(tmp_path / "mine")
    assert variables["nnUNet_results"] == str(tmp_path / "nnunet" / "nnUNet_results")
    assert all(Path(variables[name]).is_dir() for name in FOLDERS)
    assert not (tmp_path / "nnunet" / "nnUNet_raw").exists()


def test_a_tilde_becomes_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    variables = nnunet_environment(None, {"nnUNet_raw": "~/raw", EXTERNAL_TRAINERS: "~/trainers"})
    assert variables["nnUNet_raw"] == str(tmp_path / "home" / "raw")
    assert variables[EXTERNAL_TRAINERS].split(os.pathsep)[0] == str(tmp_path / "home" / "trainers")
    assert not (tmp_path / "~").exists()


def test_the_users_own_trainers_stay_first_and_ours_is_added_once(tmp_path: Path) -> None:
    once = nnunet_environment(tmp_path, {EXTERNAL_TRAINERS: os.pathsep.join(["/mine", "/yours"])})
    assert once[EXTERNAL_TRAINERS].split(os.pathsep) == ["/mine", "/yours", str(TRAINER_FOLDER)]
    assert nnunet_environment(tmp_path, once) == once
    slashed = nnunet_environment(tmp_path, {EXTERNAL_TRAINERS: f"{TRAINER_FOLDER}/"})
    assert len(slashed[EXTERNAL_TRAINERS].split(os.pathsep)) == 1


def test_the_folder_for_nnunet_holds_one_module_and_no_package() -> None:
    assert [path.name for path in TRAINER_FOLDER.iterdir() if path.name != "__pycache__"] == ["msa_trainer_classes.py"]


@pytest.mark.parametrize(("cores", "workers"), [(1, "1"), (2, "2"), (64, "8")])
def test_workers_are_as_many_as_cores_but_eight_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, workers: str
) -> None:
    monkeypatch.setattr(environment, "usable_cores", lambda: cores)
    assert nnunet_environment(tmp_path, {})[WORKERS] == workers
    assert nnunet_environment(tmp_path, {WORKERS: ""})[WORKERS] == workers
    assert nnunet_environment(tmp_path, {WORKERS: "5"})[WORKERS] == "5"
    assert "nnUNet_n_proc_DA" not in exports(tmp_path, {})  # 0 would break planning


def test_only_the_cores_this_process_was_given_count() -> None:
    restrict = "os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])" if hasattr(os, "sched_setaffinity") else "None"
    expected = 1 if hasattr(os, "sched_setaffinity") else os.cpu_count()
    code = f"import os; {restrict}; from msa_trainer.environment import usable_cores; print(usable_cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str(expected), done.stderr


def test_a_shell_evaluates_the_lines_even_where_a_folder_has_quotes_and_spaces(tmp_path: Path, clean: dict[str, str]) -> None:
    folder = tmp_path / "Dr. O'Neil's $HOME scans; rm"
    folder.mkdir()
    script = f'eval "$({shlex.quote(MSA)} env)"; printf "%s\\n" "$nnUNet_results" "$nnUNet_extTrainer"'
    done = subprocess.run(["sh", "-euc", script], cwd=folder, env=clean, capture_output=True, text=True)
    assert done.stdout.splitlines() == [str(folder / "nnunet" / "nnUNet_results"), str(TRAINER_FOLDER)], done.stderr
    assert sorted(path.name for path in (folder / "nnunet").iterdir()) == sorted(FOLDERS)


def test_a_command_runs_in_the_environment_with_its_own_exit_code_and_options(tmp_path: Path, clean: dict[str, str]) -> None:
    root = tmp_path / "root"
    done = msa_env(["--root", str(root), "--", "sh", "-c", 'echo "$nnUNet_raw $0"; exit 7', "--root"], tmp_path, clean)
    assert (done.returncode, done.stdout) == (7, f"{root / 'nnUNet_raw'} --root\n")


def test_commands_beside_this_python_are_found_without_a_path(tmp_path: Path, clean: dict[str, str]) -> None:
    done = msa_env(["--", "msa", "--version"], tmp_path, clean | {"PATH": "/usr/bin:/bin"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("msa-trainer ")


def test_what_cannot_be_run_ends_as_in_env(tmp_path: Path, clean: dict[str, str]) -> None:
    (tmp_path / "plain.txt").write_text("no program")
    for command, code in (("no-such-command", 127), ("./missing", 127), ("./plain.txt", 126), (str(tmp_path), 126)):
        done = msa_env(["--", command], tmp_path, clean)
        env = subprocess.run(["env", command], cwd=tmp_path, capture_output=True)
        assert done.returncode == env.returncode == code, (command, done.stderr)
        assert done.stderr.startswith(f"msa env: {command} ")
        assert done.stderr.count("\n") == 1
