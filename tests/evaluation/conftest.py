"""Folders of masks as nnU-Net would read and write them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

WriteImage = Callable[..., Path]


@pytest.fixture
def write_image() -> WriteImage:
    """Write an array as an image file with a pixel size in mm by array axis."""

    def write(path: Path, pixels: NDArray, spacing: tuple[float, ...] | None = (2.0, 3.0)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        image = SimpleITK.GetImageFromArray(pixels)
        if spacing is not None:
            image.SetSpacing(tuple(reversed(spacing)))
        SimpleITK.WriteImage(image, str(path))
        return path

    return write


@pytest.fixture
def blobs() -> Callable[..., NDArray[np.bool_]]:
    """Random masks of rectangles, some touching, some of a single pixel."""

    def make(rng: np.random.Generator, shape: tuple[int, ...] = (48, 32), number: int = 6) -> NDArray[np.bool_]:
        mask = np.zeros(shape, dtype=bool)
        for _ in range(number):
            start = [int(rng.integers(0, size)) for size in shape]
            mask[tuple(slice(s, s + int(rng.integers(1, 7))) for s in start)] = True
        return mask

    return make


@pytest.fixture
def study(tmp_path: Path, write_image: WriteImage, blobs: Callable[..., NDArray[np.bool_]]) -> Path:
    """Folders reference/ and prediction/ of 6 cases (the last lesion-free) and manifest.csv of 3 patients."""
    rng = np.random.default_rng(3)
    rows = ["case,patient,view"]
    for index in range(6):
        case = f"P{index // 2}_01_{('ant', 'post')[index % 2]}"
        reference = blobs(rng) if index < 5 else np.zeros((48, 32), bool)
        prediction = (np.roll(reference, 1, axis=0) | blobs(rng, number=1)) if index < 5 else np.zeros((48, 32), bool)
        write_image(tmp_path / "reference" / f"{case}.nii.gz", reference.astype(np.uint8))
        write_image(tmp_path / "prediction" / f"{case}.nii.gz", prediction.astype(np.uint8))
        write_image(tmp_path / "images" / f"{case}_0000.nii.gz", rng.poisson(5 + 20 * reference).astype(np.float32))
        rows.append(f"{case},P{index // 2},{('anterior', 'posterior')[index % 2]}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    for leftover in ("dataset.json", "plans.json", "predict_from_raw_data_args.json", "summary.json"):
        (tmp_path / "prediction" / leftover).write_text('{"labels": {"background": 0, "metastasis": 1}}')
    return tmp_path
