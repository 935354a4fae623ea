"""Which frame of a DICOM NM object shows which side of the patient."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydicom.dataset import Dataset

from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.scintigram import VIEWS, View

# DICOM context group 26 (Nuclear Medicine Projections), as SNOMED CT and as the older SNOMED RT; scanners also write the
# radiographic projections of context group 4010 (antero-posterior, postero-anterior).
VIEW_CODES: dict[str, View] = {
    "399321004": "anterior", "G-5215": "anterior", "399348003": "anterior", "R-10206": "anterior",
    "399001007": "posterior", "G-5216": "posterior", "272479007": "posterior", "R-10214": "posterior",
}  # fmt: skip


def image_type(dataset: Dataset) -> list[str]:
    """Return the values of Image Type in capitals."""
    value = dataset.get("ImageType") or []
    return [str(part).strip().upper() for part in ([value] if isinstance(value, str) else value)]


def frame_views(dataset: Dataset, n_frames: int, path: Path) -> tuple[list[tuple[int, View]], list[str]]:
    """Find which frames (1-based) are the anterior and the posterior view, anterior first; also return warnings.

    The view of a frame comes from its detector's View Code Sequence, else from words like "ANT" in Image Type, Image ID or the
    series description of a one-frame file, else from detector or frame order with a warning (first anterior, second posterior).
    Other projections are left out with a warning. Raises SkippedFile where there are only those, and ConversionError where a
    frame beyond the second states no view or two frames show the same.
    """
    detectors = _vector(dataset, "DetectorVector", n_frames)
    found: dict[View, int] = {}
    others: list[str] = []
    notes: list[str] = []
    for frame in range(1, n_frames + 1):
        stated = _stated_view(dataset, detectors[frame - 1], n_frames)
        view = stated if stated in VIEWS else None
        if stated is None:
            order = detectors[frame - 1] if n_frames == 1 else frame
            if not 1 <= order <= len(VIEWS):
                raise ConversionError(
                    f"{path}: frame {frame} of {n_frames} states no view; export it with its View Code Sequence."
                )
            view = VIEWS[order - 1]
            notes.append(f"{path}: frame {frame} states no view, taken as {view} by its order.")
        if view is None:
            others.append(f"frame {frame} ({stated})")
        elif view in found:
            raise ConversionError(
                f"{path}: frames {found[view]} and {frame} are both {view} (several energy windows?); export one a view."
            )
        else:
            found[view] = frame
    if not found:
        raise SkippedFile(f"{path}: shows neither an anterior nor a posterior view but {', '.join(others)}.")
    if others:
        notes.append(f"{path}: left out {', '.join(others)}: neither anterior nor posterior.")
    return [(found[view], view) for view in VIEWS if view in found], notes


def _vector(dataset: Dataset, keyword: str, n_frames: int) -> list[int]:
    """Read a per-frame index vector; without one, frame n belongs to detector n."""
    value = dataset.get(keyword)
    vector = [] if value is None else [int(v) for v in (value if isinstance(value, Sequence) else [value])]
    return vector if len(vector) == n_frames else list(range(1, n_frames + 1))


def _stated_view(dataset: Dataset, detector: int, n_frames: int) -> str | None:
    """The view the header states for a detector: anterior, posterior, another projection's name, or None."""
    items = dataset.get("DetectorInformationSequence") or []
    item = items[detector - 1] if 1 <= detector <= len(items) else items[0] if len(items) == n_frames == 1 else None
    codes = (item.get("ViewCodeSequence") or []) if item is not None else []
    if codes:
        meaning = str(codes[0].get("CodeMeaning") or "")
        coded = VIEW_CODES.get(str(codes[0].get("CodeValue") or ""))
        # The word wins where both are given: vendors disagree on which way "antero-posterior" runs without an X-ray tube.
        return _view_in_words(meaning) or coded or meaning or "an unknown projection"
    if n_frames > 1:
        return None
    texts = [*image_type(dataset)[2:], str(dataset.get("ImageID") or ""), str(dataset.get("SeriesDescription") or "")]
    return _view_in_words(" ".join(texts))


def _view_in_words(text: str) -> View | None:
    words = set(re.findall(r"[a-z]+", text.lower()))
    is_view = {"anterior": words & {"ant", "anterior"}, "posterior": words & {"post", "posterior"}}
    stated = [view for view in VIEWS if is_view[view]]
    # "postero-anterior" names a direction through the body; its code tells, the words do not.
    return None if len(stated) != 1 or words & {"oblique", "lateral", "antero", "postero"} else stated[0]
