"""`msa compare`: several models on the same reference."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from msa_trainer.commands.command import command, options_of

if TYPE_CHECKING:
    from msa_trainer.commands.command import Commands


def add(commands: Commands) -> None:
    """Add the command and its options."""
    example = "msa compare -r labelsTs -p Plain=plain/seed0,plain/seed1 MSA=msa/seed0,msa/seed1 -o report --cases manifest.csv"
    parser = command(commands, "compare", "several models on the same reference: differences and tests", example, _run)
    parser.add_argument("-r", "--reference", type=Path, required=True, metavar="DIR", help="reference masks")
    parser.add_argument(
        "-p", "--prediction", nargs="+", action="extend", required=True, metavar="NAME=DIR[,DIR...]",
        help="models, the first is what the others are compared with; several folders: its training runs, or its folds",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for tables and comparison.html")
    parser.add_argument(
        "--cases", type=Path, metavar="CSV", help="manifest.csv: which case is whose (else a case is a patient)"
    )
    group = parser.add_argument_group("lesions")
    group.add_argument(
        "--match", choices=("overlap", "iou", "optimal"), default="overlap", help="when a lesion counts as found"
    )
    group.add_argument("--iou-threshold", type=float, default=0.5, metavar="T", help="of --match iou")
    group.add_argument("--connectivity", type=int, choices=(4, 8), default=8, help="of pixels in a lesion")
    group.add_argument(
        "--min-lesion-mm2", type=float, default=0.0, metavar="A",
        help="remove smaller lesions from all masks first (3-D: mm3)",
    )  # fmt: skip
    group.add_argument(
        "--cuts-mm", type=float, nargs="+", default=[10.0, 20.0, 40.0], metavar="D",
        help="size strata: equivalent diameters in mm",
    )  # fmt: skip
    group.add_argument(
        "--strata-from", type=Path, metavar="CSV", help="lesions.csv of the training set: its tertiles in place of the cuts"
    )
    group.add_argument("--cluster-mm", type=float, default=20.0, metavar="D", help="clustered: another lesion within D mm")
    parser.add_argument(
        "--spacing", type=float, nargs=2, metavar="MM", help="row and column pixel size in mm, in place of the files' own"
    )
    parser.add_argument("-j", "--jobs", type=int, metavar="N", help="runs evaluated at a time (default: one a core)")


def _run(arguments: argparse.Namespace) -> int:
    from evaluation.compare import CompareOptions, run

    options = options_of(arguments)
    options["prediction"], options["cuts_mm"] = tuple(arguments.prediction), tuple(arguments.cuts_mm)
    options["spacing"] = None if arguments.spacing is None else tuple(arguments.spacing)
    return run(CompareOptions(**options))
