"""What readers drew on the views of one scan -> one label mask a view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dataset_conversion.annotations import formats
from dataset_conversion.archive.study_files import Annotation
from dataset_conversion.errors import ConversionError
from dataset_conversion.labels import LabelMap, label_mask
from dataset_conversion.rasterise import PixelRule
from dataset_conversion.raters import PairAgreement, agreement, consensus
from dataset_conversion.scintigram import Scintigram, View

# Rules of `--raters` beside the name of one rater.
CONSENSUS_RULES = ("majority", "staple")
# Who drew the outlines beside a scan when others' lie in folders of their names.
UNNAMED = "unnamed"


@dataclass(frozen=True)
class LabelRules:
    """How outlines become labels: classes, pixel convention, and what several raters' outlines of a view become.

    raters: "majority", "staple", the name of one rater, or None where a second rater's outlines stop the run.
    """

    labels: LabelMap
    pixels: PixelRule = "centre"
    raters: str | None = None


@dataclass(frozen=True)
class LabelledView:
    """The label mask of a view, (H, W) uint8; how many outlines were grown to a pixel; how far the raters agree by pairs."""

    mask: np.ndarray
    grown: int = 0
    agreements: tuple[PairAgreement, ...] = ()


@dataclass
class Problems:
    """Sentences: faults leave out what is damaged, stops make the whole conversion unsafe."""

    faults: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)


def assign(views: Sequence[Scintigram], annotations: Sequence[Annotation], problems: Problems) -> dict[View, list[Annotation]]:
    """Give each view its annotations, outlines of mask images read in; what does not fit becomes a stop."""
    present = {view.view: view for view in views}
    of_view: dict[View, list[Annotation]] = {}
    for annotation in map(_read, annotations):
        path, source = annotation.path, views[0].source.name
        view = annotation.view or next((v.view for v in views if v.frame == annotation.frame), None)
        if view is None and annotation.frame is None and len(views) == 1:
            view = views[0].view
        if view is None:
            problems.stops.append(
                f"{path}: {source} has {len(views)} views; name the outlines STEM_anterior.json or STEM_posterior.json."
                if annotation.frame is None
                else f"{path}: outlines frame {annotation.frame} of {source}, which is no view that is converted."
            )
            continue
        if view not in present:
            problems.stops.append(f"{path}: {source} has no {view} view; it shows {' and '.join(present)}.")
            continue
        earlier = [a for a in of_view.get(view, []) if a.rater == annotation.rater]
        if earlier:
            problems.stops.append(
                f"{path}: the {view} view already has {earlier[0].path.name}"
                + (f" of rater {annotation.rater}" if annotation.rater else "")
                + "; keep one of them, or put each rater's outlines into a folder of that rater's name."
            )
            continue
        of_view.setdefault(view, []).append(annotation)
        content, (height, width) = annotation.content, present[view].counts.shape
        if content is not None and (content.height, content.width) != (height, width):
            problems.stops.append(
                f"{path}: was drawn on an image of {content.height} x {content.width} px, the {view} view of"
                f" {source} has {height} x {width}; draw it on the scan itself."
            )
    return of_view


def label_view(
    view: Scintigram, annotations: Sequence[Annotation], rules: LabelRules, problems: Problems
) -> LabelledView | None:
    """Make the label mask of one view from what its raters drew; None where no outlines of the chosen rater are there.

    Damaged outlines and outlines outside the image are faults, unknown labels and raters without a rule stops.
    """
    if rules.raters is not None and rules.raters not in CONSENSUS_RULES:
        annotations = [annotation for annotation in annotations if annotation.rater == rules.raters]
    elif rules.raters is None and len(annotations) > 1:
        names = ", ".join(sorted(a.rater or a.path.name for a in annotations))
        problems.stops.append(
            f"{annotations[0].path}: the {view.view} view of {view.source.name} has outlines of {len(annotations)} raters"
            f" ({names}); say --raters majority, --raters staple or --raters NAME."
        )
        return None
    masks: dict[str, np.ndarray] = {}
    n_grown = 0
    shape = (view.counts.shape[0], view.counts.shape[1])
    for annotation in annotations:
        if annotation.content is None:
            problems.faults.append(annotation.fault)
            return None
        unknown = unknown_labels(annotation, rules.labels)
        if unknown:
            problems.stops.extend(unknown)
            return None
        try:
            mask, grown = label_mask(annotation.content, rules.labels, shape, rules.pixels)
        except ConversionError as error:  # an outline outside its image
            problems.faults.append(f"{annotation.path}: {error}")
            return None
        masks[annotation.rater or UNNAMED] = mask
        n_grown += grown
    if not masks:
        return None
    if len(masks) == 1:
        return LabelledView(next(iter(masks.values())), n_grown)
    return LabelledView(consensus(masks, rules.raters or "majority"), n_grown, tuple(agreement(masks)))


def unknown_labels(annotation: Annotation, labels: LabelMap) -> list[str]:
    """Sentences on the shapes whose label belongs to no class and is not declared to be dropped; none while it is unread."""
    if annotation.content is None:
        return []
    return [
        f"{annotation.path}: shape {number} has the label {label!r}; expected {labels.expected}."
        " Rename it, or say what it means in a --labels file."
        for number, label in labels.unknown(annotation.content)
    ]


def _read(annotation: Annotation) -> Annotation:
    """Read the outlines of a mask image, which the survey left closed."""
    if annotation.content is not None or annotation.fault:
        return annotation
    try:
        (record,) = formats.read(annotation.path)
    except ConversionError as error:
        return replace(annotation, fault=str(error))
    return replace(annotation, content=record.content)
