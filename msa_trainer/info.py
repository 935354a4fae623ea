"""`msa info`: versions, devices, and whether nnU-Net's own look-up finds MSATrainer; if not, why and what to type."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from msa_trainer.environment import EXTERNAL_TRAINERS, FOLDERS, TRAINER_FOLDER

PACKAGES = (
    "msa-trainer", "nnunetv2", "torch", "torchvision", "timm", "numpy", "scipy", "pandas", "scikit-image", "SimpleITK",
    "pydicom", "python-gdcm", "batchgenerators", "batchgeneratorsv2", "dynamic-network-architectures",
)  # fmt: skip
TRAINERS = (
    "MSATrainer", "MSATrainerNoAdversary", "MSATrainerFrozenDiscriminator", "MSATrainerStockNetwork", "MSATrainerPaper",
    "MSATrainerSegAN", "MSATrainer_50epochs", "MSATrainer_100epochs", "MSATrainer_250epochs", "MSATrainer_demo",
)  # fmt: skip
SET_VARIABLES = 'eval "$(msa env)"'
MATCH_TORCH = 'pip install --force-reinstall "torch>=2.14" "torchvision>=0.29.1"'
LOOK_UP = (
    "from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find; "
    "print('found', find('MSATrainer').__module__)"
)
DEVICES = (
    "import json, torch; print(json.dumps([torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]"
    " + (['mps'] if torch.backends.mps.is_available() else [])))"
)


def collect(environment: Mapping[str, str]) -> dict[str, Any]:
    """All findings as one JSON-ready dictionary; nnU-Net's look-up is run for real, in a process of its own."""
    found, reason, remedy = look_up(environment)
    devices = _python(DEVICES, environment)
    return {
        "python": sys.version.split()[0],
        "versions": {name: _version(name) for name in PACKAGES},
        "devices": json.loads(devices.stdout) if devices.returncode == 0 else [],
        "cpu_cores": os.cpu_count(),
        "variables": {
            name: {"value": environment.get(name), "exists": bool(environment.get(name)) and Path(environment[name]).is_dir()}
            for name in FOLDERS
        }
        | {EXTERNAL_TRAINERS: {"value": environment.get(EXTERNAL_TRAINERS), "expected": str(TRAINER_FOLDER)}},
        "trainers": list(TRAINERS),
        "trainer_found": found,
        "reason": reason,
        "remedy": remedy,
    }


def look_up(environment: Mapping[str, str]) -> tuple[bool, str | None, str | None]:
    """Whether the stock look-up finds MSATrainer, else the reason and what to type."""
    done = _python(LOOK_UP, environment)
    if done.returncode == 0 and done.stdout.strip().endswith("found msa_trainer.trainer"):
        return True, None, None
    if done.returncode == 0:
        module = done.stdout.split()[-1]
        return False, f"nnU-Net finds another class of this name, in {module}.", f"Remove the copy, then {SET_VARIABLES}"
    return False, *diagnose(done.stderr, environment)


def diagnose(error: str, environment: Mapping[str, str]) -> tuple[str, str]:
    """Reason and remedy for the error that nnU-Net's look-up ended with."""
    last = error.strip().splitlines()[-1] if error.strip() else "no message"
    if "nnunetv2" in last and "ModuleNotFoundError" in last:
        return "nnunetv2 is not installed in this Python.", 'pip install "nnunetv2>=2.8,<2.9"'
    if "recursive_find_trainer_class_by_name" in last:
        return f"nnunetv2 {_version('nnunetv2')} has no look-up for external trainers.", 'pip install "nnunetv2>=2.8,<2.9"'
    if "timm" in last and "ModuleNotFoundError" in last:
        return "timm, which nnU-Net's look-up imports, is missing.", "pip install timm"
    if "torchvision" in error:
        return f"torchvision, which nnU-Net's look-up imports through timm, does not import: {last}", MATCH_TORCH
    value = environment.get(EXTERNAL_TRAINERS)
    if not value:
        return f"{EXTERNAL_TRAINERS} is not set in this shell.", SET_VARIABLES
    entries = [entry for entry in value.split(os.pathsep) if entry]
    if all(Path(entry).resolve() != TRAINER_FOLDER for entry in entries):
        return (
            f"{EXTERNAL_TRAINERS} names {_judged(entries)}; expected {TRAINER_FOLDER}.",
            f"unset {EXTERNAL_TRAINERS}; {SET_VARIABLES}",
        )
    return (
        f"nnU-Net's look-up failed: {last}",
        "Mend what this message names; `python -c 'import msa_trainer.variants'` shows it whole.",
    )


def as_json(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2)


def as_text(found: dict[str, Any]) -> str:
    """For a person: versions, devices, variables, and the verdict last."""
    lines = [f"python {found['python']}, {found['cpu_cores']} CPU cores, {', '.join(found['devices']) or 'no GPU'}"]
    lines += [f"  {name:<30} {version or 'not installed'}" for name, version in found["versions"].items()]
    for name, variable in found["variables"].items():
        state = "" if name == EXTERNAL_TRAINERS or variable["exists"] else "  (no such folder)"
        lines.append(f"  {name:<30} {variable['value'] or 'not set'}{state if variable['value'] else ''}")
    lines.append(f"trainers: {', '.join(found['trainers'])}")
    if found["trainer_found"]:
        lines.append("nnU-Net finds MSATrainer.")
    else:
        lines += [f"nnU-Net does not find MSATrainer: {found['reason']}", f"type: {found['remedy']}"]
    return "\n".join(lines)


def _judged(entries: list[str]) -> str:
    """The folders that are named, each with what is wrong with it."""
    package = TRAINER_FOLDER.parent
    judged = []
    for entry in entries:
        folder = Path(entry)
        if entry.startswith("~"):
            judged.append(f"{entry} (nnU-Net does not expand ~)")
        elif not folder.is_dir():
            judged.append(f"{entry} (no such folder)")
        elif folder.resolve() == package:
            judged.append(f"{entry} (the package itself)")
        elif folder.resolve() == package.parent:
            judged.append(f"{entry} (the folder above the package)")
        else:
            judged.append(f"{entry} (not this package's)")
    return ", ".join(judged)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _python(code: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=dict(environment), capture_output=True, text=True)
