"""Phantom studies: the same bytes for the same seed, clinical counts, outlines on lesions, valid DICOM."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dataset_conversion.annotations import labelme
from dataset_conversion.dicom_nm import read_views
from dataset_conversion.errors import ConversionError
from dataset_conversion.phantom import PhantomView, simulate, write_phantom
from dataset_conversion.phantom.parameters import DEFAULT
from dataset_conversion.rasterise import rasterise

PATIENTS = 24


@pytest.fixture(scope="module")
def patients() -> list[list[PhantomView]]:
    return [simulate(patient, seed=3) for patient in range(1, PATIENTS + 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("phantom") / "studies"
    write_phantom(output, 8, seed=3)
    return output


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_seed_gives_the_same_bytes_however_many_patients_are_asked_for(folder: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path / "fewer", 3, seed=3)
    whole, fewer = contents(folder), contents(tmp_path / "fewer")
    assert len(fewer) == 9
    assert all(whole[name] == content for name, content in fewer.items())


def test_another_seed_gives_other_patients(folder: Path, tmp_path: Path) -> None:
    write_phantom(tmp_path, 1, seed=4)
    assert contents(tmp_path)["phantom_0001.dcm"] != contents(folder)["phantom_0001.dcm"]


def test_every_seventh_patient_comes_twice_under_one_identifier(folder: Path) -> None:
    first, second = (read_views(folder / name)[0] for name in ("phantom_0007.dcm", "phantom_0007b.dcm"))
    assert first.patient == second.patient == "PHANTOM-0007"
    assert first.study != second.study


def test_counts_a_view_are_clinical(patients: list[list[PhantomView]]) -> None:
    totals = [int(view.counts.sum()) for views in patients for view in views]
    low, high = DEFAULT.counts_per_view
    assert low * 0.99 < min(totals)
    assert max(totals) < high * 1.01
    assert max(totals) - min(totals) > 5e5


def test_counts_scatter_about_their_mean_as_poisson_counts_do(patients: list[list[PhantomView]]) -> None:
    view = patients[0][0]
    bright = view.mean > 5
    assert ((view.counts - view.mean)[bright] ** 2 / view.mean[bright]).mean() == pytest.approx(1, abs=0.05)


def test_some_patients_have_no_lesion_and_some_have_many(patients: list[list[PhantomView]]) -> None:
    numbers = [max(len(view.outlines) for view in views) for views in patients]
    assert 1 <= sum(number == 0 for number in numbers) <= PATIENTS / 2
    assert max(numbers) >= 5


def test_outlined_lesions_range_from_a_few_pixels_to_large_ones(patients: list[list[PhantomView]]) -> None:
    diameters = [
        2 * np.sqrt(rasterise([outline], DEFAULT.shape)[0].sum() / np.pi)
        for views in patients for view in views for outline in view.outlines
    ]  # fmt: skip
    assert min(diameters) < 5
    assert max(diameters) > 9
    assert max(diameters) < DEFAULT.lesion_diameter_bounds_px[1] + 8  # the blur widens what is drawn
    assert 4 < np.median(diameters) < 11


def test_every_outline_lies_on_something_brighter_than_what_surrounds_it(patients: list[list[PhantomView]]) -> None:
    from scipy.ndimage import binary_dilation

    for views in patients:
        for view in views:
            everything = rasterise(list(view.outlines), DEFAULT.shape)[0] > 0
            for outline in view.outlines:
                inside = rasterise([outline], DEFAULT.shape)[0] > 0
                ring = binary_dilation(inside, iterations=4) & ~binary_dilation(inside, iterations=1) & ~everything
                assert view.mean[inside].max() > np.median(view.mean[ring])


def test_the_views_show_one_body_with_left_and_right_exchanged(patients: list[list[PhantomView]]) -> None:
    for front, back in patients:
        rows = slice(200, 800)
        mirrored = np.corrcoef(front.mean[rows].ravel(), back.mean[rows, ::-1].ravel())[0, 1]
        assert mirrored > np.corrcoef(front.mean[rows].ravel(), back.mean[rows].ravel())[0, 1]


def test_what_is_written_reads_back_as_it_was_simulated(folder: Path) -> None:
    for simulated, read in zip(simulate(2, seed=3), read_views(folder / "phantom_0002.dcm"), strict=True):
        assert read.view == simulated.view
        assert np.array_equal(read.counts, simulated.counts)
        assert read.spacing_mm == (DEFAULT.spacing_mm, DEFAULT.spacing_mm)
        drawn = labelme.read(folder / f"phantom_0002_{read.view}.json")[0].content
        assert (drawn.height, drawn.width) == DEFAULT.shape
        assert len(drawn.outlines) == len(simulated.outlines)
        for written, original in zip(drawn.outlines, simulated.outlines, strict=True):
            assert np.allclose(written.points, original.points)


def test_other_parameters_give_another_population() -> None:
    without = replace(DEFAULT, lesion_free_share=1.0)
    assert not any(view.outlines for view in simulate(1, parameters=without))


def test_a_folder_with_other_files_a_file_and_no_patients_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "scan.dcm").write_bytes(b"a patient's")
    with pytest.raises(ConversionError, match="holds files that are not a phantom's"):
        write_phantom(tmp_path, 1)
    with pytest.raises(ConversionError, match="is a file"):
        write_phantom(tmp_path / "scan.dcm", 1)
    with pytest.raises(ConversionError, match="at least 1"):
        write_phantom(tmp_path / "new", 0)
    assert not (tmp_path / "new").exists()


def test_a_dicom_validator_finds_no_error(folder: Path) -> None:
    dciodvfy = shutil.which("dciodvfy")
    if dciodvfy is None and not os.environ.get("CI"):
        pytest.skip("dciodvfy is not installed: apt-get install dicom3tools")
    assert dciodvfy is not None, "dciodvfy is not installed: apt-get install dicom3tools"
    done = subprocess.run([dciodvfy, str(folder / "phantom_0001.dcm")], capture_output=True, text=True)
    assert "NMImage" in done.stderr + done.stdout
    assert "Error" not in done.stderr + done.stdout, done.stderr
