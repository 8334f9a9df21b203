"""An alignment run read back from disk: its settings, measures and frames, also if it is not finished."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from larpo_ir.provenance.run_directory import RunDirectory


@dataclass(frozen=True)
class SavedRun:
    """A run's folder: `settings` and `environment` as recorded, `rows` and `intervals` of each measured policy.

    `intervals[S][measure]` has mean, low and high of π_S.
    """

    name: str
    path: Path
    settings: dict[str, Any]
    environment: dict[str, Any]
    rows: list[dict[str, Any]]
    intervals: list[dict[str, dict[str, Any]]]

    @property
    def directory(self) -> RunDirectory:
        """Paths of the run's files."""
        return RunDirectory(self.path)

    @property
    def last(self) -> int:
        """The last iteration that was measured."""
        return len(self.rows) - 1

    @property
    def title(self) -> str:
        task = self.settings.get("task")
        return f"{self.settings.get('objective')}, seed {self.settings.get('seed')}" + (
            f", {task}" if task else ""
        )

    @property
    def measures(self) -> list[str]:
        """Names of the measures that any of its policies has, in order."""
        return list(dict.fromkeys(name for row in self.intervals for name in row))

    def frame(self, iteration: int, name: str) -> pd.DataFrame | None:
        """The file `name.parquet` of an iteration, or None."""
        return self.directory.frame(iteration, name)

    def per_query(self, iteration: int) -> pd.DataFrame:
        """Every measure of π_S for every held-out prompt, indexed by qid."""
        frame = self.frame(iteration, "per_query")
        return pd.DataFrame() if frame is None else frame

    def held_out_queries(self) -> dict[str, str]:
        """Text of the held-out prompts by qid."""
        for name in ("held_out_greedy", "fixed_lists"):
            frame = self.frame(0, name)
            if frame is not None:
                return dict(zip(frame["qid"], frame["query"], strict=True))
        return {}

    def note(self) -> str | None:
        """A note if the run is not finished, otherwise None."""
        planned = self.settings.get("iterations")
        if not isinstance(planned, int) or planned <= self.last:
            return None
        return f"{self.name} is not finished: {self.last} of {planned} iterations so far"


def read_saved_runs(paths: Sequence[str | os.PathLike[str]]) -> list[SavedRun]:
    """The runs of several folders, each with a distinct name.

    Raises `ValueError` for a folder that is no run or is named twice.
    """
    resolved = [Path(path).resolve() for path in paths]
    for place, path in enumerate(resolved):
        if path in resolved[:place]:
            raise ValueError(f"{paths[place]} is named twice; give every run once")
    return [read_saved_run(path, name) for path, name in zip(paths, names_of(resolved), strict=True)]


def names_of(paths: Sequence[Path]) -> list[str]:
    """The shortest endings of paths that are all different.

    >>> names_of([Path("/runs/seed-0/dpo"), Path("/runs/seed-1/dpo")])
    ['seed-0/dpo', 'seed-1/dpo']
    """
    for length in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def read_saved_run(path: str | os.PathLike[str], name: str | None = None) -> SavedRun:
    """Read a run's folder. Raises `ValueError` if it holds no run or no measures yet, or a file is damaged."""
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"{path}: no such folder; give the folder of a run")
    run = RunDirectory(path)
    if not run.config.is_file():
        below = sorted(found.parent.relative_to(path) for found in path.glob("*/config.yaml"))
        below += sorted(found.parent.relative_to(path) for found in path.glob("*/*/config.yaml"))
        hint = f"; there are runs below it: {', '.join(map(str, below[:6]))}" if below else ""
        raise ValueError(f"{path}: no run (there is no config.yaml in it){hint}")
    settings = _read(run.config, yaml.safe_load)
    rows: list[dict[str, Any]] = []
    intervals: list[dict[str, dict[str, Any]]] = []
    while (measures := run.measures(len(rows))).is_file():
        content = _read(measures, json.loads)
        if not {"row", "intervals"} <= content.keys():
            raise ValueError(f"{measures}: damaged (it lacks row or intervals)")
        rows.append(content["row"])
        intervals.append(content["intervals"])
    if not rows:
        raise ValueError(f"{path}: nothing to report yet, the policy before alignment has not been measured")
    return SavedRun(
        name or path.resolve().name,
        path,
        settings,
        _read(run.environment, json.loads) if run.environment.is_file() else {},
        rows,
        intervals,
    )


def _read(path: Path, parse: Any) -> dict[str, Any]:
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: damaged ({str(error).splitlines()[0]})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: damaged (expected an object, found {type(content).__name__})")
    return content
