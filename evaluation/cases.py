"""Finding and reading the masks of a reference folder and a prediction folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from evaluation.errors import UnusableInputError

MASK_SUFFIXES = (".nii.gz", ".mha", ".png")

# What nnU-Net and this package leave beside masks: plans, arguments, summaries, probabilities, logs, tables, reports.
_OTHER_SUFFIXES = (".json", ".npz", ".pkl", ".txt", ".log", ".csv", ".md", ".html", ".yaml", ".yml")

# NIfTI stores the pixel size as 32-bit floats, and writers round it differently.
SPACING_TOLERANCE = 1e-3


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case. prediction is None where it is missing, image and probabilities where none were asked for.

    spacing_mm: pixel size that stands in for the files' own, None where theirs is used. probabilities: CASE.npz as
    nnUNetv2_predict --save_probabilities writes it; None too where the prediction is missing.
    """

    case: str
    patient: str
    view: str
    reference: Path
    prediction: Path | None
    image: Path | None
    spacing_mm: tuple[float, ...] | None
    probabilities: Path | None = None


@dataclass(frozen=True)
class Declaration:
    """What a dataset.json says of the labels: the highest value, and the one nnU-Net ignores in training (or None).

    has_regions: some label is a list of values, for which nnU-Net predicts overlapping regions and no background.
    """

    highest: int
    ignore: int | None
    source: Path
    has_regions: bool = False


@dataclass(frozen=True)
class CaseMasks:
    """One case in memory: foreground masks (H, W) or (D, H, W), pixel size in mm by array axis, image of the same shape.

    reference_highest, prediction_highest: highest label value seen in the two files. counted: where the reference is not of
    the ignore label, True where there is none.
    """

    reference: NDArray[np.bool_]
    prediction: NDArray[np.bool_]
    spacing_mm: tuple[float, ...]
    image: NDArray[np.floating] | None
    reference_highest: int
    prediction_highest: int
    counted: NDArray[np.bool_] | bool = True


