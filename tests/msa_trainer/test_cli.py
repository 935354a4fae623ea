"""The `msa` command as it is typed: help at once, one sentence for bad input, exit codes that a script can trust."""

from __future__ import annotations

import dataclasses
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from dataset_conversion.convert import ConversionOptions
from evaluation.compare import CompareOptions
from evaluation.evaluate import EvaluationOptions
from msa_trainer import __version__, cli
from msa_trainer.prediction.options import PredictOptions

MSA = str(Path(sys.executable).parent / "msa")
COMMANDS = ("env", "info", "phantom", "convert", "predict", "evaluate", "compare", "demo")
HEAVY = ("numpy", "torch", "pandas", "pydicom", "nnunetv2", "scipy", "matplotlib", "SimpleITK", "skimage", "tqdm")
# The limit, of the best of five: a busy machine slows some runs, an import of numpy all of them.
HELP_SECONDS = 0.3


def msa(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([MSA, *arguments], capture_output=True, text=True, **options)


@pytest.mark.parametrize("arguments", [["--help"], ["info", "--help"], ["convert", "--help"]])
def test_help_answers_in_under_a_third_of_a_second(arguments: list[str]) -> None:
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        assert msa(*arguments).returncode == 0
        taken.append(time.perf_counter() - began)
    assert min(taken) < HELP_SECONDS, taken


def test_nothing_heavy_is_imported_for_help_or_for_env(tmp_path: Path) -> None:
    for arguments in (*([name, "--help"] for name in COMMANDS), ["env", "--root", str(tmp_path)]):
        code = (
            "import sys, msa_trainer.cli as cli\n"
            "try: cli.main(sys.argv[1:])\n"
            "except SystemExit: pass\n"
            f"sys.exit(' '.join(sorted(set({HEAVY}) & set(sys.modules))))"
        )
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
        assert done.stderr.strip() == "", arguments


def test_every_command_explains_itself_with_an_example_that_parses() -> None:
    assert all(re.search(rf"^ +{name}  ", msa("--help").stdout, re.MULTILINE) for name in COMMANDS)
    parser = cli._parser()
    for name in COMMANDS:
        text = msa(name, "--help").stdout
        example = " ".join(text.split("example: ")[1].split())
        assert example.removeprefix('eval "$(').startswith(f"msa {name}"), example
        assert "default: None" not in text
        assert parser.parse_args(example.removeprefix('eval "$(').removesuffix(')"').split()[1:]).command == name


def test_the_defaults_of_the_command_line_are_those_of_the_packages() -> None:
    parser = cli._parser()
    for line, options in (
        ("convert -i IN -d 1 -n NAME", ConversionOptions),
        ("evaluate -r A -p B -o C", EvaluationOptions),
        ("compare -r A -p B=C D=E -o F", CompareOptions),
        ("predict -i A -o B -m C", PredictOptions),
    ):
        parsed = vars(parser.parse_args(line.split()))
        parsed.pop("command"), parsed.pop("run")
        fields = {one.name: one.default for one in dataclasses.fields(options)}
        assert parsed.keys() <= fields.keys()
        for name, value in parsed.items():
            if fields[name] is not dataclasses.MISSING:
                assert (tuple(value) if isinstance(value, list) else value) == fields[name], name


def test_the_module_runs_as_the_command_does() -> None:
    done = subprocess.run([sys.executable, "-m", "msa_trainer", "--version"], capture_output=True, text=True)
    assert done.stdout == msa("--version").stdout == f"msa-trainer {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["phantom", "-o", "FILE/below", "-n", "1"], "msa phantom: "),
        (["phantom", "-o", "new", "-n", "0"], "msa phantom: 0 patients"),
        (["convert", "-i", "missing", "-d", "1", "-n", "Scan", "-o", "raw"], "msa convert: "),
        (["evaluate", "-r", "missing", "-p", "missing", "-o", "report"], "msa evaluate: "),
        (["compare", "-r", "missing", "-p", "A=missing", "B=missing", "-o", "report"], "msa compare: "),
        (["env", "--root", "FILE/below"], "msa env: "),
        (["predict", "-i", "missing"], "msa predict: error: "),
        (["predict", "-i", "missing", "-o", "out", "-m", "missing"], "msa predict: missing: "),
        (["convert", "-i", "missing"], "msa convert: error: "),
    ],
)
def test_bad_input_ends_with_a_sentence_exit_code_2_and_nothing_written(
    tmp_path: Path, arguments: list[str], says: str
) -> None:
    (tmp_path / "FILE").write_text("")
    done = msa(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert any(line.startswith(says) for line in done.stderr.splitlines()), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert [path.name for path in tmp_path.rglob("*")] == ["FILE"]


def test_the_folder_that_msa_phantom_writes_is_one_that_msa_convert_reads(tmp_path: Path) -> None:
    written = msa("phantom", "-o", "studies", "-n", "3", "--seed", "1", cwd=tmp_path)
    assert written.returncode == 0, written.stderr
    done = msa("convert", "-i", "studies", "-d", "7", "-n", "Scan", "-o", "raw", "--folds", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    labels = str(tmp_path / "raw" / "Dataset007_Scan" / "labelsTr")
    same = msa("evaluate", "-r", labels, "-p", labels, "-o", "report", "--cuts-mm", "5", "15", cwd=tmp_path)
    assert same.returncode == 0, same.stderr
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.parametrize("arguments", [["--help"], ["env", "--root", "."]])
def test_a_reader_that_went_away_is_no_error(arguments: list[str], tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # or nothing is left to flush
    with os.fdopen(write_end) as closed:
        done = subprocess.run([MSA, *arguments], stdout=closed, stderr=subprocess.PIPE, cwd=tmp_path, env=buffered, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupted_command_says_so_and_exits_with_130(tmp_path: Path) -> None:
    studies = tmp_path / "studies"
    running = subprocess.Popen([MSA, "phantom", "-o", str(studies), "-n", "500"], stderr=subprocess.PIPE, text=True)
    give_up = time.monotonic() + 60
    while not any(studies.glob("*.dcm")) and time.monotonic() < give_up:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=30)
    assert running.returncode == 130
    assert "msa phantom: interrupted" in said
    assert "Traceback" not in said
