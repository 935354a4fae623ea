"""What one image adds to the FROC curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.matching import LesionMatch, best_partner


@dataclass(frozen=True)
class ImageCandidates:
    """Lesions of one image before any threshold.

    spurious, matched: confidences of the predicted lesions without and with a partner. found: of every found reference
    lesion the highest confidence among its partners. reference_lesions: their number, the missed ones included.
    """

    spurious: NDArray[np.float64]
    matched: NDArray[np.float64]
    found: NDArray[np.float64]
    reference_lesions: int


def image_candidates(match: LesionMatch, confidence: NDArray[np.float64]) -> ImageCandidates:
    """Candidates of an image from its match and the confidences (P,) of its predicted lesions.

    A reference lesion stays found as long as one of its partners is above the threshold. With the rules overlap and iou this
    is what matching again above the threshold gives; the rule optimal assigns once, with all candidates.
    """
    score = best_partner(match, confidence)
    return ImageCandidates(confidence[match.spurious], confidence[~match.spurious], score[match.found], match.found.size)
