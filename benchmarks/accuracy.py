"""Which lever helps small lesions? Any arms at the same plan, data, seeds, steps and augmentation, one process a run.

    python benchmarks/accuracy.py run --arms stock unet msa --seeds 0 1 [--set development] [--steps 1000] [--jobs 2]
    python benchmarks/accuracy.py table [--set development] [--steps 1000]
    python benchmarks/accuracy.py compare --arms unet msa [--set development] [--steps 1000]
    python benchmarks/accuracy.py readme
    python benchmarks/accuracy.py measure
    python benchmarks/accuracy.py arms

Levers are chosen on the development phantom set; the test set comes from another simulator (benchmarks/accuracy_sets.py) and is
for the last comparison. Runs that the table has are not run again, so a stopped bench goes on where it was.
Widths are a quarter of nnU-Net's and a batch has two images unless --full is given, with which both are nnU-Net's own; --full
--steps 250000 is nnU-Net's whole schedule and meant for a CUDA machine, where it was never run. A phantom is a phantom: no
figure here says anything about patients.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from accuracy_arms import ARMS, KEY, run_name
from nnunet_run import commit, environment, machine
from results_table import done_runs, write_rows

RESULTS = Path(__file__).parent / "results" / "accuracy.csv"
TRAINING = Path(__file__).with_name("accuracy_training.py")
Run = dict[str, Any]


class RunError(Exception):
    """A run that failed: its name, and the end of its log."""


def missing_runs(wanted: list[Run], done: list[Run]) -> list[Run]:
    """What was asked for and is not in the table, seed by seed so that every arm has one before any has two."""
    have = {tuple(str(row[name]) for name in KEY) for row in done}
    return sorted((run for run in wanted if tuple(str(run[name]) for name in KEY) not in have), key=lambda run: run["seed"])


def add_row(file: Path, row: Run) -> None:
    """The table with one row more."""
    write_rows(file, [*done_runs(file), row])


def measure_again(rows: list[Run], root: Path) -> list[Run]:
    """The rows with the figures that accuracy_figures.py has of their kept masks now. SystemExit where some are gone."""
    import accuracy_sets as sets
    from accuracy_figures import figures
    from tqdm import tqdm

    gone = [run_name(row) for row in rows if not (root / "predictions" / run_name(row)).is_dir()]
    if gone:
        raise SystemExit(f"{root}: nothing was measured again, the masks of {', '.join(gone)} are gone; run these again.")
    measured = []
    for row in tqdm(rows, desc="runs"):
        arm = ARMS[row["arm"]]
        raw = sets.converted(sets.EVALUATION_SETS[row["set"]], arm.channels, root, arm.views)
        measured.append(row | rounded(figures(raw, root / "predictions" / run_name(row))))
    return measured


def rounded(figures: Run) -> Run:
    return {key: round(value, 5) if isinstance(value, float) else value for key, value in figures.items()}


def perform(run: Run, root: Path) -> Run:
    """One run in a process of its own; its row. Raises RunError, with the log's end, where it fails."""
    name = run_name(run)
    log, output = root / "logs" / f"{name}.txt", root / "predictions" / name
    log.parent.mkdir(parents=True, exist_ok=True)
    options = ["--arm", run["arm"], "--set", run["set"], "--steps", str(run["steps"])]
    options += ["--full"] if run["width"] == "full" else []
    results = root / "results" / name
    results.mkdir(parents=True, exist_ok=True)
    variables = {"MSA_SEED": str(run["seed"]), "nnUNet_n_proc_DA": "0", "OMP_NUM_THREADS": "1"}
    with log.open("w") as file:
        done = subprocess.run(
            [sys.executable, str(TRAINING), *options, "--root", str(root), "--output", str(output)],
            env=environment(root, **variables) | {"nnUNet_results": str(results)},
            stdout=subprocess.PIPE, stderr=file, text=True,
        )  # fmt: skip
        file.write(done.stdout)
    if done.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise RunError(f"{name} failed with exit code {done.returncode} ({log}):\n{tail}")
    measured: Run = json.loads(done.stdout.splitlines()[-1])
    return run | rounded(measured) | {"commit": commit(), "machine": machine()}


