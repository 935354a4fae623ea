"""Nothing that identifies a person leaves the DICOM: a marker in every place that could hold one is found in no output byte."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.datadict import DicomDictionary, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from dataset_conversion.convert import ConversionOptions, run

MARKER = "QZMARK"
NUMBER = "918273645"  # in UIDs, numbers and dates, which take no letters
UID_ROOT = f"1.2.826.0.{NUMBER}."
# Attributes that a planar scan needs as they are, or that describe the pixels and hold no free value.
NEEDED = {
    "SOPClassUID", "Modality", "ImageType", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelSpacing", "PixelData", "DetectorVector",
    "EnergyWindowVector", "FrameIncrementPointer", "NumberOfDetectors", "NumberOfEnergyWindows", "CountsAccumulated",
    "DetectorInformationSequence", "PlanarConfiguration", "RescaleSlope", "RescaleIntercept", "PixelAspectRatio",
    "LossyImageCompression", "BurnedInAnnotation", "FloatPixelData", "DoubleFloatPixelData", "SpecificCharacterSet",
    "PixelDataProviderURL", "ExtendedOffsetTable", "ExtendedOffsetTableLengths",
}  # fmt: skip
TEXT = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UT", "CS"}


def _value(vr: str) -> Any:
    return {
        "UI": UID_ROOT + "1", "DS": NUMBER, "IS": NUMBER, "DA": "19181213", "TM": "131415.918273",
        "DT": "19181213131415.918273", "UR": f"http://{MARKER}.example", "AS": "918Y",
        "PN": f"{MARKER}^Person", "FD": float(NUMBER), "FL": 918273.0,
        "UL": int(NUMBER), "SL": int(NUMBER), "US": 9182, "SS": 9182, "UN": MARKER.encode(), "OB": MARKER.encode(),
    }.get(vr, MARKER if vr in TEXT else None)  # fmt: skip


def _plant(dataset: Dataset) -> None:
    """Put the marker into every attribute of the dictionary that takes it, into private tags, overlays, curves and items."""
    for tag, (vr, _, _, is_retired, keyword) in DicomDictionary.items():
        if keyword in NEEDED or tag >> 16 in (0x0000, 0x0002) or not keyword or (is_retired and vr not in TEXT):
            continue
        value = _value(dictionary_VR(tag))
        if value is not None:
            dataset.add(DataElement(tag, dictionary_VR(tag), value))
    block = dataset.private_block(0x0099, MARKER, create=True)
    block.add_new(0x01, "LO", f"{MARKER} private")
    block.add_new(0x02, "OB", MARKER.encode() * 3)
    for group in (0x6000, 0x6002):
        dataset.add(DataElement((group, 0x0022), "LO", f"{MARKER} overlay"))
        dataset.add(DataElement((group, 0x3000), "OW", MARKER.encode()))
    item = Dataset()
    item.PatientID, item.PatientName, item.ReferencedSOPInstanceUID = MARKER, f"{MARKER}^Nested", UID_ROOT + "2"
    dataset.ReferencedImageSequence = [item]
    dataset.OtherPatientIDsSequence = [item]
    dataset.file_meta.SourceApplicationEntityTitle = MARKER
    dataset.preamble = MARKER.encode().ljust(128, b"\0")


def _texts(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every output as bytes, unpacked where it is packed, with its name."""
    for path in sorted(folder.rglob("*")):
        content = b"" if path.is_dir() else path.read_bytes()
        yield str(path.relative_to(folder)), content
        if path.suffix == ".gz":
            yield f"{path.name} unpacked", gzip.decompress(content)


@pytest.fixture
def marked(tmp_path: Path, write_dicom: Callable[..., Path], write_outlines: Callable[..., Path]) -> ConversionOptions:
    """Three patients whose files say who they are wherever a file can; two raters; one file that is damaged, one skipped."""
    folder = tmp_path / "input"
    for number in range(3):

        def edit(dataset: Dataset, number: int = number) -> None:
            _plant(dataset)
            dataset.PatientID, dataset.PatientName = f"{MARKER}-{number}", f"{MARKER}^{number}"
            dataset.StudyInstanceUID, dataset.SOPInstanceUID = f"{UID_ROOT}3.{number}", f"{UID_ROOT}4.{number}"
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID

        name = f"{MARKER}_{number}"
        scan = write_dicom(folder / f"{MARKER}{number}" / f"{name}.dcm", edit, patient=f"x{number}")
        for rater in (f"{MARKER}_A", f"{MARKER}_B"):
            (folder / rater).mkdir(exist_ok=True)
            for view in ("anterior", "posterior"):
                write_outlines(folder / rater / f"{scan.stem}_{view}.json", (8, 10 + number, 3))
    (folder / f"{MARKER}.dcm").write_bytes(b"DICM damaged")
    write_dicom(folder / f"{MARKER}_ct.dcm", lambda dataset: (_plant(dataset), setattr(dataset, "Modality", "CT")))
    return ConversionOptions(folder, 7, "Bone", tmp_path / "raw", folds=2, raters="majority", jobs=1)


@pytest.mark.parametrize(
    "changes", [{}, {"file_format": "png", "views": "paired"}, {"crop": "thorax", "raters": f"{MARKER}_A"}]
)
def test_no_marker_is_in_any_output_byte(marked: ConversionOptions, changes: dict[str, Any]) -> None:
    raw = marked.raw or Path()
    for _ in range(2):  # the second time with the records of the first
        assert run(replace(marked, **changes)) == 1
        names = [name for name, _ in _texts(raw)]
        assert sum("labelsTr/" in name for name in names) == 6
        assert {"manifest.json", "manifest.csv", "qc.html"} <= {name.split("/")[-1] for name in names}
        for name, content in _texts(raw):
            for secret in (MARKER, NUMBER, "19181213", "918Y"):
                assert secret.lower() not in name.lower()
                assert secret.lower().encode() not in content.lower(), (name, secret)


def test_the_marker_was_there_to_be_found(marked: ConversionOptions) -> None:
    scan = next((marked.input / f"{MARKER}0").glob("*.dcm"))
    dataset = pydicom.dcmread(scan)
    holding = [e.keyword for e in dataset.iterall() if MARKER in str(e.value) or NUMBER in str(e.value)]
    assert len(holding) > 1000
    assert {"PatientName", "PatientID", "StudyInstanceUID", "InstitutionName", "PatientAddress"} <= set(holding)