def mask_files(folder: Path, what: str) -> dict[str, Path]:
    """Masks of a folder by case name; leftovers of nnU-Net and hidden files are passed over.

    Raises UnusableInputError: not a folder, a file of another type, or two files of one case.
    """
    if not folder.is_dir():
        raise UnusableInputError(f"{folder}: expected the folder of {what}; it is not a folder.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.is_dir() or path.name.lower().endswith(_OTHER_SUFFIXES):
            continue
        suffix = next((s for s in MASK_SUFFIXES if path.name.endswith(s)), None)
        if suffix is None:
            accepted = ", ".join(MASK_SUFFIXES)
            raise UnusableInputError(f"{path}: wrong file type among the {what}; expected {accepted}. Convert or remove it.")
        case = path.name.removesuffix(suffix)
        if case in found:
            raise UnusableInputError(f"{path}: case {case} also has {found[case].name}; keep one of the two files.")
        found[case] = path
    return found


def find_cases(
    reference: Path,
    prediction: Path,
    *,
    manifest: Path | None = None,
    images: Path | None = None,
    spacing: tuple[float, float] | None = None,
    probabilities: Path | None = None,
) -> list[CaseFiles]:
    """Pair the files of all cases of the reference folder, ordered by case name.

    manifest: CSV with the columns case, patient and, where known, view, spacing_row_mm, spacing_col_mm; without it every case
    is its own patient. images: nnU-Net raw images, CASE_0000 with one of the mask suffixes. spacing: (row, column) pixel size
    in mm for every case. probabilities: folder of CASE.npz.

    Raises UnusableInputError: no reference, no prediction at all, a prediction without reference, a case that the manifest,
    the images or the probabilities lack.
    """
    references = mask_files(reference, "reference masks")
    predictions = mask_files(prediction, "predicted masks")
    if not references:
        raise UnusableInputError(f"{reference}: no reference mask found; expected files ending in {', '.join(MASK_SUFFIXES)}.")
    extra = sorted(set(predictions) - set(references))
    if extra:
        raise UnusableInputError(
            f"{predictions[extra[0]]}: predicted case {extra[0]} has no reference in {reference}"
            f"{f' ({len(extra)} such predictions)' if len(extra) > 1 else ''}. Add the reference or remove the prediction."
        )
    if not predictions:
        raise UnusableInputError(f"{prediction}: no predicted mask found; expected {next(iter(references))} and others.")
    rows = read_manifest(manifest) if manifest is not None else None
    cases = []
    for case, path in references.items():
        row: dict[str, str] = {"patient": case}
        if rows is not None and manifest is not None:
            if case not in rows:
                raise UnusableInputError(f"{manifest}: no row for case {case} of {path}; add its patient.")
            row = rows[case]
        cases.append(
            CaseFiles(
                case=case,
                patient=row["patient"],
                view=row.get("view", ""),
                reference=path,
                prediction=predictions.get(case),
                image=_image_file(images, case) if images is not None else None,
                spacing_mm=spacing or (_manifest_spacing(row, path) if path.name.endswith(".png") else None),
                probabilities=_probability_file(probabilities, case) if probabilities and case in predictions else None,
            )
        )
    return cases


def read_manifest(manifest: Path) -> dict[str, dict[str, str]]:
    """Rows of a manifest by case name, every value as text.

    Raises UnusableInputError: unreadable file, columns case and patient missing, empty patient, a case listed twice.
    """
    import pandas as pd  # slow to import, and the processes that measure cases do without

    try:
        table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise UnusableInputError(f"{manifest}: expected a CSV table with the columns case and patient ({error}).") from error
    missing = [name for name in ("case", "patient") if name not in table.columns]
    if missing:
        raise UnusableInputError(f"{manifest}: column {missing[0]} is missing; found {', '.join(map(str, table.columns))}.")
    repeated = table.loc[table["case"].duplicated(), "case"]
    if len(repeated):
        raise UnusableInputError(f"{manifest}: case {repeated.iloc[0]} has more than one row; keep one.")
    nameless = table.loc[table["patient"].str.strip() == "", "case"]
    if len(nameless):
        raise UnusableInputError(f"{manifest}: case {nameless.iloc[0]} has no patient; fill in the column patient.")
    return {str(row["case"]): {str(k): str(v) for k, v in row.items()} for row in table.to_dict("records")}


def read_declaration(folders: Sequence[Path]) -> Declaration | None:
    """Labels declared by the first dataset.json found in `folders`, None where there is none.

    Raises UnusableInputError: a dataset.json whose labels cannot be read.
    """
    source = next((folder / "dataset.json" for folder in folders if (folder / "dataset.json").is_file()), None)
    if source is None:
        return None
    try:
        labels = json.loads(source.read_text(encoding="utf-8"))["labels"]
        values = {name: max(value) if isinstance(value, list) else int(value) for name, value in labels.items()}
        has_regions = any(isinstance(value, list) for value in labels.values())
        return Declaration(max(values.values()), values.get("ignore"), source, has_regions)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnusableInputError(
            f'{source}: expected "labels" as in {{"background": 0, "metastasis": 1}} ({type(error).__name__}: {error}).'
        ) from error


def load_case(files: CaseFiles, declaration: Declaration | None = None) -> CaseMasks:
    """Read the masks of a case; foreground is any label above 0, a missing prediction is empty.

    Pixels of the declared ignore label are background in both masks, so they count neither as lesion nor as error.

    Raises UnusableInputError: unreadable file, colours, values that are not labels, shapes or pixel sizes that differ,
    a PNG without known pixel size.
    """
    reference, spacing = read_image(files.reference)
    spacing = files.spacing_mm or spacing
    if spacing is None:
        raise UnusableInputError(f"{files.reference}: PNG stores no pixel size; give it with --spacing ROW_MM COLUMN_MM.")
    if len(spacing) != reference.ndim:
        raise UnusableInputError(f"{files.reference}: {len(spacing)} pixel sizes given for {reference.ndim} dimensions.")
    _check_labels(files.reference, reference, declaration)
    prediction = np.zeros_like(reference)
    if files.prediction is not None:
        prediction = _read_beside(files.prediction, files.reference, reference.shape, spacing, files.spacing_mm is not None)
        _check_labels(files.prediction, prediction, declaration)
    image = None
    if files.image is not None:
        image = _read_beside(files.image, files.reference, reference.shape, spacing, files.spacing_mm is not None)
    counted: NDArray[np.bool_] | bool = True
    if declaration is not None and declaration.ignore is not None:
        counted = reference != declaration.ignore
    return CaseMasks(
        reference=(reference > 0) & counted,
        prediction=(prediction > 0) & counted,
        spacing_mm=tuple(spacing),
        image=image,
        reference_highest=int(reference.max()),
        prediction_highest=int(prediction.max()),
        counted=counted,
    )


def read_image(path: Path) -> tuple[NDArray, tuple[float, ...] | None]:
    """Pixels of a file, (H, W) or (D, H, W), and the pixel size in mm by array axis (None for PNG, which stores none).

    A volume of one slice is taken as the 2-D image it is.

    Raises UnusableInputError: unreadable or empty file, colour or palette picture, other numbers of dimensions.
    """
    try:
        image = SimpleITK.ReadImage(str(path))
        pixels = SimpleITK.GetArrayFromImage(image)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UnusableInputError(f"{path}: cannot be read as an image ({reason}).") from error
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise UnusableInputError(
            f"{path}: found a colour or palette picture with {image.GetNumberOfComponentsPerPixel()} components a pixel; "
            "expected one grey value a pixel."
        )
    spacing = tuple(float(mm) for mm in reversed(image.GetSpacing()))
    if pixels.ndim == 3 and pixels.shape[0] == 1:
        pixels, spacing = pixels[0], spacing[1:]
    if pixels.ndim not in (2, 3) or not pixels.size:
        raise UnusableInputError(f"{path}: expected a 2-D or 3-D image, found shape {pixels.shape}.")
    return pixels, None if path.name.endswith(".png") else spacing


def _read_beside(
    path: Path, reference: Path, shape: tuple[int, ...], spacing: tuple[float, ...], spacing_is_given: bool
) -> NDArray:
    """Pixels of a file that has to agree with the reference in shape and, where it states one, in pixel size."""
    pixels, own = read_image(path)
    if pixels.shape != shape:
        raise UnusableInputError(f"{path}: shape {pixels.shape} differs from {shape} of {reference}.")
    if own is not None and not spacing_is_given and not np.allclose(own, spacing, rtol=SPACING_TOLERANCE, atol=0):
        raise UnusableInputError(
            f"{path}: pixel size {_mm(own)} differs from {_mm(spacing)} of {reference}. "
            "Correct the file, or give the true size with --spacing."
        )
    return pixels


def _check_labels(path: Path, pixels: NDArray, declaration: Declaration | None) -> None:
    if not np.isfinite(pixels).all() or (pixels != np.round(pixels)).any() or pixels.min() < 0:
        bad = pixels[~np.isfinite(pixels) | (pixels != np.round(pixels)) | (pixels < 0)]
        raise UnusableInputError(f"{path}: found the value {bad[0]}; expected whole label values 0, 1, ...")
    if declaration is not None and pixels.max() > declaration.highest:
        raise UnusableInputError(
            f"{path}: found label {int(pixels.max())}; {declaration.source} declares 0 to {declaration.highest}."
        )


def _image_file(folder: Path, case: str) -> Path:
    found = [path for suffix in MASK_SUFFIXES if (path := folder / f"{case}_0000{suffix}").is_file()]
    if not found:
        raise UnusableInputError(
            f"{folder}: no image {case}_0000 ({', '.join(MASK_SUFFIXES)}) for case {case}. "
            "Give the folder of nnU-Net raw images (imagesTr or imagesTs), or leave --images out."
        )
    return found[0]


def _probability_file(folder: Path, case: str) -> Path:
    path = folder / f"{case}.npz"
    if not path.is_file():
        raise UnusableInputError(
            f"{path}: no probabilities for case {case}, which has a predicted mask. Give the folder that "
            "nnUNetv2_predict --save_probabilities wrote, or leave --probabilities out."
        )
    return path


def _manifest_spacing(row: dict[str, str], path: Path) -> tuple[float, float] | None:
    """Pixel size that the manifest states for a PNG, None where it does not."""
    stated = row.get("spacing_row_mm", ""), row.get("spacing_col_mm", "")
    if not all(stated):
        return None
    try:
        row_mm, column_mm = float(stated[0]), float(stated[1])
    except ValueError:
        row_mm = column_mm = 0.0
    if not (0 < row_mm < np.inf and 0 < column_mm < np.inf):
        raise UnusableInputError(f"{path}: the manifest's pixel size {stated[0]} x {stated[1]} mm is not a positive number.")
    return row_mm, column_mm


def _mm(spacing: Sequence[float]) -> str:
    return " x ".join(f"{mm:g}" for mm in spacing) + " mm"