def width_of(arguments: argparse.Namespace) -> str:
    return "full" if arguments.full else "quarter"


def run_all(arguments: argparse.Namespace) -> None:
    """Every run that the table lacks, `--jobs` at a time."""
    import accuracy_sets as sets
    from tqdm import tqdm

    wanted = [
        {"set": arguments.set, "width": width_of(arguments), "steps": arguments.steps, "arm": arm, "seed": seed}
        for arm in arguments.arms
        for seed in arguments.seeds
    ]
    todo = missing_runs(wanted, done_runs(RESULTS))
    print(f"{len(wanted) - len(todo)} of {len(wanted)} runs are in the table; {len(todo)} to go.", flush=True)
    root = arguments.root.resolve()
    for channels, views in {(ARMS[run["arm"]].channels, ARMS[run["arm"]].views) for run in todo}:
        sets.preprocessed(sets.converted(sets.TRAINING, channels, root, views), root)
        sets.converted(sets.EVALUATION_SETS[arguments.set], channels, root, views)
    with ThreadPoolExecutor(arguments.jobs) as pool, tqdm(total=len(todo), desc="runs") as bar:
        failed = []
        for finished in as_completed([pool.submit(perform, run, root) for run in todo]):
            bar.update()
            try:
                row = finished.result()
            except RunError as error:  # the others go on, hours of them
                failed.append(str(error))
                continue
            add_row(RESULTS, row)
            bar.set_postfix_str(f"{row['arm']}, seed {row['seed']}: F1 {row['lesion_f1']:.3f}")
    if failed:
        raise SystemExit("\n\n".join([*failed, f"{len(failed)} of {len(todo)} runs failed; the others are in the table."]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="train, predict and measure what the table lacks")
    run.add_argument("--seeds", nargs="+", type=int, required=True)
    run.add_argument("--jobs", type=int, default=2, help="runs at a time, of one thread each (default: %(default)s)")
    compare = commands.add_parser("compare", help="arms against stock by `msa compare`: intervals over patients and seeds")
    measure = commands.add_parser("measure", help="measure the kept masks of every run again, for figures defined anew")
    for command in (run, compare):
        command.add_argument("--arms", nargs="+", choices=list(ARMS), metavar="ARM", required=True)
    for command in (run, compare, measure):
        command.add_argument("--root", type=Path, default=Path(tempfile.gettempdir()) / "msa_accuracy", help="data and models")
    table = commands.add_parser("table", help="arms beside each other, with the spread over seeds")
    for command in (run, compare, table):
        command.add_argument("--set", choices=("development", "test"), default="development")
        command.add_argument("--steps", type=int, default=1000)
        command.add_argument("--full", action="store_true", help="nnU-Net's own widths and batch")
    commands.add_parser("readme", help="put the tables into README.md and docs/levers.md")
    commands.add_parser("arms", help="list the arms")
    arguments = parser.parse_args()
    if arguments.command == "run":
        run_all(arguments)
    elif arguments.command == "arms":
        print("\n".join(ARMS))
    elif arguments.command == "measure":
        write_rows(RESULTS, measure_again(done_runs(RESULTS), arguments.root.resolve()))
    else:
        import accuracy_compare
        import accuracy_table

        rows = done_runs(RESULTS)
        if arguments.command == "readme":
            accuracy_table.update_documents(rows, done_runs(accuracy_compare.RESULTS))
            return
        schedule = accuracy_table.Schedule(arguments.set, arguments.steps, width_of(arguments))
        if arguments.command == "table":
            print(accuracy_table.table(rows, schedule))
        else:
            accuracy_compare.compare(rows, schedule, arguments.arms, arguments.root.resolve())


if __name__ == "__main__":
    main()
