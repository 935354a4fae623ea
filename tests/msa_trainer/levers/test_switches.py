"""The page about levers names every switch, and its trainer is one."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from msa_trainer.levers import Levers
from msa_trainer.trainer import MSATrainer

PAGE = (Path(__file__).parents[3] / "docs" / "levers.md").read_text()


@pytest.mark.parametrize("switch", sorted({field.name for field in fields(Levers)} - {"learning_rate"}))
def test_the_page_names_every_switch(switch: str) -> None:
    assert f"`{switch}=" in PAGE


def test_the_pages_trainer_is_msatrainer_with_one_lever_more() -> None:
    block = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    made: dict[str, Any] = {}
    exec(block.group(1), made)
    trainer = made["MSATrainerBurden"]
    assert issubclass(trainer, MSATrainer)
    changed = {
        field.name for field in fields(Levers) if getattr(trainer.levers, field.name) != getattr(MSATrainer.levers, field.name)
    }
    assert changed == {"burden_exponent"}
