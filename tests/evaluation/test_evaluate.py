from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_score, recall_score

from evaluation.errors import UnusableInputError
from evaluation.evaluate import EvaluationOptions, evaluate, run

WriteImage = Callable[..., Path]
RESULTS = {"lesions.csv", "images.csv", "patients.csv", "summary.json", "summary.md", "report.html", "plots"}


@pytest.fixture
def options(study: Path) -> EvaluationOptions:
    return EvaluationOptions(study / "reference", study / "prediction", study / "out", cases=study / "manifest.csv")


def masks_of(folder: Path) -> NDArray:
    return np.stack([SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(p))) for p in sorted(folder.glob("*.nii.gz"))])


def figures(node) -> list[dict]:  # type: ignore[no-untyped-def]
    if isinstance(node, dict):
        own = [node] if set(node) == {"mean", "low", "high", "n"} else []
        return own + [f for value in node.values() for f in figures(value)]
    return [f for value in node for f in figures(value)] if isinstance(node, list) else []


def test_a_run_writes_all_results_and_returns_zero(options: EvaluationOptions, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(options) == 0
    assert {path.name for path in options.output.iterdir()} == RESULTS
    assert capsys.readouterr().out.startswith("6 images of 3 patients, 1 lesion-free")


def test_summary_holds_schema_1_of_the_design(options: EvaluationOptions) -> None:
    run(options)
    text = (options.output / "summary.json").read_text()
    summary = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in summary.json"))
    assert summary["schema"] == 1
    assert {"dice", "precision", "recall"} <= set(summary["pixel"]["pooled"])
    assert all(isinstance(value, float) for value in summary["pixel"]["pooled"].values())
    assert {"dice", "precision", "recall"} <= set(summary["pixel"]["per_image"])
    assert {"hd95_mm", "nsd"} <= set(summary["boundary"])
    assert {"sensitivity", "precision", "f1", "fp_per_image", "fp_per_lesion_free_image"} <= set(summary["lesion"])
    assert [row["name"] for row in summary["strata"]][:6] == [
        "diameter < 10 mm",
        "diameter 10-20 mm",
        "diameter 20-40 mm",
        "diameter >= 40 mm",
        "clustered",
        "solitary",
    ]
    assert all({"name", "n", "sensitivity", "dice_matched"} <= set(row) for row in summary["strata"])
    assert summary["images"] == {"n": 6, "patients": 3, "lesion_free": 1, "dice_undefined": 1, "missing_prediction": 0}
    found = figures(summary)
    assert len(found) > 60
    for figure in found:
        assert figure["low"] is None or figure["low"] <= figure["mean"] <= figure["high"]
        assert (figure["mean"] is None) == (figure["n"] == 0)


def test_pooled_and_per_image_pixels_agree_with_scikit_learn(options: EvaluationOptions) -> None:
    pixel = evaluate(options).summary["pixel"]
    reference, prediction = masks_of(options.reference), masks_of(options.prediction)
    for name, oracle in (("dice", f1_score), ("precision", precision_score), ("recall", recall_score)):
        assert pixel["pooled"][name] == pytest.approx(oracle(reference.ravel(), prediction.ravel()))
        each = [oracle(r.ravel(), p.ravel(), zero_division=np.nan) for r, p in zip(reference, prediction, strict=True)]
        assert pixel["per_image"][name]["mean"] == pytest.approx(np.nanmean(each))
        assert pixel["per_image"][name]["n"] == np.isfinite(each).sum() == 5


def test_dice_equals_that_of_nnunets_own_evaluator(options: EvaluationOptions) -> None:
    from nnunetv2.evaluation.evaluate_predictions import compute_metrics_on_folder
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

    theirs = compute_metrics_on_folder(
        str(options.reference), str(options.prediction), None, SimpleITKIO(), ".nii.gz", [1], num_processes=1
    )
    ours = evaluate(options)
    for row, metric in zip(ours.images.to_dict("records"), theirs["metric_per_case"], strict=True):
        assert Path(metric["reference_file"]).name == f"{row['case']}.nii.gz"
        assert row["dice"] == pytest.approx(metric["metrics"][1]["Dice"], abs=1e-9, nan_ok=True)
        assert row["iou"] == pytest.approx(metric["metrics"][1]["IoU"], abs=1e-9, nan_ok=True)
        assert (row["tp"], row["fp"], row["fn"]) == tuple(metric["metrics"][1][k] for k in ("TP", "FP", "FN"))
    assert ours.summary["pixel"]["per_image"]["dice"]["mean"] == pytest.approx(theirs["foreground_mean"]["Dice"], abs=1e-9)


def test_tables_have_one_row_an_image_and_one_a_lesion(options: EvaluationOptions, study: Path) -> None:
    run(replace(options, images=study / "images"))
    lesions = pd.read_csv(options.output / "lesions.csv")
    images = pd.read_csv(options.output / "images.csv")
    assert images["case"].tolist() == sorted(images["case"])
    assert len(lesions) == images["reference_lesions"].sum() + images["predicted_lesions"].sum()
    assert (lesions["status"][lesions["source"] == "reference"] != "missed").sum() == images["found_lesions"].sum()
    assert lesions["status"].value_counts().get("spurious", 0) == images["spurious_lesions"].sum()
    reference = lesions[lesions["source"] == "reference"]
    assert reference["area_px"].sum() == masks_of(options.reference).sum()
    pixels = masks_of(study / "images")[masks_of(options.reference) > 0]
    assert reference["image_sum"].sum() == pixels.sum()
    summary = json.loads((options.output / "summary.json").read_text())
    assert sum(row["n"] for row in summary["strata"][:4]) == len(reference) == summary["lesion"]["sensitivity"]["n"]
    assert summary["lesion"]["sensitivity"]["mean"] == pytest.approx((reference["status"] != "missed").mean())


def test_without_a_manifest_the_first_line_warns(options: EvaluationOptions, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(replace(options, cases=None)) == 0
    assert capsys.readouterr().out.startswith("Warning: cases were taken as patients")
    assert (options.output / "summary.md").read_text().startswith("Warning: cases were taken as patients")
    assert "cases were taken as patients" in (options.output / "report.html").read_text()
    assert json.loads((options.output / "summary.json").read_text())["images"]["patients"] == 6


def test_a_missing_prediction_counts_as_empty_is_said_and_gives_exit_code_one(
    options: EvaluationOptions, capsys: pytest.CaptureFixture[str]
) -> None:
    (options.prediction / "P0_01_ant.nii.gz").unlink()
    assert run(options) == 1
    assert "1 of 6 predictions are missing, counted as empty: P0_01_ant" in capsys.readouterr().out
    row = pd.read_csv(options.output / "images.csv").set_index("case").loc["P0_01_ant"]
    assert row["missing_prediction"]
    assert (row["dice"], row["nsd"], row["tp"]) == (0, 0, 0)
    assert row["hd95_mm"] == pytest.approx(np.hypot(48 * 2, 32 * 3))
    assert np.isnan(row["precision"])
    assert json.loads((options.output / "summary.json").read_text())["images"]["missing_prediction"] == 1


def test_every_bad_case_is_named_and_nothing_is_written(
    options: EvaluationOptions, write_image: WriteImage, capsys: pytest.CaptureFixture[str]
) -> None:
    (options.prediction / "dataset.json").unlink()
    write_image(options.prediction / "P0_01_ant.nii.gz", np.zeros((48, 31), np.uint8))
    write_image(options.prediction / "P1_01_ant.nii.gz", np.zeros((48, 32), np.uint8), (2.5, 3.0))
    assert run(options) == 2
    error = capsys.readouterr().err
    assert "P0_01_ant.nii.gz: shape" in error
    assert "P1_01_ant.nii.gz: pixel size" in error
    assert not options.output.exists()


def test_a_mask_of_255_is_refused_even_without_dataset_json(
    options: EvaluationOptions, write_image: WriteImage, capsys: pytest.CaptureFixture[str]
) -> None:
    (options.prediction / "dataset.json").unlink()
    write_image(options.prediction / "P0_01_ant.nii.gz", np.full((48, 32), 255, np.uint8))
    assert run(options) == 2
    assert "P0_01_ant.nii.gz: found label 255; the reference masks hold 0 to 1" in capsys.readouterr().err
    assert not options.output.exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cuts_mm": (20.0, 10.0)}, "--cuts-mm: expected ascending positive diameters in mm, found 20 10"),
        ({"cuts_mm": ()}, "--cuts-mm: .*found none"),
        ({"cluster_mm": float("nan")}, "--cluster-mm: expected a positive distance"),
        ({"spacing": (2.0, 0.0)}, "--spacing: expected two positive pixel sizes in mm, found 2 0"),
        ({"match": "any"}, "--match: expected one of overlap, iou, optimal, found any"),
        ({"connectivity": 6}, "--connectivity: expected 4 or 8, found 6"),
        ({"contrast_cuts": (0.0, 2.0)}, "--contrast-cuts: expected ascending positive ratios, found 0 2"),
        ({"tolerance_mm": 0.0}, "--tolerance-mm: expected a positive distance in mm, found 0"),
        ({"min_lesion_mm2": -1.0}, "--min-lesion-mm2: expected an area in mm2, found -1"),
        ({"iou_threshold": 0.0}, "--iou-threshold: expected a number above 0 and up to 1, found 0"),
        ({"jobs": 0}, "--jobs: expected a number of processes from 1, found 0"),
        ({"binarise_at": 0.5}, "--binarise-at: needs --probabilities"),
        ({"threshold": Path("t.json")}, "--threshold: needs --probabilities"),
        ({"choose_threshold": Path("t.json")}, "--choose-threshold: needs --probabilities"),
        ({"confidence": "median"}, "--confidence: expected one of max, mean, found median"),
        ({"threshold_rule": "best"}, "--threshold-rule: expected f1 or fp=N with a number N, found best"),
        ({"probabilities": Path("n"), "binarise_at": 1.0}, "--binarise-at: expected a probability between 0 and 1, found 1"),
        ({"probabilities": Path("n"), "choose_threshold": Path()}, "expected the name of a JSON file to write, found a folder"),
        (
            {"probabilities": Path("n"), "choose_threshold": Path("a"), "threshold": Path("b")},
            "--threshold and --choose-threshold: a threshold is chosen on validation cases and applied to others",
        ),
        ({"strata_from": Path("none.csv")}, r"none\.csv: expected lesions\.csv"),
    ],
)
def test_options_out_of_range_are_refused_in_a_sentence(
    options: EvaluationOptions, change: dict, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(replace(options, **change)) == 2
    assert re.search(sentence, capsys.readouterr().err)


def test_results_never_land_in_an_input_folder_or_on_a_file(
    options: EvaluationOptions, study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in options.prediction.iterdir())
    assert run(replace(options, output=options.prediction)) == 2
    assert "is a folder of input" in capsys.readouterr().err
    assert sorted(path.name for path in options.prediction.iterdir()) == before
    assert run(replace(options, output=study / "manifest.csv")) == 2
    assert "expected a folder for the results, found a file" in capsys.readouterr().err
    assert run(replace(options, output=study / "manifest.csv" / "out")) == 2
    assert "could not be written" in capsys.readouterr().err


def test_matching_connectivity_and_cuts_reach_the_result(tmp_path: Path, write_image: WriteImage) -> None:
    reference, prediction = np.zeros((2, 12, 12), np.uint8)
    reference[2:6, 2:6] = reference[6, 6] = 1  # touches at a corner
    prediction[5, 5] = 1
    write_image(tmp_path / "r" / "a.png", reference)
    write_image(tmp_path / "p" / "a.png", prediction)
    options = EvaluationOptions(tmp_path / "r", tmp_path / "p", tmp_path / "o", spacing=(1.0, 1.0), cuts_mm=(3.0,))
    lesion = evaluate(options).summary["lesion"]
    assert (lesion["sensitivity"]["mean"], lesion["sensitivity"]["n"]) == (1.0, 1)
    strict = evaluate(replace(options, connectivity=4, match="iou")).summary
    assert (strict["lesion"]["sensitivity"]["mean"], strict["lesion"]["sensitivity"]["n"]) == (0.0, 2)
    assert [(row["name"], row["n"]) for row in strict["strata"][:2]] == [("diameter < 3 mm", 1), ("diameter >= 3 mm", 1)]
    assert [row["n"] for row in strict["strata"][2:4]] == [2, 0]


def test_volumes_are_evaluated_and_not_mixed_with_planar_masks(
    tmp_path: Path, write_image: WriteImage, capsys: pytest.CaptureFixture[str]
) -> None:
    volume = np.zeros((6, 10, 12), np.uint8)
    volume[2:4, 3:6, 3:7] = 1
    for folder in ("r", "p", "i"):
        suffix = "_0000" if folder == "i" else ""
        write_image(tmp_path / folder / f"a{suffix}.nii.gz", volume, (3.0, 2.0, 2.0))
    options = EvaluationOptions(tmp_path / "r", tmp_path / "p", tmp_path / "o", images=tmp_path / "i")
    assert run(options) == 0
    table = pd.read_csv(tmp_path / "o" / "lesions.csv")
    assert table["volume_mm3"].tolist() == [24 * 12.0] * 2
    assert table["centroid_plane_px"].tolist() == [2.5, 2.5]
    for folder in ("r", "p", "i"):
        write_image(tmp_path / folder / f"b{'_0000' if folder == 'i' else ''}.nii.gz", volume[2])
    capsys.readouterr()
    assert run(options) == 2
    assert "b.nii.gz: has 2 dimensions, the masks before it 3" in capsys.readouterr().err


def test_the_result_is_the_same_for_one_process_and_for_two(options: EvaluationOptions, study: Path) -> None:
    given = replace(options, images=study / "images")
    one, two = (evaluate(replace(given, jobs=jobs)) for jobs in (1, 2))
    assert json.dumps(one.summary, allow_nan=False) == json.dumps(two.summary, allow_nan=False)
    for table in ("images", "lesions", "patients"):
        pd.testing.assert_frame_equal(getattr(one, table), getattr(two, table), check_exact=True)


def test_a_bad_case_is_named_by_any_number_of_processes(options: EvaluationOptions, write_image: WriteImage) -> None:
    write_image(options.prediction / "P0_01_ant.nii.gz", np.zeros((48, 31), np.uint8))
    sentences = []
    for jobs in (1, 2):
        with pytest.raises(UnusableInputError, match=r"P0_01_ant\.nii\.gz: shape") as error:
            evaluate(replace(options, jobs=jobs))
        sentences.append(str(error.value))
    assert sentences[0] == sentences[1]


def test_small_lesions_are_removed_from_both_masks_before_anything_is_measured(options: EvaluationOptions) -> None:
    everything, larger = evaluate(options), evaluate(replace(options, min_lesion_mm2=40.0))
    assert everything.lesions["area_mm2"].min() < 40 <= larger.lesions["area_mm2"].min()
    small = everything.lesions[everything.lesions["area_mm2"] < 40]
    removed = larger.summary["lesion_counts"]
    assert removed["removed_small_reference"] == (small["source"] == "reference").sum() > 0
    assert removed["removed_small_predicted"] == (small["source"] == "prediction").sum() > 0
    for source, pixels in (("reference", ["tp", "fn"]), ("prediction", ["tp", "fp"])):
        area = larger.lesions.loc[larger.lesions["source"] == source, "area_px"].sum()
        assert larger.images[pixels].to_numpy().sum() == area
    assert "smaller than 40 mm2 were removed from both masks" in " ".join(larger.summary["notes"])


def test_a_case_is_read_again_as_it_was_measured(options: EvaluationOptions, study: Path) -> None:
    evaluation = evaluate(replace(options, min_lesion_mm2=40.0, images=study / "images"))
    for files in evaluation.files:
        prepared = evaluation.prepared(files)
        rows = evaluation.lesions[evaluation.lesions["case"] == files.case]
        for source, labels in (("reference", prepared.reference), ("prediction", prepared.prediction)):
            own = rows[rows["source"] == source]
            assert own["lesion"].tolist() == list(range(1, int(labels.max()) + 1))
            assert own["area_px"].tolist() == np.bincount(labels.ravel())[1:].tolist()
        assert (prepared.masks.prediction == (prepared.prediction > 0)).all()


def test_strata_from_the_training_set_take_its_tertiles(options: EvaluationOptions, study: Path) -> None:
    run(replace(options, images=study / "images"))
    from_training = evaluate(replace(options, images=study / "images", strata_from=options.output / "lesions.csv")).summary
    sizes = [row["n"] for row in from_training["strata"] if row["kind"] == "size"]
    assert len(sizes) == 3
    assert max(sizes) - min(sizes) <= 4  # equal diameters fall on one side
    assert len(from_training["options"]["cuts_mm"]) == 2
    assert from_training["options"]["strata_from"].endswith("lesions.csv")


def test_size_strata_say_their_pixels_at_the_pixel_sizes_there_are(options: EvaluationOptions, write_image: WriteImage) -> None:
    strata = evaluate(options).summary["strata"]
    assert [row["pixels"] for row in strata[:4]] == ["< 13.1 px", "13.1-52.4 px", "52.4-209 px", ">= 209 px"]
    for folder in (options.reference, options.prediction):
        write_image(folder / "P0_01_ant.nii.gz", np.eye(48, 32, dtype=np.uint8), (1.0, 1.0))
    mixed = evaluate(options).summary
    assert mixed["strata"][0]["pixels"] == "< 78.5 px to < 13.1 px"
    assert (mixed["size"]["smallest_pixel"], mixed["size"]["largest_pixel"]) == pytest.approx((1.0, 6.0))


def test_sums_are_of_counts_where_the_dataset_says_how_images_hold_them(options: EvaluationOptions, study: Path) -> None:
    given = replace(options, images=study / "images")
    values = evaluate(given)
    assert values.summary["options"]["image_values"] == "image values"
    assert "No dataset.json of `msa convert` says how the images hold counts" in " ".join(values.summary["notes"])
    labels = {"background": 0, "metastasis": 1}
    (study / "dataset.json").write_text(json.dumps({"labels": labels, "msa": {"channels": "zscore"}}))
    counts = evaluate(given)
    assert counts.summary["options"]["image_values"] == "counts"
    difference = values.lesions["image_sum"] - counts.lesions["image_sum"]
    assert difference.tolist() == values.lesions["area_px"].tolist()  # one count less in every pixel
