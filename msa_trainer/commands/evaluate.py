"""`msa evaluate`: masks against reference, by lesion size."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from msa_trainer.commands.command import command, options_of

if TYPE_CHECKING:
    from msa_trainer.commands.command import Commands


def add(commands: Commands) -> None:
    """Add the command and its options."""
    example = "msa evaluate -r labelsTs -p predictions -o report --cases manifest.csv"
    parser = command(commands, "evaluate", "masks against reference, by lesion size", example, _run)
    parser.add_argument("-r", "--reference", type=Path, required=True, metavar="DIR", help="reference masks")
    parser.add_argument("-p", "--prediction", type=Path, required=True, metavar="DIR", help="predicted masks of the same names")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT", help="folder for tables and report.html")
    parser.add_argument(
        "--cases", type=Path, metavar="CSV", help="manifest.csv: which case is whose (else a case is a patient)"
    )
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="nnU-Net images, for counts, contrast, body area and pictures"
    )
    _add_lesion_options(parser)
    _add_probability_options(parser)
    parser.add_argument(
        "--spacing", type=float, nargs=2, metavar="MM", help="row and column pixel size in mm, in place of the files' own"
    )
    parser.add_argument("-j", "--jobs", type=int, metavar="N", help="processes (default: one a core, none for few cases)")


def _add_lesion_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("lesions")
    group.add_argument(
        "--match", choices=("overlap", "iou", "optimal"), default="overlap", help="when a lesion counts as found"
    )
    group.add_argument("--iou-threshold", type=float, default=0.5, metavar="T", help="of --match iou")
    group.add_argument("--connectivity", type=int, choices=(4, 8), default=8, help="of pixels in a lesion")
    group.add_argument(
        "--min-lesion-mm2", type=float, default=0.0, metavar="A",
        help="remove smaller lesions from both masks first (3-D: mm3)",
    )  # fmt: skip
    group.add_argument("--tolerance-mm", type=float, default=5.0, metavar="D", help="of the normalised surface Dice")
    group.add_argument(
        "--cuts-mm", type=float, nargs="+", default=[10.0, 20.0, 40.0], metavar="D",
        help="size strata: equivalent diameters in mm",
    )  # fmt: skip
    group.add_argument(
        "--contrast-cuts", type=float, nargs="+", default=[1.5, 2.5], metavar="R",
        help="contrast strata: mean in the lesion over mean around it, needs --images",
    )  # fmt: skip
    group.add_argument(
        "--strata-from", type=Path, metavar="CSV", help="lesions.csv of the training set: its tertiles in place of both cuts"
    )
    group.add_argument("--cluster-mm", type=float, default=20.0, metavar="D", help="clustered: another lesion within D mm")


def _add_probability_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("probabilities", "confidence of lesions, FROC and an operating point")
    group.add_argument("--probabilities", type=Path, metavar="DIR", help="CASE.npz of nnUNetv2_predict --save_probabilities")
    group.add_argument(
        "--confidence", choices=("max", "mean"), default="max", help="of a lesion: its highest or mean probability"
    )
    group.add_argument(
        "--binarise-at", type=float, metavar="P",
        help="predicted masks are where the probability reaches P, in place of the mask files",
    )  # fmt: skip
    group.add_argument(
        "--choose-threshold", type=Path, metavar="JSON", help="pick a confidence threshold on these validation cases into JSON"
    )
    group.add_argument(
        "--threshold-rule", default="f1", metavar="RULE",
        help="how to pick: f1 (highest lesion F1) or fp=N (most sensitive with at most N false positives an image)",
    )  # fmt: skip
    group.add_argument(
        "--threshold", type=Path, metavar="JSON", help="remove predicted lesions below the threshold that JSON holds"
    )


def _run(arguments: argparse.Namespace) -> int:
    from evaluation.evaluate import EvaluationOptions, run

    options = options_of(arguments)
    options["cuts_mm"], options["contrast_cuts"] = tuple(arguments.cuts_mm), tuple(arguments.contrast_cuts)
    options["spacing"] = None if arguments.spacing is None else tuple(arguments.spacing)
    return run(EvaluationOptions(**options))
