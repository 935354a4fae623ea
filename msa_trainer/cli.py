"""`msa ...`: argparse only; every command imports what it needs when it runs, so that help answers at once."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msa_trainer import __version__

CANNOT_TRAIN, NOTHING_DONE, INTERRUPTED = 1, 2, 130
DESCRIPTION = "Bone metastases on planar bone scans inside nnU-Net v2: conversion, training, evaluation. Research use only."


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 partial, 2 nothing done (usage, bad input)."""
    try:
        try:
            return _run(_parser().parse_args(argv))
        finally:  # here, and not when Python ends: a closed pipe is dealt with below, for --help too
            sys.stdout.flush()
    except BrokenPipeError:  # `msa info | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _run(arguments: argparse.Namespace) -> int:
    command: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return command(arguments)
    except KeyboardInterrupt:
        print(f"msa {arguments.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as reason:
        print(f"msa {arguments.command}: {reason.filename or 'output'}: {reason.strerror or reason}", file=sys.stderr)
    except _bad_input() as reason:
        print(f"msa {arguments.command}: {reason}", file=sys.stderr)
    return NOTHING_DONE


def _bad_input() -> tuple[type[Exception], ...]:
    """What the packages raise with a sentence for the user; imported only once something was raised."""
    from dataset_conversion.errors import ConversionError
    from evaluation.errors import UnusableInputError

    return ConversionError, UnusableInputError


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Names the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="msa", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"msa-trainer {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for add in (_add_env, _add_info, _add_phantom, _add_convert, _add_evaluate, _add_demo):
        add(commands)
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    example: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example: {example}",
        formatter_class=_HelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _add_env(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "env", "print nnU-Net's variables for a shell, or run one command with them", 'eval "$(msa env)"', _env
    )
    parser.add_argument("--root", type=Path, metavar="DIR", help="put nnU-Net's three folders under this one")
    parser.add_argument(
        "program", nargs=argparse.REMAINDER, metavar="-- COMMAND...", help="run this command in the environment"
    )


def _env(arguments: argparse.Namespace) -> int:
    from msa_trainer.environment import exports, run_in_environment

    program = arguments.program[1:] if arguments.program[:1] == ["--"] else arguments.program
    if program:
        return run_in_environment(program, arguments.root, os.environ)
    print(exports(arguments.root, os.environ))
    return 0


def _add_info(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "info", "versions, devices, and whether training can start", "msa info --json", _info)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _info(arguments: argparse.Namespace) -> int:
    from msa_trainer.info import as_json, as_text, collect

    found = collect(os.environ)
    print(as_json(found) if arguments.json else as_text(found))
    return 0 if found["can_train"] else CANNOT_TRAIN


def _add_phantom(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "phantom", "write synthetic annotated studies (DICOM NM + LabelMe)", "msa phantom -o studies -n 20", _phantom
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder to write into")
    parser.add_argument("-n", "--patients", type=int, required=True, help="number of patients")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes")


def _phantom(arguments: argparse.Namespace) -> int:
    from dataset_conversion.phantom import write_phantom

    studies = write_phantom(arguments.output, arguments.patients, arguments.seed)
    print(f"{len(studies)} studies of {arguments.patients} phantom patients in {arguments.output}")
    return 0


def _add_convert(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    example = "msa convert -i studies -d 1 -n BoneScan"
    parser = _command(commands, "convert", "annotated DICOM studies -> nnU-Net raw dataset", example, _convert)
    parser.add_argument("-i", "--input", type=Path, required=True, metavar="DIR", help="folder with DICOM NM and LabelMe JSON")
    parser.add_argument("-d", "--dataset-id", type=int, required=True, metavar="ID", help="nnU-Net dataset number, 1 to 999")
    parser.add_argument("-n", "--name", required=True, help="dataset name; gives DatasetXXX_NAME")
    parser.add_argument("-o", "--raw", type=Path, metavar="RAW", help="where datasets stand (default: $nnUNet_raw)")
    parser.add_argument("--channels", choices=("zscore", "anscombe"), default="zscore", help="what is written of the counts")
    parser.add_argument("--pixel-rule", choices=("centre", "labelme"), default="centre", help="which pixels an outline holds")
    parser.add_argument("--folds", type=int, default=5, metavar="K", help="patient-grouped folds")
    parser.add_argument("--test-fraction", type=float, default=0.0, metavar="F", help="share of the patients kept for testing")
    parser.add_argument(
        "--unlabelled", choices=("skip", "test", "negative"), default="skip",
        help="scans without outlines: leave out, to imagesTs, or declared free of lesions",
    )  # fmt: skip
    parser.add_argument("--key", type=Path, metavar="FILE", help="key of the pseudonyms, made where it is missing; keep it")
    parser.add_argument("--seed", type=int, default=0, help="of folds and test patients")


def _convert(arguments: argparse.Namespace) -> int:
    from dataset_conversion.convert import ConversionOptions, run

    return run(ConversionOptions(**_options(arguments)))


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    example = "msa evaluate -r labelsTs -p predictions -o report --cases manifest.csv"
    parser = _command(commands, "evaluate", "masks against reference, by lesion size", example, _evaluate)
    parser.add_argument("-r", "--reference", type=Path, required=True, metavar="DIR", help="reference masks")
    parser.add_argument("-p", "--prediction", type=Path, required=True, metavar="DIR", help="predicted masks of the same names")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for tables and report.html")
    parser.add_argument(
        "--cases", type=Path, metavar="CSV", help="manifest.csv: which case is whose (else a case is a patient)"
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="nnU-Net images, for pictures in the report")
    parser.add_argument(
        "--cuts-mm",
        type=float,
        nargs="+",
        default=[10.0, 20.0, 40.0],
        metavar="D",
        help="size strata: equivalent diameters in mm",
    )
    parser.add_argument("--cluster-mm", type=float, default=20.0, metavar="D", help="clustered: another lesion within D mm")
    parser.add_argument(
        "--match", choices=("overlap", "iou", "optimal"), default="overlap", help="when a lesion counts as found"
    )
    parser.add_argument("--connectivity", type=int, choices=(4, 8), default=8, help="of pixels in a lesion")
    parser.add_argument(
        "--spacing", type=float, nargs=2, metavar="MM", help="row and column pixel size in mm, in place of the files' own"
    )


def _evaluate(arguments: argparse.Namespace) -> int:
    from evaluation.evaluate import EvaluationOptions, run

    options = _options(arguments)
    options["cuts_mm"] = tuple(arguments.cuts_mm)
    options["spacing"] = None if arguments.spacing is None else tuple(arguments.spacing)
    return run(EvaluationOptions(**options))


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "demo", "the main job on phantoms and one real scan, about 10 minutes on 2 cores", "msa demo", _demo
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("demo"), metavar="DIR", help="folder to write into")


def _demo(arguments: argparse.Namespace) -> int:
    from msa_trainer.demo import run

    return run(arguments.output)


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What a command's option class takes: everything but argparse's own."""
    return {name: value for name, value in vars(arguments).items() if name not in ("command", "run")}


if __name__ == "__main__":
    sys.exit(main())
