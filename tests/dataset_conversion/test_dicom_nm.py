from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from dataset_conversion.dicom_nm import read_views, stable_uid, write_study
from dataset_conversion.errors import ConversionError, SkippedFile
from dataset_conversion.scintigram import Scintigram

WriteDicom = Callable[..., Path]
NM1_COUNTS = 3_596_452


def _sample(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str)
    return Path(path)


def test_the_real_scan_nm1_is_read_to_the_count() -> None:
    with pytest.warns(UserWarning, match="frame 1 states no view, taken as anterior"):
        (view,) = read_views(_sample("JPEG-LL.dcm"))
    assert int(view.counts.sum()) == NM1_COUNTS == pydicom.dcmread(_sample("JPEG-LL.dcm")).CountsAccumulated
    assert (view.counts.shape, view.counts.dtype, view.counts.max()) == ((1024, 256), np.uint16, 278)
    assert (view.view, view.spacing_mm, view.patient, view.frame) == ("anterior", (2.26, 2.26), "8NM1", 1)


def test_nm1_reads_the_same_from_every_lossless_encoding(tmp_path: Path) -> None:
    original = pydicom.dcmread(_sample("JPEG-LL.dcm"))
    pixels = original.pixel_array
    for syntax in (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.RLELossless):
        dataset = pydicom.dcmread(_sample("JPEG-LL.dcm"))
        dataset.decompress()
        if syntax == uid.RLELossless:
            dataset.compress(syntax, generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(tmp_path / "scan.dcm", implicit_vr=syntax.is_implicit_VR, little_endian=True)
        with pytest.warns(UserWarning, match="taken as anterior"):
            (view,) = read_views(tmp_path / "scan.dcm")
        assert np.array_equal(view.counts, pixels), syntax.name


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "JPEG2000_UNC.dcm", "JPEG-lossy.dcm", "JPGExtended.dcm"])
def test_lossy_copies_of_nm1_are_refused(name: str) -> None:
    with pytest.raises(ConversionError, match=f"{name}: is compressed with loss"):
        read_views(_sample(name))


def test_a_lossy_copy_that_hides_it_is_caught_by_its_counts(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(_sample("JPEG2000_UNC.dcm"))
    del dataset.LossyImageCompression
    pixels = dataset.pixel_array.copy()
    dataset.PixelData = pixels.clip(0).tobytes()
    dataset.save_as(tmp_path / "scan.dcm")
    with (
        pytest.warns(UserWarning, match="taken as anterior"),
        pytest.raises(ConversionError, match="Counts Accumulated is 3596452"),
    ):
        read_views(tmp_path / "scan.dcm")


def test_a_missing_decoder_is_named_with_what_to_install() -> None:
    """In a process of its own, where the decoders of JPEG cannot be imported."""
    code = (
        "import sys\n"
        "for name in ('gdcm', 'pylibjpeg', 'libjpeg', 'openjpeg'): sys.modules[name] = None\n"
        "import warnings; warnings.simplefilter('ignore')\n"
        "from pathlib import Path; from dataset_conversion.dicom_nm import read_views\n"
        "read_views(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", code, _sample("JPEG-LL.dcm")], capture_output=True, text=True, check=False)
    assert 'pip install "msa-trainer[codecs]"' in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "reason"), [("CT_small.dcm", "modality is CT"), ("rtstruct.dcm", "RTSTRUCT"), ("liver.dcm", "SEG")]
)
def test_other_objects_are_skipped_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(SkippedFile, match=reason):
        read_views(_sample(name))


def test_what_is_written_is_read_back(
    tmp_path: Path, write_dicom: WriteDicom, make_views: Callable[..., list[Scintigram]]
) -> None:
    path = write_dicom(tmp_path / "scan.dcm")
    views = read_views(path)
    assert [view.view for view in views] == ["anterior", "posterior"]
    for ours, theirs in zip(views, make_views(), strict=True):
        assert np.array_equal(ours.counts, theirs.counts)
        assert ours.source == path
        assert replace(ours, counts=theirs.counts, source=theirs.source) == theirs


