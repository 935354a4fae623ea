"""Two real processes (gloo): gradients averaged, conclusions shared, no rank left waiting."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from msa_trainer.adversary import Adversary
from msa_trainer.recipe import AdversaryRecipe

RECIPE = AdversaryRecipe(start=0.0, ramp=0.0, norm="none")
PATCH = (24, 24)
STEPS = 3


def batch(rank: int, step: int, scenario: str) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(100 * step + rank)
    logits = torch.randn(2, 2, *PATCH, generator=generator, requires_grad=True)
    target = (torch.rand(2, 1, *PATCH, generator=generator) > 0.9).to(torch.int16)
    data = torch.randn(2, 1, *PATCH, generator=generator)
    if rank == 1 and step == 1:
        if scenario == "no lesion":
            target.zero_()
        if scenario == "not finite":
            data.fill_(math.nan)
    return logits, target, data


def steps(adversary: Adversary, rank: int, scenario: str) -> None:
    adversary.begin_epoch(0, 10)
    for step in range(STEPS):
        logits, target, data = batch(rank, step, scenario)
        loss, term = logits.square().mean(), adversary.term(logits, target, data)
        (loss if term is None else loss + term).backward()
        adversary.step()


def run_rank(rank: int, folder: str, scenario: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    adversary = Adversary(RECIPE, 1, 1, PATCH, torch.device("cpu"), seed=rank)  # other first weights: rank 0's must win
    steps(adversary, rank, scenario)
    outcome = {
        "state": adversary.state_dict(),
        "dropped": adversary.meter.number("dropped_steps"),
        "weight": adversary.weight,
    }
    torch.save(outcome, f"{folder}/rank_{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[dict[str, Any]]]:
    """Run a scenario in two processes, once however many tests ask; what each rank ended with."""

    @cache
    def run(scenario: str) -> list[dict[str, Any]]:
        folder = tmp_path_factory.mktemp("ranks")
        # A rank started by "spawn" finalizes its interpreter, and a gloo thread that drops its last tensor just then aborts
        # the process (torch issue 190489); one started by the fork server ends at once.
        mp.start_processes(run_rank, args=(str(folder), scenario), nprocs=2, start_method="forkserver")
        return [torch.load(folder / f"rank_{rank}.pt", weights_only=True) for rank in (0, 1)]

    return run


@pytest.mark.parametrize(("scenario", "dropped"), [("plain", 0), ("no lesion", 0), ("not finite", 1)])
def test_both_ranks_end_with_the_same_discriminator_and_the_same_conclusions(
    outcomes: Callable[[str], list[dict[str, Any]]], scenario: str, dropped: int
) -> None:
    first, second = outcomes(scenario)
    for name, tensor in first["state"]["discriminator"].items():
        assert torch.equal(tensor, second["state"]["discriminator"][name]), name
    assert first["dropped"] == second["dropped"] == dropped
    assert first["weight"] == second["weight"]
    assert first["state"]["ceiling"] == second["state"]["ceiling"]


@pytest.mark.parametrize("scenario", ["plain", "no lesion"])
def test_the_step_is_that_of_one_process_on_the_mean_of_both_ranks_gradients(
    outcomes: Callable[[str], list[dict[str, Any]]], scenario: str
) -> None:
    together = outcomes(scenario)[0]["state"]["discriminator"]
    alone = Adversary(RECIPE, 1, 1, PATCH, torch.device("cpu"), seed=0)
    alone.begin_epoch(0, 10)
    parameters = list(alone.discriminator.parameters())
    assert alone.optimizer is not None
    for step in range(STEPS):
        gradients = []
        for rank in (0, 1):
            value = alone.term(*batch(rank, step, scenario))
            if value is None:  # a rank without lesions has nothing to say, and nothing left over from its last step
                assert (scenario, rank, step) == ("no lesion", 1, 1)
                gradients.append([torch.zeros_like(p) for p in parameters])
                continue
            value.backward()
            gradients.append([p.grad.clone() for p in parameters])
        for parameter, one, other in zip(parameters, *gradients, strict=True):
            parameter.grad = -(one + other) / 2
        torch.nn.utils.clip_grad_norm_(parameters, RECIPE.gradient_norm)
        alone.optimizer.step()
    for name, tensor in alone.discriminator.state_dict().items():
        assert torch.allclose(tensor, together[name], atol=1e-5), name
