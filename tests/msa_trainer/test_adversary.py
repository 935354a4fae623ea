"""The second player: one backward for both, guards, governor, state."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from msa_trainer.adversary import GIVE_UP_AFTER, Adversary
from msa_trainer.losses import foreground_probabilities, image_mask_pair, reference_masks, relative_l1
from msa_trainer.recipe import AdversaryRecipe

ON = AdversaryRecipe(start=0.0, ramp=0.0, weight=0.3, ratio_limit=None)


def make(
    recipe: AdversaryRecipe = ON, patch: tuple[int, ...] = (32, 32), channels: int = 1, classes: int = 1, **options: Any
) -> Adversary:
    adversary = Adversary(recipe, channels, classes, patch, torch.device("cpu"), **options)
    adversary.begin_epoch(0, 10)
    return adversary


def batch(seed: int = 0, patch: tuple[int, ...] = (32, 32), heads: int = 2, channels: int = 1) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, heads, *patch, generator=generator, requires_grad=True)
    target = (torch.rand(2, 1, *patch, generator=generator) > 0.95).to(torch.int16)
    return logits, target, torch.randn(2, channels, *patch, generator=generator)


def weights(adversary: Adversary) -> list[torch.Tensor]:
    return [p.detach().clone() for p in adversary.discriminator.parameters()]


def term(adversary: Adversary, *of: torch.Tensor) -> torch.Tensor:
    value = adversary.term(*of)
    assert value is not None
    return value


def pairs(adversary: Adversary, prediction: torch.Tensor, reference: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
    return torch.cat([image_mask_pair(m, data, adversary.recipe.pair) for m in (prediction, reference)])


def test_single_pass_gradients_equal_those_of_two_separate_passes() -> None:
    adversary = make(replace(ON, norm="none"))
    logits, target, data = batch()
    term(adversary, logits, target, data).backward()
    single = [p.grad.clone() for p in adversary.discriminator.parameters()]
    assert logits.grad is not None
    generator_single = logits.grad.clone()

    adversary.discriminator.zero_grad()
    again = logits.detach().clone().requires_grad_()
    reference = reference_masks(target, 1, False, None)[0]
    detached = foreground_probabilities(again.detach(), False)
    adversary.distance(pairs(adversary, detached, reference, data)).mean().backward()
    two = [p.grad for p in adversary.discriminator.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(single, two, strict=True))

    frozen = deepcopy(adversary.discriminator).requires_grad_(False)
    features = [frozen(image_mask_pair(m, data, "masked")) for m in (foreground_probabilities(again, False), reference)]
    (0.3 * relative_l1(*features).mean()).backward()
    assert again.grad is not None
    assert float((generator_single - again.grad).norm() / again.grad.norm()) < 1e-5


def test_the_discriminators_step_raises_the_loss_and_leaves_the_logits_alone() -> None:
    adversary = make(replace(ON, norm="none", learning_rate=1e-3))
    logits, target, data = batch()
    before, untouched = term(adversary, logits, target, data), logits.detach().clone()
    before.backward()
    adversary.step()
    after = term(adversary, logits, target, data)
    assert float(after.detach()) > float(before.detach())
    assert torch.equal(logits.detach(), untouched)


def test_a_generators_step_leaves_the_discriminator_alone_and_lowers_the_loss() -> None:
    adversary = make(replace(ON, norm="none"))
    logits, target, data = batch()
    before, unmoved = term(adversary, logits, target, data), weights(adversary)
    before.backward()
    with torch.no_grad():
        logits -= 50 * logits.grad
    assert all(torch.equal(a, b) for a, b in zip(unmoved, weights(adversary), strict=True))
    assert float(term(adversary, logits, target, data)) < float(before)


def test_the_loss_is_zero_for_a_perfect_prediction_also_in_training_mode() -> None:
    adversary = make()
    _, target, data = batch()
    reference = target.float()
    assert adversary.discriminator.training
    assert float(adversary.distance(pairs(adversary, reference, reference, data)).abs().max()) == 0


def test_the_loss_is_about_two_for_an_empty_prediction_against_lesions() -> None:
    adversary = make()
    _, target, data = batch()
    nothing = torch.stack([torch.full((2, 32, 32), 40.0), torch.full((2, 32, 32), -40.0)], dim=1).requires_grad_()
    assert float(term(adversary, nothing, target, data)) == pytest.approx(2, abs=0.02)


def test_scaling_all_weights_changes_nothing_without_a_norm() -> None:
    adversary = make(replace(ON, norm="none"))
    before = float(term(adversary, *batch()))
    with torch.no_grad():
        for parameter in adversary.discriminator.parameters():
            parameter.mul_(100)
    assert float(term(adversary, *batch())) == pytest.approx(before, abs=1e-2)


def test_order_of_players_and_of_cases_does_not_matter() -> None:
    adversary = make(replace(ON, norm="none"))
    logits, target, data = batch()
    m, reference = foreground_probabilities(logits, False), target.float()
    straight = adversary.distance(pairs(adversary, m, reference, data))
    assert torch.allclose(straight, adversary.distance(pairs(adversary, reference, m, data)))
    assert torch.allclose(straight, adversary.distance(pairs(adversary, m.flip(0), reference.flip(0), data.flip(0))), atol=1e-5)


def test_a_batch_without_lesions_has_no_term_and_moves_nothing() -> None:
    adversary = make()
    logits, target, data = batch()
    unmoved = weights(adversary)
    assert adversary.term(logits, torch.zeros_like(target), data) is None
    adversary.step()
    assert all(torch.equal(a, b) for a, b in zip(unmoved, weights(adversary), strict=True))
    assert adversary.meter.number("dropped_steps") == 0


def test_a_term_that_is_not_finite_is_dropped_and_counted_and_twenty_in_a_row_end_it() -> None:
    adversary = make()
    logits, target, data = batch()
    unmoved = weights(adversary)
    for number in range(1, GIVE_UP_AFTER + 1):
        assert adversary.weight > 0
        assert adversary.term(logits, target, torch.full_like(data, math.nan)) is None
        adversary.step()
        assert adversary.meter.number("dropped_steps") == number
    assert adversary.weight == 0
    assert all(torch.equal(a, b) for a, b in zip(unmoved, weights(adversary), strict=True))
    adversary.begin_epoch(5, 10)
    assert adversary.weight == 0, "a new epoch must not bring a broken adversary back"


def test_one_good_step_forgives_the_dropped_ones() -> None:
    adversary = make()
    logits, target, data = batch()
    adversary.term(logits, target, torch.full_like(data, math.nan))
    adversary.step()
    term(adversary, logits, target, data).backward()
    adversary.step()
    assert adversary.dropped_in_a_row == 0


def test_the_measured_gradient_ratio_is_that_of_two_separate_backwards() -> None:
    adversary = make(replace(ON, ratio_limit=10.0, norm="none"))
    logits, target, data = batch()

    def segmentation(of: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(of, target[:, 0].long())

    (segmentation(logits) + term(adversary, logits, target, data)).backward()
    adversary.step()
    measured = adversary.meter.mean("gradient_ratio")

    other = make(replace(ON, norm="none"))
    adversarial = torch.autograd.grad(term(other, logits, target, data), logits)[0]
    plain = torch.autograd.grad(segmentation(logits), logits)[0]
    assert measured == pytest.approx(float(adversarial.norm() / plain.norm()), rel=1e-4)


def test_the_governor_holds_the_ratio_at_its_limit() -> None:
    adversary = make(replace(ON, ratio_limit=0.05, weight=5.0, norm="none", learning_rate=0.0))
    logits, target, data = batch()
    ratios = []
    for _ in range(2):
        adversary.begin_epoch(0, 10)
        logits.grad = None
        (torch.nn.functional.cross_entropy(logits, target[:, 0].long()) + term(adversary, logits, target, data)).backward()
        adversary.step()
        ratios.append(adversary.meter.mean("gradient_ratio"))
    assert ratios[0] > 0.5
    assert ratios[1] == pytest.approx(0.05, rel=1e-3)


def test_a_frozen_discriminator_guides_but_never_moves() -> None:
    adversary = make(replace(ON, mode="frozen"))
    state = deepcopy(adversary.discriminator.state_dict())
    logits, target, data = batch()
    term(adversary, logits, target, data).backward()
    adversary.step()
    assert adversary.optimizer is None
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0
    assert all(torch.equal(state[name], tensor) for name, tensor in adversary.discriminator.state_dict().items())


def test_clipping_bounds_every_weight() -> None:
    adversary = make(replace(ON, norm="batch", loss="segan", pair="product", clip=0.05))
    term(adversary, *batch()).backward()
    adversary.step()
    assert max(float(w.abs().max()) for w in weights(adversary)) <= 0.05 + 1e-7


def test_a_resumed_adversary_goes_on_bit_for_bit() -> None:
    def steps(adversary: Adversary, seeds: range) -> None:
        for seed in seeds:
            term(adversary, *batch(seed)).backward()
            adversary.step()

    whole, first, second = make(), make(), make(seed=99)
    steps(whole, range(4))
    steps(first, range(2))
    second.load_state_dict(deepcopy(first.state_dict()))
    steps(second, range(2, 4))
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(second), strict=True))


def test_a_gradient_scaler_changes_nothing_but_the_scale_in_between() -> None:
    plain, scaled = make(replace(ON, ratio_limit=0.5)), make(replace(ON, ratio_limit=0.5))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    logits, target, data = batch()
    (logits.square().mean() + term(plain, logits, target, data)).backward()
    plain.step()
    again = logits.detach().clone().requires_grad_()
    players = torch.optim.SGD([again], lr=0.0)
    scaler.scale(again.square().mean() + term(scaled, again, target, data)).backward()
    scaler.unscale_(players)
    scaler.step(players)
    scaled.step(scaler)
    scaler.update()
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(weights(plain), weights(scaled), strict=True))
    assert scaled.meter.mean("gradient_ratio") == pytest.approx(plain.meter.mean("gradient_ratio"), rel=1e-4)


def test_a_scaled_step_with_infinite_gradients_is_skipped_and_counted() -> None:
    adversary = make()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    unmoved = weights(adversary)
    scaler.scale(term(adversary, *batch())).backward()
    next(adversary.discriminator.parameters()).grad.fill_(math.inf)  # type: ignore[union-attr]
    adversary.step(scaler)
    scaler.update()
    assert adversary.meter.number("dropped_steps") == 1
    assert all(torch.equal(a, b) for a, b in zip(unmoved, weights(adversary), strict=True))


@pytest.mark.parametrize("spoil", [0, 1])
def test_what_lies_under_the_ignore_label_does_not_count(spoil: int) -> None:
    values = []
    for change in (False, True):
        adversary = make(ignore_label=2)
        logits, target, data = batch()
        target[:, :, :10] = 2
        if change:
            with torch.no_grad():
                (logits if spoil == 0 else data)[:, :, :10] += 5
        values.append(float(term(adversary, logits, target, data)))
    assert values[0] == values[1]


@pytest.mark.parametrize(("patch", "channels", "classes"), [((16, 16, 16), 1, 1), ((5, 32, 32), 2, 2), ((40, 24), 2, 3)])
def test_volumes_thin_patches_and_regions_train(patch: tuple[int, ...], channels: int, classes: int) -> None:
    adversary = make(patch=patch, channels=channels, classes=classes, regions=True)
    logits, _, data = batch(patch=patch, heads=classes, channels=channels)
    target = torch.rand(2, classes, *patch) > 0.9
    term(adversary, logits, target, data).backward()
    adversary.step()
    assert adversary.meter.number("discriminator_gradient") == 1


def test_making_an_adversary_does_not_move_the_generators_random_stream() -> None:
    before = torch.get_rng_state()
    make()
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (AdversaryRecipe(weight=1.0, start=0.5, ramp=0.2), [0, 0, 0, 0, 0, 0.5, 1, 1, 1, 1]),
        (AdversaryRecipe(weight=0.2, start=0.0, ramp=0.0), [0.2] * 10),
        (AdversaryRecipe(mode="off"), [0] * 10),
    ],
)
def test_the_weight_is_zero_then_rises_linearly_then_stays(recipe: AdversaryRecipe, expected: list[float]) -> None:
    assert [recipe.weight_at(epoch, 10) for epoch in range(10)] == pytest.approx(expected)


@pytest.mark.parametrize("pair", ["masked", "product", "concat"])
@pytest.mark.parametrize("loss", ["relative", "segan"])
def test_every_reading_of_the_papers_words_takes_a_step(pair: Any, loss: Any) -> None:
    adversary = make(replace(ON, pair=pair, loss=loss))
    term(adversary, *batch()).backward()
    unmoved = weights(adversary)
    adversary.step()
    assert any(not torch.equal(a, b) for a, b in zip(unmoved, weights(adversary), strict=True))