def test_frames_follow_their_view_codes_not_their_order(
    tmp_path: Path, write_dicom: WriteDicom, make_views: Callable[..., list[Scintigram]]
) -> None:
    views = make_views(views=("posterior", "anterior"))
    read = read_views(write_dicom(tmp_path / "scan.dcm", views=("posterior", "anterior")))
    assert [(view.view, view.frame) for view in read] == [("anterior", 2), ("posterior", 1)]
    assert np.array_equal(read[0].counts, views[1].counts)


def test_frames_follow_the_detector_vector(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def swap(dataset: Dataset) -> None:
        dataset.DetectorVector = [2, 1]

    read = read_views(write_dicom(tmp_path / "scan.dcm", swap))
    assert [(view.view, view.frame) for view in read] == [("anterior", 2), ("posterior", 1)]


@pytest.mark.parametrize(
    ("value", "scheme", "meaning"),
    [
        (codes.cid26.PosteriorProjection.value, "SCT", ""),
        ("G-5216", "SRT", ""),
        ("R-10214", "SNM3", "Posterior"),
        ("272479007", "SCT", "postero-anterior"),
        ("XYZ", "99VENDOR", "POST"),
    ],
)
def test_the_codes_scanners_write_for_posterior_are_known(
    tmp_path: Path, write_dicom: WriteDicom, value: str, scheme: str, meaning: str
) -> None:
    def edit(dataset: Dataset) -> None:
        item = dataset.DetectorInformationSequence[0].ViewCodeSequence[0]
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning

    (view,) = read_views(write_dicom(tmp_path / "scan.dcm", edit, views=("anterior",)))
    assert view.view == "posterior"


@pytest.mark.parametrize("keyword", ["ImageType", "ImageID", "SeriesDescription"])
def test_a_one_frame_file_without_codes_is_known_by_its_words(tmp_path: Path, write_dicom: WriteDicom, keyword: str) -> None:
    def edit(dataset: Dataset) -> None:
        del dataset.DetectorInformationSequence
        words: Any = ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION", "POST"] if keyword == "ImageType" else "WB_POST 3h"
        setattr(dataset, keyword, words)

    (view,) = read_views(write_dicom(tmp_path / "scan.dcm", edit, views=("anterior",)))
    assert view.view == "posterior"


def test_frames_without_any_view_are_taken_in_order_with_a_warning(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def edit(dataset: Dataset) -> None:
        del dataset.DetectorInformationSequence

    path = write_dicom(tmp_path / "scan.dcm", edit)
    with pytest.warns(UserWarning, match="taken as") as caught:
        views = read_views(path)
    assert [(view.view, view.frame) for view in views] == [("anterior", 1), ("posterior", 2)]
    assert len(caught) == 2


def _set(**values: Any) -> Callable[[Dataset], None]:
    def edit(dataset: Dataset) -> None:
        for keyword, value in values.items():
            if value is None:
                delattr(dataset, keyword)
            else:
                setattr(dataset, keyword, value)

    return edit


def _same_view(dataset: Dataset) -> None:
    dataset.DetectorVector = [1, 1]


def _one_value(dataset: Dataset) -> None:
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.CountsAccumulated = 0


def _cut_pixels(dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:100]


def _negative(dataset: Dataset) -> None:
    dataset.PixelRepresentation = 1
    dataset.PixelData = b"\xff\xff" + dataset.PixelData[2:]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_set(PixelSpacing=None), "no usable Pixel Spacing"),
        (_set(PixelSpacing=["0", "2.26"]), "expected two positive numbers"),
        (_set(PatientID="", PatientName=""), "neither Patient ID nor"),
        (_set(LossyImageCompression="01"), "compressed with loss"),
        (_set(CountsAccumulated=5_000_000), "Counts Accumulated is 5000000"),
        (_set(RescaleSlope="0.5", RescaleIntercept="0"), "rescaled values"),
        (_set(PixelData=None), "without pixels"),
        (_same_view, "frames 1 and 2 are both anterior"),
        (_one_value, "frame 1 holds a single value"),
        (_cut_pixels, "cannot be decoded"),
        (_negative, r"frame 1 holds negative counts \(down to -1\)"),
    ],
)
def test_a_scan_that_cannot_be_trusted_is_refused(
    tmp_path: Path, write_dicom: WriteDicom, edit: Callable[[Dataset], None], words: str
) -> None:
    with pytest.raises(ConversionError, match=words) as raised:
        read_views(write_dicom(tmp_path / "scan.dcm", edit))
    assert not isinstance(raised.value, SkippedFile)
    assert str(raised.value).startswith(f"{tmp_path / 'scan.dcm'}: ")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (_set(ImageType=["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]), "'TOMO'"),
        (_set(ImageType=["ORIGINAL", "PRIMARY", "WHOLE BODY", "TRANSMISSION"]), "transmission"),
        (_set(SOPClassUID=uid.PositronEmissionTomographyImageStorage), "Positron Emission"),
        (_set(SOPClassUID=uid.SecondaryCaptureImageStorage, ImageType=["DERIVED", "SECONDARY"]), "Secondary Capture"),
        (_set(SamplesPerPixel=3), "colour"),
    ],
)
def test_what_is_no_planar_emission_scan_is_skipped(
    tmp_path: Path, write_dicom: WriteDicom, edit: Callable[[Dataset], None], words: str
) -> None:
    with pytest.raises(SkippedFile, match=words):
        read_views(write_dicom(tmp_path / "scan.dcm", edit))


def test_counts_that_nearly_match_are_told(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.CountsAccumulated += 3

    path = write_dicom(tmp_path / "scan.dcm", edit)
    with pytest.warns(UserWarning, match="Counts Accumulated is"):
        assert len(read_views(path)) == 2


def test_counts_of_one_frame_are_an_accepted_reading_of_the_tag(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.CountsAccumulated = int(dataset.pixel_array[0].sum())

    assert len(read_views(write_dicom(tmp_path / "scan.dcm", edit))) == 2


def test_other_projections_are_left_out_with_a_warning(tmp_path: Path, write_dicom: WriteDicom) -> None:
    def edit(dataset: Dataset) -> None:
        dataset.DetectorInformationSequence[1].ViewCodeSequence[0].CodeValue = "399118008"
        dataset.DetectorInformationSequence[1].ViewCodeSequence[0].CodeMeaning = "Left lateral projection"

    path = write_dicom(tmp_path / "scan.dcm", edit)
    with pytest.warns(UserWarning, match="left out frame 2 \\(Left lateral"):
        assert [view.view for view in read_views(path)] == ["anterior"]


@pytest.mark.parametrize("keyword", ["SOPClassUID", "ImageType", "Manufacturer", "StudyInstanceUID", "CountsAccumulated"])
def test_attributes_that_archives_lack_are_not_needed(tmp_path: Path, write_dicom: WriteDicom, keyword: str) -> None:
    def strip(dataset: Dataset) -> None:
        delattr(dataset, keyword)
        dataset.file_meta.MediaStorageSOPClassUID = uid.NuclearMedicineImageStorage

    assert len(read_views(write_dicom(tmp_path / "scan.dcm", strip))) == 2


def test_a_bare_data_set_without_preamble_and_file_meta_is_read(tmp_path: Path, write_dicom: WriteDicom) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "scan.dcm"))
    del dataset.file_meta
    dataset.preamble = None
    for implicit in (True, False):
        bare = tmp_path / f"bare{implicit}.dcm"
        pydicom.dcmwrite(bare, dataset, implicit_vr=implicit, little_endian=True)
        assert bare.read_bytes()[128:132] != b"DICM"
        assert len(read_views(bare)) == 2


@pytest.mark.parametrize("content", [b"", b"no DICOM at all, just text. " * 20, bytes(range(256)) * 4])
def test_a_file_that_is_no_dicom_is_skipped_unless_it_is_named_like_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "notes.txt").write_bytes(content)
    with pytest.raises(SkippedFile, match="not a DICOM file"):
        read_views(tmp_path / "notes.txt")
    (tmp_path / "scan.dcm").write_bytes(content)
    with pytest.raises(ConversionError, match="named like a DICOM file"):
        read_views(tmp_path / "scan.dcm")


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_never_end_in_another_exception(tmp_path: Path, write_dicom: WriteDicom) -> None:
    whole = write_dicom(tmp_path / "scan.dcm").read_bytes()
    rng = random.Random(0)
    outcomes = {"read": 0, "refused": 0}
    sentences: list[str] = []
    for trial in range(150):
        damaged = bytearray(whole)
        if trial % 2:
            damaged = damaged[: rng.randrange(len(damaged))]
        else:
            for _ in range(5):
                damaged[rng.randrange(132, 2400)] = rng.randrange(256)
        (tmp_path / "damaged.dcm").write_bytes(damaged)
        try:
            read_views(tmp_path / "damaged.dcm")
            outcomes["read"] += 1
        except ConversionError as error:
            outcomes["refused"] += 1
            sentences.append(str(error))
    assert all("damaged.dcm: " in sentence for sentence in sentences)
    assert min(outcomes.values()) > 5


