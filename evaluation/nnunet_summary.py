"""nnU-Net's own summary.json of a prediction folder, set against our figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from evaluation.cases import MASK_SUFFIXES
from evaluation.metrics import quotient

# Both divide the same whole numbers of pixels; anything beyond rounding means other masks.
TOLERANCE = 1e-9

_COUNTS = ("TP", "FP", "FN")


def read_nnunet_summary(path: Path) -> pd.DataFrame | None:
    """Counts and Dice by case from what nnUNetv2_evaluate_folder wrote: columns case, tp, fp, fn, dice.

    None where the file is missing, is not nnU-Net's, or has several labels, whose union it does not state. Our foreground is
    any label above 0.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = []
        for entry in content["metric_per_case"]:
            (metrics,) = entry["metrics"].values()
            tp, fp, fn = (int(metrics[name]) for name in _COUNTS)
            dice = metrics["Dice"]
            rows.append((_case(entry["prediction_file"]), tp, fp, fn, np.nan if dice is None else float(dice)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return pd.DataFrame(rows, columns=["case", "tp", "fp", "fn", "dice"])


def compare_with_nnunet(path: Path, images: pd.DataFrame) -> dict[str, Any] | None:
    """Compare with the table of images: None where there is nothing to compare with, else
    {"file", "cases" (in both), "dice" (their mean over those cases, undefined ones left out), "largest_difference" (of Dice),
    "differing" (cases)}.

    A case differs where Dice is off by more than 1e-9 or one of the two is undefined: the masks have changed since, or others
    were evaluated.
    """
    theirs = read_nnunet_summary(path)
    if theirs is None:
        return None
    both = images[["case", "dice"]].merge(theirs, on="case", suffixes=("", "_theirs"))
    if both.empty:
        return None
    undefined = both["dice"].isna() != both["dice_theirs"].isna()
    difference = (both["dice"] - both["dice_theirs"]).abs().fillna(0.0)
    mean = float(quotient(np.nansum(both["dice_theirs"]), both["dice_theirs"].notna().sum()))
    return {
        "file": str(path),
        "cases": len(both),
        "dice": mean if np.isfinite(mean) else None,
        "largest_difference": float(difference.max()),
        "differing": both.loc[undefined | (difference > TOLERANCE), "case"].tolist(),
    }


def _case(file: str) -> str:
    name = file.replace("\\", "/").rsplit("/", 1)[-1]
    return next((name.removesuffix(suffix) for suffix in MASK_SUFFIXES if name.endswith(suffix)), name)
