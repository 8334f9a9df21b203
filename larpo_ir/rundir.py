"""What a run or a command leaves on disk, and the check that it was made from the same things.

`docs/design.md` lists what lies in the directory of a run under *A run on disk*. What it was made from, in words of
`larpo_ir.identity`, is its `config.yaml`; a single file of results has the same beside it, as `FILE.config.yaml`.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from collections.abc import Collection, Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from larpo_ir.distributed import is_main_process, wait_for_everyone
from larpo_ir.identity import as_written, difference
from larpo_ir.results import write_atomically

if TYPE_CHECKING:
    from datasets import Dataset

PACKAGES = ("larpo_ir", "torch", "transformers", "trl", "datasets", "pyterrier", "ir-measures", "peft")


class RunDirectory:
    """A directory that one run fills, by its main process. `claim` refuses one in which something else lies."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def iteration(self, number: int) -> Path:
        return self.path / f"iteration-{number:02d}"

    def claim(self, settings: Mapping[str, Any], free: Collection[str], beside: Collection[str] = ()) -> None:
        """Record what this run is made from, as config.yaml and environment.json.

        Args:
            settings: everything that its results depend on, see `larpo_ir.identity`; only the main process's count.
            free: names of settings that may change when the run goes on.
            beside: names that may lie in the directory before there is a run in it.

        Raises `ValueError`, in one line that names the first difference, when the directory holds a run that is made
        from something else, or anything else. Nothing is written then.
        """
        if is_main_process():
            self._claim(as_written(settings), free, beside)
        wait_for_everyone()

    def _claim(self, settings: dict[str, Any], free: Collection[str], beside: Collection[str]) -> None:
        path = self / "config.yaml"
        if path.exists():
            found = difference(read_config(path), settings, free)
            if found is not None:
                raise ValueError(
                    f"{self.path} holds a different run: {found}; choose another folder for the output or"
                    " delete that one"
                )
        elif self.path.exists() and not {entry.name for entry in self.path.iterdir()} <= set(beside):
            raise ValueError(
                f"{self.path} is not empty and holds no run; choose another folder for the output"
            )
        write_atomically(path, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
        write_atomically(self / "environment.json", json.dumps(environment(), indent=2) + "\n")

    def take_over(self, other: Path, free: Collection[str]) -> None:
        """Copy iteration 0 of a run that differs only in the settings named in `free`, unless there is one.

        Raises `ValueError` when another setting differs.
        """
        if is_main_process() and not self.iteration(0).exists():
            self._copy_start_of(other, free)
        wait_for_everyone()

    def _copy_start_of(self, other: Path, free: Collection[str]) -> None:
        found = difference(read_config(other / "config.yaml"), read_config(self / "config.yaml"), free)
        if found is not None:
            raise ValueError(f"cannot start from {other}: {found}")
        what_follows = shutil.ignore_patterns("lists", "checkpoint-*")
        shutil.copytree(other / "iteration-00", self.iteration(0), ignore=what_follows)

    def policies(self) -> list[str]:
        """Hashes of the weights of the policies that were saved and measured here."""
        saved = [json.loads(path.read_text()) for path in sorted(self.path.glob("iteration-*/measures.json"))]
        return [measured["policy"] for measured in saved if "policy" in measured]

    def log(self, **entry: Any) -> None:
        """Append a line to log.jsonl."""
        if not is_main_process():
            return
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%S"), **entry}, default=str)
        with open(self / "log.jsonl", "a", encoding="utf-8") as handle:
            handle.write(line + "\n")

    def lists(self, iteration: int) -> Dataset:
        """The training lists from which the policy after `iteration` was made."""
        from datasets import load_from_disk

        return load_from_disk(str(self.iteration(iteration) / "lists"))


def read_config(path: Path) -> dict[str, Any]:
    """What a config.yaml says; `ValueError` where it is none."""
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
    """Whether a command's output is there and was made from these settings (`FILE.config.yaml` says what it was).

    `free`: names of settings that are recorded and not compared.

    Raises `ValueError` where something else is there: nothing is written over.
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
    """`made_already`, for commands: it is said where there is nothing to do."""
    there = made_already(path, settings, free)
    if there:
        print(f"{path} is there already, made from the same: nothing to do; delete it to make it again")
    return there


def record_made(path: str | os.PathLike[str], settings: Mapping[str, Any]) -> None:
    """Write beside an output what it was made from."""
    text = yaml.safe_dump(as_written(settings), sort_keys=False, allow_unicode=True)
    write_atomically(config_beside(path), text)


def config_beside(path: str | os.PathLike[str]) -> Path:
    """Where the record of a single file's origin lies."""
    path = Path(path)
    return path.with_name(f"{path.name}.config.yaml")


def load_policy(model: Any, path: str | os.PathLike[str]) -> None:
    """Load the weights of a saved policy (or of its adapter) into a model of the same architecture."""
    if hasattr(model, "peft_config"):
        from peft import load_peft_weights, set_peft_model_state_dict

        set_peft_model_state_dict(model, load_peft_weights(str(path)))
        return
    from transformers import AutoModelForCausalLM

    model.load_state_dict(AutoModelForCausalLM.from_pretrained(path, dtype=model.dtype).state_dict())


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
