from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evaluation.cases import find_cases, load_case, mask_files, read_declaration, read_manifest
from evaluation.errors import UnusableInputError

WriteImage = Callable[..., Path]
ONE = np.array([[0, 1, 1], [0, 0, 1]], np.uint8)


@pytest.fixture
def pair(tmp_path: Path, write_image: WriteImage) -> Path:
    for folder in ("r", "p"):
        write_image(tmp_path / folder / "a.nii.gz", ONE)
    return tmp_path


def load(root: Path, **options):  # type: ignore[no-untyped-def]
    case = find_cases(root / "r", root / "p", **options)[0]
    return load_case(case, read_declaration([root / "r", root / "p"]))


@pytest.mark.parametrize("suffix", [".nii.gz", ".mha", ".png"])
def test_every_mask_type_is_read_in_row_column_order(tmp_path: Path, write_image: WriteImage, suffix: str) -> None:
    for folder in ("r", "p"):
        write_image(tmp_path / folder / f"a{suffix}", ONE)
    masks = load(tmp_path, spacing=(2.0, 3.0) if suffix == ".png" else None)
    assert masks.reference.tolist() == ONE.astype(bool).tolist() == masks.prediction.tolist()
    assert masks.spacing_mm == pytest.approx((2.0, 3.0))


def test_leftovers_of_nnunet_are_passed_over_and_other_types_refused(pair: Path) -> None:
    for name in ("dataset.json", "plans.json", "predict_from_raw_data_args.json", "a.npz", "a.pkl", ".hidden", "log.txt"):
        (pair / "p" / name).write_text("{}")
    (pair / "p" / "postprocessed").mkdir()
    assert list(mask_files(pair / "p", "masks")) == ["a"]
    (pair / "p" / "b.jpg").write_bytes(b"")
    with pytest.raises(UnusableInputError, match=r"b\.jpg: wrong file type .*expected \.nii\.gz"):
        mask_files(pair / "p", "masks")


def test_any_label_above_zero_is_lesion(pair: Path, write_image: WriteImage) -> None:
    write_image(pair / "r" / "a.nii.gz", 2 * ONE)
    masks = load(pair)
    assert masks.reference.sum() == 3
    assert (masks.reference_highest, masks.prediction_highest) == (2, 1)


def test_a_missing_prediction_is_empty(pair: Path, write_image: WriteImage) -> None:
    write_image(pair / "r" / "b.nii.gz", ONE)
    case = find_cases(pair / "r", pair / "p")[1]
    assert case.prediction is None
    assert not load_case(case).prediction.any()


def test_pixels_of_the_ignore_label_count_in_neither_mask(pair: Path, write_image: WriteImage) -> None:
    (pair / "r" / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "whole": [1, 2], "ignore": 3}}))
    write_image(pair / "r" / "a.nii.gz", np.array([[0, 3, 1], [0, 0, 2]], np.uint8))
    masks = load(pair)
    assert masks.reference.tolist() == [[False, False, True], [False, False, True]]
    assert masks.prediction.tolist() == [[False, False, True], [False, False, True]]


def test_a_volume_of_one_slice_is_the_two_dimensional_image(pair: Path, write_image: WriteImage) -> None:
    write_image(pair / "p" / "a.nii.gz", ONE[None], (1.0, 2.0, 3.0))
    assert load(pair).prediction.shape == (2, 3)


def test_png_takes_its_pixel_size_from_the_manifest(tmp_path: Path, write_image: WriteImage) -> None:
    for folder in ("r", "p"):
        write_image(tmp_path / folder / "a.png", ONE)
    table = tmp_path / "manifest.csv"
    table.write_text("case,patient,view,spacing_row_mm,spacing_col_mm\na,P1,anterior,2.26,2.5\nunused,P2,anterior,1,1\n")
    assert load(tmp_path, manifest=table).spacing_mm == (2.26, 2.5)
    with pytest.raises(UnusableInputError, match=r"a\.png: PNG stores no pixel size; give it with --spacing"):
        load(tmp_path)
    table.write_text("case,patient,view,spacing_row_mm,spacing_col_mm\na,P1,anterior,two,2.5\n")
    with pytest.raises(UnusableInputError, match=r"a\.png: the manifest's pixel size two x 2\.5 mm"):
        load(tmp_path, manifest=table)


