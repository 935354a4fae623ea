"""The README's picture, made from a finished `make demo`: one test patient's two views and the recall by lesion size.

python benchmarks/readme_picture.py demo
"""

from __future__ import annotations

import argparse
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk  # noqa: N813
from matplotlib.figure import Figure
from matplotlib.image import imread

from evaluation.overlay import overlay_png
from evaluation.report import recall_by_size_png

PICTURE = Path(__file__).parents[1] / "docs" / "report.png"
WIDTH_INCHES, DPI = 13, 80


def array(path: Path) -> np.ndarray:
    pixels: np.ndarray = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    return pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path)
    demo = parser.parse_args().demo
    dataset = next((demo / "nnunet" / "nnUNet_raw").glob("Dataset501_*"))
    manifest = pd.read_csv(dataset / "manifest.csv").query("split == 'test'").set_index("case")
    found = pd.read_csv(demo / "evaluation" / "images.csv").set_index("case").join(manifest, rsuffix="_manifest")
    patient = found.groupby(["patient", "study"]).lesions.sum().idxmax()
    views = found[(found.patient == patient[0]) & (found.study == patient[1])].sort_index()
    spacing = tuple(views[["spacing_row_mm", "spacing_col_mm"]].iloc[0])
    pictures = [
        overlay_png(
            array(dataset / "imagesTs" / f"{case}_0000.nii.gz"),
            array(dataset / "labelsTs" / f"{case}.nii.gz") > 0,
            array(demo / "predictions" / f"{case}.nii.gz") > 0,
            spacing,
            title=f"{view} (phantom)",
        )
        for case, view in views.view.items()
    ]
    pictures.append(recall_by_size_png(json.loads((demo / "evaluation" / "summary.json").read_text())))
    images = [imread(io.BytesIO(picture)) for picture in pictures]
    shares = [image.shape[1] / image.shape[0] for image in images[:2]] + [1.1]
    figure = Figure(figsize=(WIDTH_INCHES, WIDTH_INCHES / sum(shares)), dpi=DPI, layout="constrained")
    for axes, image in zip(figure.subplots(1, 3, width_ratios=shares), images, strict=True):
        axes.imshow(image, interpolation="antialiased")
        axes.axis("off")
    PICTURE.parent.mkdir(exist_ok=True)
    figure.savefig(PICTURE)


if __name__ == "__main__":
    main()
