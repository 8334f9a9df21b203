"""A folder that one run, evaluation or study fills, and the check that it was made from the same things.

`config.yaml` in it says what it is made from, in the words of `larpo_ir.provenance.identity`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from larpo_ir.data.digests import as_written, difference
from larpo_ir.data.files import write_atomically
from larpo_ir.models.distributed import is_main_process, wait_for_everyone
from larpo_ir.provenance.outputs import environment, read_config


class OutputFolder:
    """A folder that the main process fills. `claim` refuses one in which something else lies."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def config(self) -> Path:
        """The record of what the folder is made from."""
        return self / "config.yaml"

    @property
    def environment(self) -> Path:
        """The record of versions and hardware."""
        return self / "environment.json"

    def claim(self, settings: Mapping[str, Any], free: Collection[str], beside: Collection[str] = ()) -> None:
        """Record what this folder is made from, as config.yaml and environment.json.

        Args:
            settings: everything that the results depend on, see `larpo_ir.provenance.identity`; the main process's
                settings count, those of other processes do not.
            free: names of settings that may change when the work goes on.
            beside: names that may lie in the folder before it is claimed.

        Raises `ValueError`, in one line that names the first difference, when the folder holds a run that is made
        from something else, or anything else. Nothing is written then.
        """
        if is_main_process():
            self._claim(as_written(settings), free, beside)
        wait_for_everyone()

    def _claim(self, settings: dict[str, Any], free: Collection[str], beside: Collection[str]) -> None:
        if self.config.exists():
            found = difference(read_config(self.config), settings, free)
            if found is not None:
                raise ValueError(
                    f"{self.path} holds a different run: {found}; choose another folder for the output or"
                    " delete that one"
                )
        elif self.path.exists() and not {entry.name for entry in self.path.iterdir()} <= set(beside):
            raise ValueError(
                f"{self.path} is not empty and holds no run; choose another folder for the output"
            )
        write_atomically(self.config, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
        write_atomically(self.environment, json.dumps(environment(), indent=2) + "\n")
