"""`msa info`: versions, devices, and whether nnU-Net's own look-up finds MSATrainer; if not, why and what to type."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from msa_trainer.environment import EXTERNAL_TRAINERS, FOLDERS, TRAINER_FOLDER, usable_cores

PACKAGES = (
    "msa-trainer", "nnunetv2", "torch", "torchvision", "timm", "numpy", "scipy", "pandas", "scikit-image", "SimpleITK",
    "pydicom", "python-gdcm", "batchgenerators", "batchgeneratorsv2", "dynamic-network-architectures",
)  # fmt: skip
NNUNET_SERIES = "2.8"  # the hooks that MSATrainer overrides are those of this series
SET_VARIABLES = 'eval "$(msa env)"'
START_AGAIN = f"unset {EXTERNAL_TRAINERS}; {SET_VARIABLES}"
INSTALL_NNUNET = 'pip install "nnunetv2>=2.8,<2.9"'
MATCH_TORCH = 'pip install --force-reinstall "torch>=2.14" "torchvision>=0.29.1"'
OURS = "msa_trainer.trainer"
NOT_THERE = "Could not find requested nnunet trainer"  # nnU-Net's words when its look-up ran and found nothing
GIB = 2**30
SAYS = "msa-info "  # begins each line of the probe's that counts: modules it imports may print their own
# Run in a process of its own, without the current folder on the path, as nnUNetv2_train runs.
PROBE = f"""
import sys
sys.path[:] = [entry for entry in sys.path if entry]
import json, torch
devices = []
for index in range(torch.cuda.device_count()):
    card = torch.cuda.get_device_properties(index)
    devices.append(dict(kind="cuda", name=card.name, memory_gib=round(card.total_memory / {GIB}, 1)))
if torch.backends.mps.is_available():
    devices.append(dict(kind="mps", name="Apple GPU", memory_gib=None))
