"""The DICOM SEG in other people's programs: a validator (dicom3tools), DCMTK and SimpleITK's GDCM see the lesions in place."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
import pytest
import SimpleITK
from PIL import Image
from pydicom.data import get_testdata_file
from scipy import ndimage

from dataset_conversion.annotations import labelme
from dataset_conversion.annotations.dicom_seg_writer import write_seg
from dataset_conversion.phantom import write_phantom
from dataset_conversion.rasterise import rasterise
from dataset_conversion.scintigram import VIEWS

pytestmark = pytest.mark.e2e

LABELS = {"background": 0, "metastasis": 1}
SHAPE = (1024, 256)
LARGEST_DISTANCE_PX = 0.5
# What dciodvfy says of an object with a pseudonym, by the beginning of its words, and why it stays. Of the others, nothing.
REMAINING_ANONYMISED = {
    "Warning - Missing attribute or value that would be needed to build DICOMDIR - Study Date": "the date is removed",
    "Warning - Missing attribute or value that would be needed to build DICOMDIR - Study Time": "so is the time",
    "Warning - Missing attribute or value that would be needed to build DICOMDIR - Study ID": "and the study's name",
    "Warning - Value dubious for this VR - (0x0010,0x0010) PN Patient's Name": "a pseudonym has no given name",
}


class Written(NamedTuple):
    """A SEG, the scan it is of, and the masks that were written, by frame."""

    path: Path
    source: Path
    masks: dict[int, np.ndarray]


def _command(name: str, package: str) -> str:
    path = shutil.which(name)
    assert path, f"{name} is not installed; the files are tested in it (apt-get install {package})."
    return path


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Both views of a patient with lesions, and the outlines that the simulated reader drew on them."""
    folder = tmp_path_factory.mktemp("seg")
    for source in write_phantom(folder / "scans", 6, seed=5):
        masks = {}
        for frame, view in enumerate(VIEWS, start=1):
            (drawn,) = labelme.read(source.with_name(f"{source.stem}_{view}.json"))
            masks[frame], _ = rasterise(drawn.content.outlines, SHAPE)
        if all(mask.any() for mask in masks.values()):
            break
    write_seg(folder / "phantom.dcm", source, masks, labels=LABELS, series_description="Bone metastases")
    return Written(folder / "phantom.dcm", source, masks)


@pytest.fixture(scope="session")
def nm1(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Discs beside each other on the real scan, which has one frame and is wrapped as Secondary Capture."""
    path, source = tmp_path_factory.mktemp("seg") / "nm1.dcm", Path(str(get_testdata_file("JPEG-LL.dcm")))
    rows, columns = np.indices(SHAPE)
    mask = np.zeros(SHAPE, np.uint8)
    for row, column, radius in ((310.3, 120.8, 6.2), (655.0, 33.5, 1.0), (1021.0, 254.0, 3.0)):
        mask[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = 1
    write_seg(path, source, {1: mask}, labels=LABELS, series_description="Bone metastases")
    return Written(path, source, {1: mask})


@pytest.fixture(params=["phantom", "nm1"])
def written(request: pytest.FixtureRequest) -> Written:
    found: Written = request.getfixturevalue(request.param)
    return found


def _complaints(path: Path) -> list[str]:
    done = subprocess.run([_command("dciodvfy", "dicom3tools"), str(path)], capture_output=True, text=True)
    said = (done.stdout + done.stderr).splitlines()
    assert "Segmentation" in said, said  # the name of the object it was checked as
    return [line for line in said if line != "Segmentation"]


def test_the_validator_finds_nothing(written: Written) -> None:
    assert _complaints(written.path) == []


def test_with_a_pseudonym_the_validator_misses_only_what_was_removed(phantom: Written, tmp_path: Path) -> None:
    path = tmp_path / "seg.dcm"
    options: dict[str, Any] = {"labels": LABELS, "series_description": "Bone metastases"}
    write_seg(path, phantom.source, phantom.masks, anonymise_as="P1a2b3c", key=b"secret", **options)
    complaints = _complaints(path)
    assert [line for line in complaints if not line.startswith(tuple(REMAINING_ANONYMISED))] == []
    unneeded = [name for name in REMAINING_ANONYMISED if not any(line.startswith(name) for line in complaints)]
    assert unneeded == []


def _by_gdcm(path: Path, folder: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))  # (frames, rows, columns), also of one frame


def _by_dcmtk(path: Path, folder: Path) -> np.ndarray:
    program = _command("dcmj2pnm", "dcmtk")
    subprocess.run([program, "+Fa", "--write-raw-pnm", str(path), str(folder / "frame")], check=True, capture_output=True)
    pictures = sorted(folder.glob("frame*.pgm"), key=lambda p: int(p.stem.rpartition(".")[2]) if p.stem.count(".") else 0)
    return np.stack([np.asarray(Image.open(picture)) for picture in pictures])


def _centroids(mask: np.ndarray) -> np.ndarray:
    """Row and column of every lesion's centre, (lesions, 2) px, in reading order."""
    labels, number = ndimage.label(mask, np.ones((3, 3)))
    return np.array(ndimage.center_of_mass(labels > 0, labels, range(1, number + 1))).reshape(-1, 2)


@pytest.mark.parametrize("read", [_by_gdcm, _by_dcmtk])
def test_other_readers_find_every_lesion_where_it_is(
    written: Written, read: Callable[[Path, Path], np.ndarray], tmp_path: Path
) -> None:
    frames = read(written.path, tmp_path)
    assert frames.shape == (len(written.masks), *SHAPE)
    for pixels, (number, mask) in zip(frames > 0, written.masks.items(), strict=True):
        expected, found = _centroids(mask), _centroids(pixels)
        assert len(expected) > 0
        assert found.shape == expected.shape, f"frame {number}"
        assert np.linalg.norm(found - expected, axis=1).max() <= LARGEST_DISTANCE_PX
        assert np.array_equal(pixels, mask > 0)


def test_dcmtk_reads_which_frame_of_which_scan_each_mask_is_of(phantom: Written, tmp_path: Path) -> None:
    program = _command("dcmdump", "dcmtk")
    shown = subprocess.run([program, "+P", "ReferencedFrameNumber", "+P", "ReferencedSOPInstanceUID", str(phantom.path)],
                           check=True, capture_output=True, text=True).stdout.splitlines()  # fmt: skip
    frames = [line.split("[")[1].split("]")[0] for line in shown if "ReferencedFrameNumber" in line]
    scans = {line.split("[")[1].split("]")[0] for line in shown if "ReferencedSOPInstanceUID" in line}
    assert frames == ["1", "2"]
    assert scans == {str(pydicom.dcmread(phantom.source).SOPInstanceUID)}
