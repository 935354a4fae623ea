from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file

from dataset_conversion.errors import SkippedFile
from dataset_conversion.scans import SCAN_SUFFIXES, ReadOptions, ScanHeader, identify, is_array, read_scan, scan_stem
from dataset_conversion.scintigram import Scintigram

WriteDicom = Callable[..., Path]
TOLD = ReadOptions(spacing_mm=(2.4, 2.2))


def _sample(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path)


@pytest.mark.parametrize(
    ("name", "stem", "array"),
    [
        ("scan.dcm", "scan", False),
        ("scan.IMA", "scan", False),
        ("1.2.840.113619", "1.2.840.113619", False),
        ("scan.nii.gz", "scan", True),
        ("scan.v2.nii", "scan.v2", True),
        ("scan.NII.GZ", "scan", True),
        ("scan.gz", "scan.gz", False),
        ("scan.TIFF", "scan", True),
        (".png", ".png", False),
    ],
)
def test_a_stem_is_the_name_without_its_scan_suffix(name: str, stem: str, array: bool) -> None:
    assert (scan_stem(Path("folder.png") / name), is_array(Path(name))) == (stem, array)


def test_every_scan_suffix_is_cut_off() -> None:
    assert {scan_stem(Path(f"scan{suffix}")) for suffix in SCAN_SUFFIXES} == {"scan"}


def test_a_scan_goes_to_the_reader_of_its_format(
    tmp_path: Path, write_dicom: WriteDicom, make_views: Callable[..., list[Scintigram]]
) -> None:
    views = make_views()
    assert [view.view for view in read_scan(write_dicom(tmp_path / "scan.dcm"))] == ["anterior", "posterior"]
    Image.fromarray(views[0].counts).save(tmp_path / "scan_ant.png")
    with pytest.warns(UserWarning, match="its name is taken"):
        (view,) = read_scan(tmp_path / "scan_ant.png", TOLD)
    assert np.array_equal(view.counts, views[0].counts)
    (tmp_path / "notes.txt").write_text("no scan", encoding="ascii")
    with pytest.raises(SkippedFile, match=r"notes.txt: is not a DICOM file"):
        read_scan(tmp_path / "notes.txt")


def test_dicom_is_known_by_its_content_whatever_its_name(tmp_path: Path, write_dicom: WriteDicom) -> None:
    for name in ("IM000001", "scan_ant.png", "scan.txt"):
        assert len(read_scan(write_dicom(tmp_path / name))) == 2


def test_a_pixel_size_reaches_the_reader_through_the_options(tmp_path: Path) -> None:
    np.save(tmp_path / "scan_ant.npy", np.arange(12, dtype=np.uint16).reshape(3, 4))
    with pytest.warns(UserWarning, match="its name is taken"):
        (view,) = read_scan(tmp_path / "scan_ant.npy", TOLD)
    assert view.spacing_mm == TOLD.spacing_mm


@pytest.mark.filterwarnings("ignore:.*(its counts are altered|states no view|were negative|pixels sum)")
def test_loss_is_allowed_through_the_options() -> None:
    assert len(read_scan(_sample("JPEG2000.dcm"), ReadOptions(allow_lossy=True))) == 1


def test_a_missing_file_is_the_system_s_error(tmp_path: Path) -> None:
    for name in ("scan.dcm", "scan_ant.png"):
        with pytest.raises(FileNotFoundError):
            read_scan(tmp_path / name)


@pytest.mark.parametrize("name", ["liver.dcm", "JPEG-LL.dcm", "CT_small.dcm", "ExplVR_BigEnd.dcm", "image_dfl.dcm"])
def test_a_header_is_identified_as_pydicom_reads_it(name: str) -> None:
    dataset = pydicom.dcmread(_sample(name), force=True)
    assert identify(_sample(name)) == ScanHeader(str(dataset.get("SOPInstanceUID", "")), str(dataset.get("Modality", "")))


def test_a_bare_data_set_is_identified(tmp_path: Path, write_dicom: WriteDicom) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "scan.dcm"))
    expected = ScanHeader(dataset.SOPInstanceUID, "NM")
    del dataset.file_meta
    dataset.preamble = None
    pydicom.dcmwrite(tmp_path / "bare", dataset, implicit_vr=True, little_endian=True)
    assert identify(tmp_path / "bare") == expected


def test_a_deflated_header_is_identified_from_its_beginning(tmp_path: Path, write_dicom: WriteDicom) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "scan.dcm"))
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    dataset.PixelData = np.random.default_rng(0).bytes(1 << 20)  # pixels that do not fit into what is read
    dataset.save_as(tmp_path / "scan.dcm")
    assert identify(tmp_path / "scan.dcm") == ScanHeader(dataset.SOPInstanceUID, "NM")


def test_what_is_no_dicom_is_not_identified(tmp_path: Path) -> None:
    for number, content in enumerate((b"", b"text " * 100, b"\x08\x00", bytes(4096), b"\x89PNG\r\n\x1a\n" * 50)):
        (tmp_path / str(number)).write_bytes(content)
        assert identify(tmp_path / str(number)) is None
    assert identify(tmp_path / "missing") is None
    assert identify(tmp_path) is None


def test_identifying_reads_little(tmp_path: Path, write_dicom: WriteDicom) -> None:
    path = write_dicom(tmp_path / "scan.dcm")
    with path.open("ab") as file:
        file.truncate(1 << 32)  # 4 GiB of nothing behind the scan
    start = time.perf_counter()
    assert identify(path) is not None
    assert time.perf_counter() - start < 1
    with pytest.raises(SkippedFile, match="has 4096 MiB, more than any planar scan"):
        read_scan(path)
