"""The folder of one run, evaluation or study, and the check that it belongs to these settings.

Its `config.yaml` records the settings and inputs, as `larpo_ir.provenance.identity` describes them.
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
    """A folder that the main process fills. `claim` refuses a folder that holds something else."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def config(self) -> Path:
        """The record of the folder's settings and inputs."""
        return self / "config.yaml"

    @property
    def environment(self) -> Path:
        """The record of versions and hardware."""
        return self / "environment.json"

    def claim(self, settings: Mapping[str, Any], free: Collection[str], beside: Collection[str] = ()) -> None:
        """Record the settings of this folder in config.yaml, and versions and hardware in environment.json.

        Args:
            settings: everything that the results depend on, see `larpo_ir.provenance.identity`; only the main
                process's settings count.
            free: names of settings that may change when the work is resumed.
            beside: names that may lie in the folder before it is claimed.

        Raises a one-line `ValueError`, and writes nothing, if the folder holds a run with other settings (the line
        names the first difference) or anything else.
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