def test_the_same_study_gives_the_same_bytes_and_valid_identifiers(tmp_path: Path, write_dicom: WriteDicom) -> None:
    assert write_dicom(tmp_path / "a.dcm").read_bytes() == write_dicom(tmp_path / "b.dcm").read_bytes()
    assert uid.UID(stable_uid("a", "b")).is_valid
    assert stable_uid("a", "b") != stable_uid("a", "c")
    assert not list(tmp_path.glob(".*"))


def test_the_written_object_is_a_whole_body_nm_object(tmp_path: Path, write_dicom: WriteDicom) -> None:
    """What dciodvfy checked once, kept: the conditional attributes of PS3.3 A.5 for a whole-body acquisition."""
    dataset = pydicom.dcmread(write_dicom(tmp_path / "scan.dcm"))
    assert dataset.SOPClassUID == uid.NuclearMedicineImageStorage == dataset.file_meta.MediaStorageSOPClassUID
    assert list(dataset.ImageType) == ["ORIGINAL", "PRIMARY", "WHOLE BODY", "EMISSION"]
    assert [int(tag) for tag in dataset.FrameIncrementPointer] == [0x00540010, 0x00540020]
    assert dataset.NumberOfFrames == dataset.NumberOfDetectors == len(dataset.DetectorInformationSequence) == 2
    assert dataset.CountsAccumulated == int(dataset.pixel_array.sum())
    assert [item.ViewCodeSequence[0].CodeValue for item in dataset.DetectorInformationSequence] == [
        codes.cid26.AnteriorProjection.value,
        codes.cid26.PosteriorProjection.value,
    ]
    assert "PatientPosition" not in dataset  # forbidden beside Patient Orientation Code Sequence
    assert dataset.ScanLength == round(48 * 2.26)


def test_views_that_do_not_belong_together_are_not_written(tmp_path: Path, make_views: Callable[..., list[Scintigram]]) -> None:
    anterior, posterior = make_views()
    cases: list[tuple[Sequence[Scintigram], str]] = [
        ([anterior, replace(posterior, patient="another")], "differ in"),
        ([anterior, replace(posterior, view="anterior")], "same side"),
        ([replace(anterior, study="no uid")], "must be DICOM UIDs"),
        ([replace(anterior, counts=np.full((4, 4), 70_000))], "between 0 and 65535"),
    ]
    for views, words in cases:
        with pytest.raises(ConversionError, match=words):
            write_study(
                tmp_path / "x.dcm", views, patient_name="A", patient_sex="", study_date="20200101", study_description=""
            )
    assert not list(tmp_path.iterdir())
