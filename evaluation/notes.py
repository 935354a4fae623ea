"""Sentences that the results must not be read without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BARELY_SHARE = 0.25  # of the lesions found, from which sensitivity says little about them


def notes(summary: Mapping[str, Any]) -> list[str]:
    """What was done to the masks before they were measured, and what was found about them, one sentence each.

    summary: content of summary.json. The warnings on patients and missing predictions stand apart (report.warnings).
    """
    return [
        *_threshold_notes(summary),
        *_removal_notes(summary),
        *_overlap_notes(summary),
        *_froc_notes(summary),
        *_image_notes(summary),
        *_nnunet_notes(summary),
    ]


def _threshold_notes(summary: Mapping[str, Any]) -> list[str]:
    options, point = summary["options"], summary["operating_point"]
    sentences = []
    if options["binarise_at"] is not None:
        sentences.append(
            f"Predicted masks are where the lesion probability reaches {options['binarise_at']:g}, not the mask files."
        )
    if point is None:
        return sentences
    if not point["applied"]:
        return [*sentences, f"Threshold chosen here and not applied here: {point['sentence']}; kept in {point['file']}."]
    removed = summary["lesion_counts"]["removed_below_threshold"]
    sentences.append(
        f"Threshold applied: {point['sentence']}, from {point['file']}; {removed} predicted lesions below it were removed."
    )
    if point["cases_it_was_picked_on"]:
        sentences.append(
            f"Warning: the threshold was picked on {point['cases_it_was_picked_on']} of these very cases; "
            "their figures are too good."
        )
    return sentences


def _removal_notes(summary: Mapping[str, Any]) -> list[str]:
    smallest, unit = summary["options"]["min_lesion_mm2"], summary["size"]["unit"]
    if not smallest:
        return []
    counts = summary["lesion_counts"]
    return [
        f"Lesions smaller than {smallest:g} {unit} were removed from both masks before anything was measured: "
        f"{counts['removed_small_reference']} of the reference, {counts['removed_small_predicted']} predicted."
    ]


def _overlap_notes(summary: Mapping[str, Any]) -> list[str]:
    """One blob over the whole body shares a pixel with every lesion; the rule overlap then finds them all."""
    counts = summary["lesion_counts"]
    found = sum(number for status, number in counts["reference"].items() if status != "missed")
    barely = counts["reference_barely_found"]
    if not barely or barely < BARELY_SHARE * found:
        return []
    return [
        f"Warning: {barely} of the {found} lesions called found share less than a tenth of their union with what was predicted "
        "there. Predictions far larger than lesions find lesions by overlap alone: `--match iou --iou-threshold 0.1` does not "
        "count them."
    ]


def _froc_notes(summary: Mapping[str, Any]) -> list[str]:
    froc = summary["froc"]
    if froc is None or froc["most_fp_per_image"] >= froc["at"][-1]["fp_per_image"]:
        return []
    return [
        f"FROC: all {froc['candidates']} candidates together have {froc['most_fp_per_image']:.3g} false positives an image; "
        "at higher rates sensitivity stays as it is there (a low --binarise-at gives more candidates)."
    ]


def _image_notes(summary: Mapping[str, Any]) -> list[str]:
    if summary["options"]["image_values"] != "image values":
        return []
    return [
        "No dataset.json of `msa convert` says how the images hold counts, so their values were taken as they are: "
        "contrast and shares of counts are those of image values."
    ]


def _nnunet_notes(summary: Mapping[str, Any]) -> list[str]:
    theirs = summary["nnunet"]
    if theirs is None:
        return []
    if not theirs["differing"]:
        return [f"Dice equals nnU-Net's in {theirs['file']} for all {theirs['cases']} cases listed there."]
    return [
        f"Warning: {theirs['file']} states another Dice for {len(theirs['differing'])} of {theirs['cases']} cases "
        f"({theirs['differing'][0]} the first); it was written for other masks. "
        "The figures here are of the masks that now stand in the folders."
    ]
