"""What the accuracy benchmark reports of one run, all of it measured by `evaluation`."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from evaluation.evaluate import evaluate
from evaluation.operating_point import as_json
from evaluation.options import EvaluationOptions

# Cuts of the probability that make the free-response curve's candidates; each run has the cut of its best FROC average. With
# 0.5 a network that is rarely sure has no operating point at 1 false positive; with 0.1 one that is rarely sure of the
# background marks the whole body as a single candidate (1 of 15 runs on the test set): so a candidate must also fit.
CANDIDATES_AT = (0.1, 0.3, 0.5)
FITS = 0.1  # intersection over union at which a candidate finds a lesion, as in nnDetection (Baumgartner et al. 2021)
RULE = "fp=1"
# Equivalent diameter under which a lesion is called small: the lower tertile of the training set's 575 lesions (11.7 mm).
SMALL_MM = 12.0
NAMES = {
    "pooled_dice": "Dice, pooled",
    "image_dice": "Dice an image",
    "lesion_f1": "lesion F1",
    "fp_per_lesion_free_image": "false positives a lesion-free image",
    "froc": "FROC average",
    "recall_at_1_fp": "recall at 1 FP an image",
    "small_recall_at_1_fp": f"recall of lesions < {SMALL_MM:g} mm at 1 FP an image",
}


def figures(raw: Path, predicted: Path) -> dict[str, float | int]:
    """Figures of the masks and probabilities in `predicted` against a raw dataset's labelsTr.

    Dice and F1 at probability 0.5, where a lesion is found when it shares a pixel with the mask; recall at one false positive
    an image is read off the free-response curve, where a lesion is found when a candidate fits it (FITS).
    """
    with tempfile.TemporaryDirectory() as folder:
        plain = EvaluationOptions(
            raw / "labelsTr", predicted, Path(folder), cases=raw / "manifest.csv", cuts_mm=(SMALL_MM,), jobs=1
        )
        at_half = evaluate(plain).summary
        point = Path(folder) / "point.json"
        fitting = replace(plain, probabilities=predicted, match="iou", iou_threshold=FITS)
        curves = {}
        for cut in CANDIDATES_AT:
            options = replace(fitting, binarise_at=cut)
            curves[options] = evaluate(replace(options, choose_threshold=point, threshold_rule=RULE))
        best = max(curves, key=lambda one: float(curves[one].summary["froc"]["average"]["mean"]))
        drawn = curves[best]
        assert drawn.operating_point is not None
        point.write_bytes(as_json(drawn.operating_point))
        at_one = evaluate(replace(best, threshold=point)).summary
    lesion, froc = at_half["lesion"], drawn.summary["froc"]
    return {
        "pooled_dice": at_half["pixel"]["pooled"]["dice"],
        "pooled_precision": at_half["pixel"]["pooled"]["precision"],
        "pooled_recall": at_half["pixel"]["pooled"]["recall"],
        "image_dice": at_half["pixel"]["per_image"]["dice"]["mean"],
        "lesion_f1": lesion["f1"]["mean"],
        "sensitivity": lesion["sensitivity"]["mean"],
        "fp_per_image": lesion["fp_per_image"]["mean"],
        "fp_per_lesion_free_image": lesion["fp_per_lesion_free_image"]["mean"],
        "froc": froc["average"]["mean"],
        "recall_at_1_fp": at_one["lesion"]["sensitivity"]["mean"],
        "small_recall_at_1_fp": at_one["strata"][0]["sensitivity"]["mean"],
        "fp_at_that_point": at_one["lesion"]["fp_per_image"]["mean"],
        "images": at_half["images"]["n"],
        "lesions": lesion["sensitivity"]["n"],
        "small_lesions": at_half["strata"][0]["n"],
    }
