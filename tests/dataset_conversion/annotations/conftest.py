"""DICOM SEG as highdicom writes it for planar NM."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
from highdicom.seg import SegmentAlgorithmTypeValues, Segmentation, SegmentDescription
from pydicom import uid
from pydicom.sr.codedict import codes


@pytest.fixture
def write_seg() -> Callable[..., Path]:
    """Write one view's (H, W) numbers or (1, H, W, segments) pixels as SEG for one frame of an NM file.

    highdicom takes single-frame sources only, so it gets a stand-in, and the references are set to the real frame afterwards.
    """

    def write(
        path: Path, pixels: np.ndarray, source: Path, frame: int, names: Sequence[str], kind: str = "BINARY", **options: Any
    ) -> Path:
        original = pydicom.dcmread(source)
        proxy = copy.deepcopy(original)
        proxy.SOPClassUID = uid.SecondaryCaptureImageStorage
        del proxy.NumberOfFrames, proxy.PixelSpacing, proxy.FrameIncrementPointer
        proxy.PixelData = original.pixel_array[frame - 1].tobytes()
        segments = [
            SegmentDescription(
                number,
                name,
                codes.SCT.MorphologicallyAbnormalStructure,
                codes.SCT.Neoplasm,
                SegmentAlgorithmTypeValues.MANUAL,
            )
            for number, name in enumerate(names, start=1)
        ]
        seg = Segmentation(
            [proxy],
            pixels if pixels.ndim == 4 else pixels[None],
            kind,
            segments,
            highdicom.UID(),
            1,
            highdicom.UID(),
            1,
            "maker",
            "model",
            "1",
            "serial",
            **options,
        )
        for group in seg.PerFrameFunctionalGroupsSequence:
            image = group.DerivationImageSequence[0].SourceImageSequence[0]
            image.ReferencedSOPClassUID, image.ReferencedFrameNumber = original.SOPClassUID, frame
        for series in seg.ReferencedSeriesSequence:
            series.ReferencedInstanceSequence[0].ReferencedSOPClassUID = original.SOPClassUID
        seg.save_as(path)
        return path

    return write
