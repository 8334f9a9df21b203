"""What a run or a command leaves on disk, and the check that it was made from the same things.

`docs/design.md` lists what lies in the directory of a run under *A run on disk*. What it was made from, in words of
`larpo_ir.provenance.identity`, is its `config.yaml`; a single file of results has the same beside it, as `FILE.config.yaml`.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from larpo_ir.data.digests import as_written, difference
from larpo_ir.data.files import write_atomically
from larpo_ir.models.distributed import is_main_process, wait_for_everyone
from larpo_ir.provenance.outputs import environment, read_config

if TYPE_CHECKING:
    from datasets import Dataset


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
            settings: everything that its results depend on, see `larpo_ir.provenance.identity`; only the main process's count.
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
