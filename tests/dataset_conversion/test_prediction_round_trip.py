"""A mask written for a person to correct, as LabelMe or DICOM SEG, becomes the same mask of the next dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from dataset_conversion.annotations import labelme
from dataset_conversion.annotations.dicom_seg_writer import write_seg
from dataset_conversion.annotations.outline import AnnotatedView
from dataset_conversion.annotations.tracing import trace_classes
from dataset_conversion.convert import ConversionOptions, run
from dataset_conversion.scintigram import VIEWS

SHAPE = (48, 16)
LABELS = {"background": 0, "metastasis": 1, "benign": 2, "unclear": 3}


def _mask(seed: int) -> np.ndarray:
    """Three classes that touch, with holes, islands, single pixels and pixels that meet at corners."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=SHAPE), 0.8)
    mask = np.digitize(noise, np.quantile(noise, [0.5, 0.7, 0.85])).astype(np.uint8)
    assert set(np.unique(mask)) == set(LABELS.values())
    return mask


def _as_labelme(scan: Path, masks: dict[int, np.ndarray]) -> None:
    for view, mask in zip(VIEWS, masks.values(), strict=True):
        drawn = AnnotatedView(trace_classes(mask, LABELS), *mask.shape)
        labelme.write(scan.with_name(f"{scan.stem}_{view}.json"), drawn, f"{scan.stem}_{view}.png")


def _as_seg(scan: Path, masks: dict[int, np.ndarray]) -> None:
    write_seg(scan.with_name(f"{scan.stem}_found.dcm"), scan, masks, labels=LABELS, series_description="Findings")


@pytest.mark.parametrize("write", [_as_labelme, _as_seg])
def test_a_predicted_mask_of_several_classes_comes_back_pixel_for_pixel(
    tmp_path: Path,
    write_dicom: Callable[..., Path],
    write: Callable[[Path, dict[int, np.ndarray]], None],
) -> None:
    expected = []
    for number in range(3):
        scan = write_dicom(tmp_path / "input" / f"p{number}" / f"scan{number}.dcm", patient=f"x{number}")
        # The last patient's views are free of lesions.
        masks = {frame: _mask(2 * number + frame) if number < 2 else np.zeros(SHAPE, np.uint8) for frame in (1, 2)}
        write(scan, masks)
        expected += [mask.tobytes() for mask in masks.values()]
    labels = tmp_path / "labels.yaml"
    labels.write_text("classes:\n  metastasis: []\n  benign: []\n  unclear: []\n")
    assert run(ConversionOptions(tmp_path / "input", 7, "Bone", tmp_path / "raw", labels=labels, folds=2, jobs=1)) == 0
    written = sorted((tmp_path / "raw").glob("*/labelsTr/*.nii.gz"))
    found = [SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))).astype(np.uint8).tobytes() for path in written]
    assert sorted(found) == sorted(expected)