def test_pixel_sizes_may_differ_by_rounding_only(pair: Path, write_image: WriteImage) -> None:
    write_image(pair / "p" / "a.nii.gz", ONE, (2.0015, 3.0))
    load(pair)
    write_image(pair / "p" / "a.nii.gz", ONE, (2.0, 3.01))
    with pytest.raises(
        UnusableInputError, match=r"p/a\.nii\.gz: pixel size 2 x 3\.01 mm differs from 2 x 3 mm of .*r/a\.nii\.gz"
    ):
        load(pair)
    assert load(pair, spacing=(1.0, 1.0)).spacing_mm == (1.0, 1.0)


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (ONE.T.copy(), r"p/a\.nii\.gz: shape \(3, 2\) differs from \(2, 3\)"),
        (7 * ONE, r"p/a\.nii\.gz: found label 7; .*dataset\.json declares 0 to 1"),
        (ONE * np.float32(0.5), r"p/a\.nii\.gz: found the value 0\.5; expected whole label values"),
        (-ONE.astype(np.int16), r"p/a\.nii\.gz: found the value -1"),
    ],
)
def test_a_prediction_that_is_no_mask_of_the_case_is_named(
    pair: Path, write_image: WriteImage, pixels: np.ndarray, sentence: str
) -> None:
    (pair / "p" / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "metastasis": 1}}))
    write_image(pair / "p" / "a.nii.gz", pixels)
    with pytest.raises(UnusableInputError, match=sentence):
        load(pair)


def test_a_mask_with_nan_is_named(tmp_path: Path, write_image: WriteImage) -> None:
    # As .mha: the NIfTI library inside SimpleITK reads NaN as 0.
    for folder, pixels in (("r", ONE), ("p", ONE * np.float32(np.nan))):
        write_image(tmp_path / folder / "a.mha", pixels)
    with pytest.raises(UnusableInputError, match=r"p/a\.mha: found the value nan; expected whole label values"):
        load(tmp_path)


def test_truncated_and_colour_files_are_named(pair: Path, tmp_path: Path) -> None:
    whole = (pair / "p" / "a.nii.gz").read_bytes()
    (pair / "p" / "a.nii.gz").write_bytes(whole[:30])
    with pytest.raises(UnusableInputError, match=r"p/a\.nii\.gz: cannot be read as an image"):
        load(pair)
    import matplotlib.image

    (pair / "p" / "a.nii.gz").unlink()
    matplotlib.image.imsave(pair / "p" / "a.png", ONE)
    with pytest.raises(UnusableInputError, match=r"p/a\.png: found a colour or palette picture"):
        load(pair)


def test_folders_that_do_not_pair_are_refused(pair: Path, write_image: WriteImage) -> None:
    write_image(pair / "p" / "z.nii.gz", ONE)
    with pytest.raises(UnusableInputError, match=r"z\.nii\.gz: predicted case z has no reference"):
        find_cases(pair / "r", pair / "p")
    with pytest.raises(UnusableInputError, match="it is not a folder"):
        find_cases(pair / "r", pair / "nowhere")
    (pair / "none").mkdir()
    with pytest.raises(UnusableInputError, match="no predicted mask found"):
        find_cases(pair / "r", pair / "none")
    with pytest.raises(UnusableInputError, match="no reference mask found"):
        find_cases(pair / "none", pair / "none")
    write_image(pair / "r" / "a.png", ONE)
    with pytest.raises(UnusableInputError, match=r"case a also has a\.nii\.gz"):
        find_cases(pair / "r", pair / "p")


def test_an_image_that_is_missing_is_named(pair: Path) -> None:
    (pair / "i").mkdir()
    with pytest.raises(UnusableInputError, match="no image a_0000"):
        find_cases(pair / "r", pair / "p", images=pair / "i")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("case,view\na,anterior\n", "column patient is missing; found case, view"),
        ("case,patient\na,P1\na,P2\n", "case a has more than one row"),
        ("case,patient\na,\n", "case a has no patient"),
        ("", "expected a CSV table"),
        ("case,patient\nb,P1\n", "no row for case a"),
    ],
)
def test_a_manifest_that_leaves_a_patient_open_is_refused(pair: Path, text: str, sentence: str) -> None:
    (pair / "m.csv").write_text(text)
    with pytest.raises(UnusableInputError, match=f"m.csv: {sentence}"):
        find_cases(pair / "r", pair / "p", manifest=pair / "m.csv")


def test_patient_numbers_stay_text(pair: Path) -> None:
    (pair / "m.csv").write_text("case,patient\na,007\n")
    assert read_manifest(pair / "m.csv")["a"]["patient"] == "007"


def test_a_dataset_json_without_labels_is_named(pair: Path) -> None:
    (pair / "r" / "dataset.json").write_text('{"labels": 3}')
    with pytest.raises(UnusableInputError, match=r'dataset\.json: expected "labels"'):
        read_declaration([pair / "r"])