print("{SAYS}" + json.dumps(devices), flush=True)
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name as find
print("{SAYS}" + json.dumps(find("MSATrainer").__module__), flush=True)
"""


def collect(environment: Mapping[str, str]) -> dict[str, Any]:
    """All findings as one JSON-ready dictionary; nnU-Net's look-up is run for real.

    python, versions {package: version or null}; cpu_cores (usable), memory_gib; devices [{kind: cuda|mps, name, memory_gib}],
    null where torch does not import; variables {name: {value, exists}}; trainers; trainer_found; problems [{reason, remedy}]:
    what keeps training from starting and what to type; can_train: there are none.
    """
    probe = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROBE], env=dict(environment), capture_output=True, text=True, errors="replace"
    )
    said = [json.loads(line.removeprefix(SAYS)) for line in probe.stdout.splitlines() if line.startswith(SAYS)]
    module = said[1] if len(said) > 1 else None
    problems = [
        *_version_problems(),
        *([] if module == OURS else [diagnose(probe.stderr, module, environment, torch_imports=bool(said))]),
        *_folder_problems(environment),
    ]
    return {
        "python": sys.version.split()[0],
        "versions": {name: _version(name) for name in PACKAGES},
        "cpu_cores": usable_cores(),
        "memory_gib": _memory_gib(),
        "devices": said[0] if said else None,
        "variables": {name: _variable(environment.get(name)) for name in (*FOLDERS, EXTERNAL_TRAINERS)},
        "trainers": trainers_offered(),
        "trainer_found": module == OURS,
        "problems": [{"reason": reason, "remedy": remedy} for reason, remedy in dict.fromkeys(problems)],
        "can_train": not problems,
    }


def diagnose(error: str, module: str | None, environment: Mapping[str, str], torch_imports: bool = True) -> tuple[str, str]:
    """Why nnU-Net's look-up did not find our MSATrainer, and what to type.

    error: what the look-up wrote to stderr; module: where it found a class of this name, None where it found none;
    torch_imports: whether the look-up got as far as nnU-Net.
    """
    last = error.strip().splitlines()[-1] if error.strip() else "no message"
    if module is None:
        if last.startswith("ModuleNotFoundError"):
            for name, remedy in (("torch", MATCH_TORCH), ("nnunetv2", INSTALL_NNUNET), ("timm", "pip install timm")):
                if f"'{name}'" in last:
                    return f"{name} is not installed in this Python ({sys.executable}).", remedy
        if not torch_imports:
            return f"torch does not import: {last}", MATCH_TORCH
        if "recursive_find_trainer_class_by_name" in last and last.startswith("ImportError"):
            return f"nnunetv2 {_version('nnunetv2')} has no look-up for external trainers.", INSTALL_NNUNET
        if "torchvision" in error:
            return f"torchvision, which nnU-Net's look-up imports through timm, does not import: {last}", MATCH_TORCH
    entries = [entry for entry in environment.get(EXTERNAL_TRAINERS, "").split(os.pathsep) if entry]
    ran = module is not None or NOT_THERE in error
    if not entries and ran:
        return f"{EXTERNAL_TRAINERS} is not set in this shell.", SET_VARIABLES
    if any(_holds_the_package(entry) for entry in entries):
        return f"{EXTERNAL_TRAINERS} names {_judged(entries)}; expected {TRAINER_FOLDER}.", START_AGAIN
    if module is not None:
        return f"nnU-Net finds another class named MSATrainer first, in {module}.", f"Remove or rename it, then {SET_VARIABLES}"
    if ran and all(Path(entry).resolve() != TRAINER_FOLDER for entry in entries):
        return f"{EXTERNAL_TRAINERS} names {_judged(entries)}; expected {TRAINER_FOLDER}.", SET_VARIABLES
    if any(Path(entry).resolve() != TRAINER_FOLDER for entry in entries):
        return f"nnU-Net's look-up failed: {last}. It searched {_judged(entries)}.", START_AGAIN
    return f"nnU-Net's look-up failed: {last}", 'python -c "import msa_trainer.variants"  # shows the whole message'


def trainers_offered() -> list[str]:
    """The names that `-tr` takes, read from variants.py without importing it: torch may be what is broken."""
    for statement in ast.parse((TRAINER_FOLDER.parent / "variants.py").read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__":
            return list(ast.literal_eval(statement.value))
    return []


def as_json(found: dict[str, Any]) -> str:
    return json.dumps(found, indent=2)


def as_text(found: dict[str, Any]) -> str:
    """For a person: versions, devices, variables, and the verdict last."""
    memory = "" if found["memory_gib"] is None else f", {found['memory_gib']} GiB of memory"
    lines = [f"python {found['python']}, {found['cpu_cores']} CPU cores{memory}, {_devices(found['devices'])}"]
    lines += [f"  {name:<30} {version or 'not installed'}" for name, version in found["versions"].items()]
    for name, variable in found["variables"].items():
        state = "  (no such folder)" if name in FOLDERS and variable["value"] and not variable["exists"] else ""
        lines.append(f"  {name:<30} {variable['value'] or 'not set'}{state}")
    lines.append(f"trainers: {', '.join(found['trainers'])}")
    lines.append("nnU-Net finds MSATrainer." if found["trainer_found"] else "nnU-Net does not find MSATrainer.")
    lines += [f"problem: {problem['reason']}" for problem in found["problems"]]
    lines += [f"type: {remedy}" for remedy in dict.fromkeys(problem["remedy"] for problem in found["problems"])]
    return "\n".join(lines)


def _devices(devices: list[dict[str, Any]] | None) -> str:
    if devices is None:
        return "GPU unknown: torch does not import"
    named = [one["name"] + (f" ({one['memory_gib']} GiB)" if one["memory_gib"] else "") for one in devices]
    return ", ".join(named) or "no GPU"


def _version_problems() -> list[tuple[str, str]]:
    version = _version("nnunetv2")
    if version is None or version.startswith(f"{NNUNET_SERIES}."):
        return []
    return [(f"nnunetv2 {version} is installed; MSATrainer is made for {NNUNET_SERIES}.", INSTALL_NNUNET)]


def _folder_problems(environment: Mapping[str, str]) -> list[tuple[str, str]]:
    unset = [name for name in FOLDERS if not environment.get(name)]
    missing = [name for name in FOLDERS if environment.get(name) and not Path(environment[name]).is_dir()]
    problems = [(f"{', '.join(unset)}: not set in this shell.", SET_VARIABLES)] if unset else []
    return problems + [(f"{name} names {environment[name]}, which is no folder.", SET_VARIABLES) for name in missing]


def _variable(value: str | None) -> dict[str, Any]:
    return {"value": value, "exists": bool(value) and all(Path(entry).is_dir() for entry in str(value).split(os.pathsep))}


def _holds_the_package(entry: str) -> bool:
    """Whether nnU-Net's look-up would import the package's own files, or a whole repository, from this entry."""
    return Path(entry).is_dir() and TRAINER_FOLDER.parent.is_relative_to(Path(entry).resolve())


def _judged(entries: list[str]) -> str:
    """The folders that are named, each with what is wrong with it."""
    judged = []
    for entry in entries:
        folder = Path(entry).resolve()
        if entry.startswith("~"):
            judged.append(f"{entry} (nnU-Net does not expand ~)")
        elif not folder.is_dir():
            judged.append(f"{entry} (no such folder)")
        elif folder == TRAINER_FOLDER.parent:
            judged.append(f"{entry} (the package itself)")
        elif _holds_the_package(entry):
            judged.append(f"{entry} (a folder above the package)")
        else:
            judged.append(entry if folder == TRAINER_FOLDER else f"{entry} (not this package's)")
    return ", ".join(judged)


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1)
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
