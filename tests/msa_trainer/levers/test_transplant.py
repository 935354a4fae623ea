"""Copied lesions bring their excess and their label, onto bone, from training cases alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from skimage.measure import label, regionprops

from msa_trainer.levers import Levers
from msa_trainer.levers.lesion_index import LesionIndex
from msa_trainer.levers.sampling import LesionLoader
from msa_trainer.levers.transplant import LesionTransplant, find_bone
from msa_trainer.seeding import seed_everything
from msa_trainer.trainer import MSATrainer

SIDE = 160
SPACING = (2.26, 2.26)


def body(seed: int, level: float = 1.0) -> np.ndarray:
    """Air, soft tissue (4 counts), and a broad band of bone (12): (SIDE, SIDE) expected counts."""
    expected = np.full((SIDE, SIDE), 0.2)
    expected[:, 20:140] = 4
    expected[:, 50:110] = 12
    return expected * level


def disc(row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return np.asarray((rows - row) ** 2 + (columns - column) ** 2 <= radius**2)


def case(seed: int, lesions: list[tuple[int, int, float]], added: float = 20, level: float = 1.0) -> tuple[Any, Any]:
    labels = np.zeros((SIDE, SIDE), np.uint8)
    for lesion in lesions:
        labels[disc(*lesion)] = 1
    counts = np.random.default_rng(seed).poisson(body(seed, level) + added * level * labels)
    return counts[None].astype(np.float32), labels


def transplant(dataset: Any, probability: float = 1.0, spacing: tuple[float, ...] = SPACING) -> LesionTransplant:
    return LesionTransplant(dataset, LesionIndex(dataset, [1], spacing), probability)


def components(labels: np.ndarray) -> int:
    return int(label(labels, connectivity=2).max())


@pytest.fixture
def two(store_cases: Callable[..., Any]) -> Any:
    """A donor with a lesion of 20 counts more than its bone, and a case without any."""
    return store_cases({"donor": case(1, [(40, 80, 3)]), "empty": case(2, [])})


def copied(dataset: Any, identifier: str, made: LesionTransplant) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    image, labels, _, _ = dataset.load_case(identifier)
    before, was = np.array(image[:]), np.array(labels[:])
    after, now = made(identifier, image, labels)
    assert np.array_equal(image[:], before), "the stored case must stay as it is"
    assert np.array_equal(labels[:], was)
    return before[0, 0], was[0, 0], np.asarray(after[:])[0, 0], np.asarray(now[:])[0, 0]


def test_one_to_five_lesions_of_the_donors_size_are_added(two: Any) -> None:
    seed_everything(0)
    made, numbers = transplant(two), set()
    for _ in range(60):
        _, _, _, labels = copied(two, "empty", made)
        sizes = [region.area for region in regionprops(label(labels, connectivity=2))]
        assert set(sizes) == {disc(40, 80, 3).sum()}
        numbers.add(len(sizes))
    assert numbers == {1, 2, 3, 4, 5}


def test_counts_rise_by_about_the_donors_excess_and_stay_whole(two: Any) -> None:
    seed_everything(1)
    made, rises = transplant(two), []
    for _ in range(200):
        before, _, after, labels = copied(two, "empty", made)
        added = after - before
        assert np.array_equal(added, added.round())
        assert added.min() >= 0
        number = components(labels)
        rises.append(added[labels > 0].sum() / number)
        assert added[labels == 0].sum() < 0.5 * added.sum(), "what fades beyond the outline is the smaller part"
    # 29 px of 20 counts each; smoothing by 1 px takes a fifth of it beyond the outline, where it is added too.
    assert 0.65 < np.mean(rises) / (disc(40, 80, 3).sum() * 20) < 1.0


def test_what_a_copy_adds_in_all_is_what_the_lesion_holds_above_its_surroundings(two: Any) -> None:
    seed_everything(2)
    made, added = transplant(two), []
    for _ in range(200):
        before, _, after, labels = copied(two, "empty", made)
        added.append((after - before).sum() / components(labels))
    counts, labels = case(1, [(40, 80, 3)])
    lesion = disc(40, 80, 3)
    held = counts[0][lesion].sum() - 12 * lesion.sum()
    assert np.mean(added) == pytest.approx(held, rel=0.2)  # noise beyond the outline that is cut at 0 adds a little


def test_the_rise_is_a_new_poisson_draw_each_time(two: Any) -> None:
    seed_everything(3)
    made = transplant(two)
    excess = made._excess_of("donor", 0)
    assert excess is not None
    sums = []
    for _ in range(2000):
        counts, labels = np.zeros((1, 1, SIDE, SIDE), np.float32), np.zeros((1, 1, SIDE, SIDE), np.int8)
        made._place(excess, made._bone_of("donor", counts), counts, labels)
        sums.append(counts.sum())
    total = excess.expected.sum()
    assert np.mean(sums) == pytest.approx(total, abs=5 * np.sqrt(total / 2000))
    assert np.var(sums) == pytest.approx(total, rel=5 * np.sqrt(2 / 2000))


def test_a_copy_is_as_bright_as_the_scans_counts_make_it(store_cases: Callable[..., Any]) -> None:
    seed_everything(4)
    dataset = store_cases({"donor": case(1, [(40, 80, 3)]), "long": case(2, [], level=3.0)})
    made, rises = transplant(dataset), []
    for _ in range(100):
        before, _, after, labels = copied(dataset, "long", made)
        rises.append((after - before)[labels > 0].mean())
    assert 3 * 20 * 0.65 < np.mean(rises) < 3 * 20 * 1.1


def test_copies_lie_on_bone_and_keep_away_from_lesions_that_are_there(store_cases: Callable[..., Any]) -> None:
    seed_everything(5)
    there = [(30, 80, 5), (120, 80, 5)]
    dataset = store_cases({"donor": case(1, [(40, 80, 2)]), "full": case(2, there)})
    made = transplant(dataset)
    old = disc(*there[0]) | disc(*there[1])
    for _ in range(30):
        _, was, _, labels = copied(dataset, "full", made)
        assert np.array_equal(was > 0, old)
        assert (labels[old] == 1).all()
        assert components(labels) > 2
        for region in regionprops(label((labels > 0) & ~old)):
            row, column = region.centroid
            assert 47 <= column <= 113, "its middle is on the band of bone, or on its smoothed edge"
            assert min(np.hypot(row - r, column - c) - 5 for r, c, _ in there) * 2.26 > 10


def test_bone_is_brighter_than_the_body_and_is_neither_bladder_nor_air() -> None:
    counts = body(0)
    counts[70:76, 60:66] = 400
    found = find_bone(np.random.default_rng(0).poisson(counts)[None].astype(np.float32))
    rows, columns = np.unravel_index(found.flat, (1, SIDE, SIDE))[1:]
    assert found.level == pytest.approx(12, rel=0.1)
    assert np.mean((columns >= 50) & (columns < 110)) > 0.95
    assert not ((rows >= 71) & (rows < 75) & (columns >= 61) & (columns < 65)).any()
    assert len(find_bone(np.zeros((1, 20, 20), np.float32)).flat) == 0


def test_with_probability_0_a_case_is_handed_on_untouched_and_nothing_is_drawn(two: Any) -> None:
    image, labels, _, _ = two.load_case("empty")
    seed_everything(6)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    after, now = transplant(two, 0.0)("empty", image, labels)
    assert after is image
    assert now is labels
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_the_probability_is_that_of_a_case_to_get_any(two: Any) -> None:
    seed_everything(7)
    made = transplant(two, 0.3)
    changed = sum(bool(copied(two, "empty", made)[3].any()) for _ in range(300))
    assert 0.2 < changed / 300 < 0.4


def test_a_case_never_gets_its_own_lesions_and_none_where_no_other_has_any(two: Any) -> None:
    seed_everything(8)
    made = transplant(two)
    for _ in range(20):
        before, was, after, labels = copied(two, "donor", made)
        assert np.array_equal(before, after)
        assert np.array_equal(was, labels)


def test_a_lesion_without_excess_is_not_copied(store_cases: Callable[..., Any]) -> None:
    seed_everything(9)
    dataset = store_cases({"cold": case(1, [(40, 80, 4)], added=-8), "empty": case(2, [])})
    made = transplant(dataset)
    for _ in range(20):
        before, _, after, labels = copied(dataset, "empty", made)
        assert not labels.any()
        assert np.array_equal(before, after)


def test_lesions_come_from_the_folds_training_cases_alone(
    make_trainer: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    levers = Levers(transplant=1.0)
    trainer = make_trainer(type("Transplants", (MSATrainer,), {"levers": levers}), counts=True)
    trainer.initialize()
    training, validation = (iterator.data_loader for iterator in trainer.get_dataloaders())
    change = training._data.change
    assert set(change._identifiers) <= set(training.indices)
    assert change.dataset.identifiers == training.indices
    assert not set(change._identifiers) & set(validation.indices)
    assert set(training.indices) == {f"case_{i}" for i in range(6)}


def test_a_class_and_an_opposite_view_travel_with_the_lesion(store_cases: Callable[..., Any]) -> None:
    """Two classes in two channels; the opposite channel shows the lesion with half its counts."""
    seed_everything(10)
    counts, labels = case(1, [(40, 80, 3)])
    opposite = np.random.default_rng(5).poisson(body(0) + 10 * labels)[None]
    donor = (np.concatenate([counts, opposite]), labels * 2)
    empty = (np.concatenate([case(2, [])[0], case(3, [])[0]]), np.zeros((SIDE, SIDE)))
    dataset = store_cases({"donor": donor, "empty": empty})
    made, rises = LesionTransplant(dataset, LesionIndex(dataset, [1, 2], SPACING), 1.0), []
    for _ in range(60):
        image, segmentation, _, _ = dataset.load_case("empty")
        after, now = made("empty", image, segmentation)
        assert set(np.unique(now)) == {0, 2}
        rises.append((after - image[:])[:, now[0] == 2].mean(1))
    front, back = np.mean(rises, axis=0)
    assert back / front == pytest.approx(0.5, abs=0.15)


def test_ignored_and_outside_pixels_get_no_lesion(store_cases: Callable[..., Any]) -> None:
    seed_everything(11)
    image, labels = case(2, [])
    labels = labels.astype(np.int8)
    labels[:80], labels[120:] = 2, -1  # ignored; outside nnU-Net's crop
    dataset = store_cases({"donor": case(1, [(40, 80, 2)]), "partly": (image, labels)})
    made = transplant(dataset)
    for _ in range(30):
        _, was, _, now = copied(dataset, "partly", made)
        assert np.array_equal(was[:80], now[:80])
        assert np.array_equal(was[120:], now[120:])


def test_in_volumes_a_3d_plan_copies_whole_lesions_and_a_2d_plan_single_slices(store_cases: Callable[..., Any]) -> None:
    seed_everything(12)
    volume = np.random.default_rng(0).poisson(np.stack([body(0)] * 16))[None].astype(np.float32)
    labels = np.zeros((16, SIDE, SIDE))
    labels[7:9, 38:43, 78:83] = 1
    volume[0][labels > 0] += 20
    dataset = store_cases({"donor": (volume, labels), "empty": (volume.copy(), np.zeros_like(labels))})
    for spacing, slices in (((4.0, *SPACING), 2), (SPACING, 1)):
        made = transplant(dataset, spacing=spacing)
        image, segmentation, _, _ = dataset.load_case("empty")
        _, now = made("empty", image, segmentation)
        regions = regionprops(label(now[0], connectivity=3))
        assert len(regions) >= 1
        if slices == 2:
            assert {region.bbox[3] - region.bbox[0] for region in regions} == {2}
        else:
            flat = [regionprops(label(plane, connectivity=2)) for plane in now[0]]
            assert all(region.area == 25 for plane in flat for region in plane)


def test_a_patch_is_laid_over_copied_lesions_too(two: Any) -> None:
    seed_everything(13)
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    only = type(two)(two.source_folder, ["empty"])
    labels = LabelManager({"background": 0, "metastasis": 1}, None)
    index = LesionIndex(only, [1], SPACING)
    loader = LesionLoader(only, 4, (32, 32), (32, 32), labels, 1.0, index=index, lesion_patches=1.0, change=transplant(two))
    for _ in range(5):
        assert all((target == 1).any() for target in next(loader)["target"])
