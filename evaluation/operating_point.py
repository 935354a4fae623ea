"""The confidence threshold: picked by a rule on validation cases, kept in a file, applied to test cases."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evaluation.errors import UnusableInputError

if TYPE_CHECKING:
    import pandas as pd

    from evaluation.options import EvaluationOptions

SCHEMA = 1

# What must be the same where a threshold is picked and where it is applied: it decides which lesions there are and how sure.
_SAME = ("confidence", "binarise_at", "connectivity", "min_lesion_mm2")


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold (lesions of at least this confidence are kept), the rule that picked it, and where it did.

    settings: the options that define lesions and their confidence. on: images, reference lesions, sensitivity, false positives
    an image and F1 of the cases it was picked on. cases: their names.
    """

    threshold: float
    rule: str
    settings: dict[str, Any]
    on: dict[str, float | int | None]
    cases: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        """Where the threshold comes from, for the head of the summary."""
        return (
            f"{self.settings['confidence']} probability >= {self.threshold:.4g}, "
            f'picked by the rule "{describe_rule(self.rule)}"'
            f" on {self.on['images']} images with {self.on['reference_lesions']} lesions "
            f"(there: sensitivity {self.on['sensitivity']:.3f}, {self.on['fp_per_image']:.2f} false positives an image)"
        )


def parse_rule(rule: str) -> float | None:
    """False positives an image that the rule "fp=N" allows, None for the rule "f1"; UnusableInputError for another text."""
    allowed = re.fullmatch(r"fp=(\d+(?:\.\d+)?|\.\d+)", rule)
    if rule != "f1" and not allowed:
        raise UnusableInputError(f"--threshold-rule: expected f1 or fp=N with a number N, found {rule}.")
    return float(allowed[1]) if allowed else None


def describe_rule(rule: str) -> str:
    """The rule in words."""
    allowed = parse_rule(rule)
    if allowed is None:
        return "highest lesion F1"
    return f"highest sensitivity at no more than {allowed:g} false positives an image"


def choose(
    froc: pd.DataFrame, rule: str, options: EvaluationOptions, cases: Sequence[str], reference_lesions: int
) -> OperatingPoint:
    """Pick the threshold from a FROC table (froc.froc_table) of validation cases that hold so many reference lesions.

    rule: "f1", the highest lesion F1; "fp=N", the highest sensitivity with at most N false positives an image. Of equals the
    highest threshold.

    Raises UnusableInputError where there is nothing to pick from: no reference lesion, no predicted one, or none of the
    thresholds allowed.
    """
    if froc.empty or not reference_lesions:
        lacking = "reference" if not reference_lesions else "predicted"
        raise UnusableInputError(f"{options.choose_threshold}: no threshold can be picked; the cases hold no {lacking} lesion.")
    allowed = parse_rule(rule)
    open_to = froc if allowed is None else froc[froc["fp_per_image"] <= allowed]
    if open_to.empty:
        raise UnusableInputError(
            f"{options.choose_threshold}: no threshold has at most {allowed:g} false positives an image (the fewest are "
            f"{froc['fp_per_image'].min():.3g}); allow more with --threshold-rule fp=N."
        )
    best = open_to["f1" if allowed is None else "sensitivity"].to_numpy(dtype=float)
    row = open_to.iloc[int(best.argmax())]  # the first of equals, so the highest threshold
    on: dict[str, float | int | None] = {
        "images": len(cases),
        "reference_lesions": reference_lesions,
        **{name: float(row[name]) for name in ("sensitivity", "fp_per_image", "f1")},
    }
    return OperatingPoint(float(row["threshold"]), rule, _settings(options), on, list(cases))


def as_json(point: OperatingPoint) -> bytes:
    """Content of the file that --threshold reads."""
    content = {"schema": SCHEMA, "kind": "msa operating point", **asdict(point), "rule_text": describe_rule(point.rule)}
    return json.dumps(content, indent=2, allow_nan=False).encode() + b"\n"


def read_operating_point(path: Path, options: EvaluationOptions) -> OperatingPoint:
    """Read what --choose-threshold wrote.

    Raises UnusableInputError: unreadable or other file, or options of this run that define lesions or confidence otherwise.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        point = OperatingPoint(
            float(content["threshold"]),
            str(content["rule"]),
            dict(content["settings"]),
            dict(content["on"]),
            [str(case) for case in content["cases"]],
        )
        point.sentence()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableInputError(
            f"{path}: expected an operating point as --choose-threshold writes it ({type(error).__name__}: {error})."
        ) from error
    now = _settings(options)
    for name in _SAME:
        if point.settings.get(name) != now[name]:
            option = f"--{name.replace('_', '-')}"
            raise UnusableInputError(
                f"{path}: was picked with {option} {_shown(point.settings.get(name))}, this run has {_shown(now[name])}; "
                "use the same."
            )
    return point


def _shown(value: Any) -> str:
    return "left out" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _settings(options: EvaluationOptions) -> dict[str, Any]:
    return {name: getattr(options, name) for name in (*_SAME, "match")}
