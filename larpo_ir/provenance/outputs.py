"""Records of an output's settings and inputs: `config.yaml` in a folder, `FILE.config.yaml` beside a single file."""

from __future__ import annotations

import os
import platform
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from larpo_ir.data.digests import as_written, difference
from larpo_ir.data.files import write_atomically

PACKAGES = ("larpo_ir", "torch", "transformers", "trl", "datasets", "pyterrier", "ir-measures", "peft")


def read_config(path: Path) -> dict[str, Any]:
    """Settings in a config.yaml; `ValueError` if the file holds none."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML ({str(error).splitlines()[0]})") from None
    if not isinstance(settings, dict):
        raise ValueError(
            f"{path}: no settings of a run in it; delete it or choose another folder for the output"
        )
    return settings


def made_already(
    path: str | os.PathLike[str], settings: Mapping[str, Any], free: Collection[str] = ()
) -> bool:
    """True if a command's output exists and was made from these settings, which `FILE.config.yaml` records.

    `free`: names of settings that are recorded and not compared.

    Raises `ValueError` if another output exists, so that no output is overwritten.
    """
    path, record = Path(path), config_beside(path)
    if not path.exists():
        return False
    if not record.exists():
        raise ValueError(
            f"{path} is there, and no {record.name} says what it was made from; choose another output"
        )
    found = difference(read_config(record), as_written(settings), free)
    if found is not None:
        raise ValueError(f"{path} was made from something else: {found}; choose another output or delete it")
    return True


def is_made(path: str | os.PathLike[str], settings: Mapping[str, Any], free: Collection[str] = ()) -> bool:
    """`made_already` for commands: prints a line if there is nothing to do."""
    there = made_already(path, settings, free)
    if there:
        print(f"{path} is there already, made from the same: nothing to do; delete it to make it again")
    return there


def record_made(path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
    """Write the record of an output's settings beside it."""
    text = yaml.safe_dump(as_written(settings), sort_keys=False, allow_unicode=True)
    write_atomically(config_beside(path), text)


def config_beside(path: str | os.PathLike[str]) -> Path:
    """Path of the record beside a single file."""
    path = Path(path)
    return path.with_name(f"{path.name}.config.yaml")


def environment() -> dict[str, Any]:
    """Versions and hardware that a result may depend on."""
    import torch

    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "cpu_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
    }
