"""Paths of the files in the folder of an alignment run. `docs/design.md` lists them (*A run on disk*)."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from larpo_ir.data.digests import difference
from larpo_ir.models.distributed import is_main_process, wait_for_everyone
from larpo_ir.provenance.output_folder import OutputFolder
from larpo_ir.provenance.outputs import read_config

if TYPE_CHECKING:
    from datasets import Dataset

# Columns of the fixed lists that are saved for every policy; only iteration 0 has the others.
CHANGING = ["qid", "docno", "now", "implicit"]
NOT_TAKEN_OVER = shutil.ignore_patterns("lists", "checkpoint-*")


class RunDirectory(OutputFolder):
    """The folder of an alignment run. The files of iteration S are in its folder `iteration-SS`.

    Every path of a run comes from here. Methods named after a file return its path, even if it does not exist;
    `frame`, `fixed_lists` and `lists` read files.
    """

    @property
    def summary(self) -> Path:
        """One row of measures per iteration."""
        return self / "summary.json"

    @property
    def qrels(self) -> Path:
        """Rewards of all candidates as grades."""
        return self / "qrels.trec"

    @property
    def num_iterations(self) -> int:
        """Number of iterations that have a folder, the policy before alignment counted."""
        return sum(1 for path in self.path.glob("iteration-??") if path.is_dir())

    def iteration(self, number: int) -> Path:
        """The folder of π_S and of the candidates that were sampled from it."""
        return self / self.name_of(number)

    @staticmethod
    def name_of(number: int) -> str:
        """The name of an iteration's folder, which is also the name of its policy in pools and TREC runs."""
        return f"iteration-{number:02d}"

    def policy(self, iteration: int) -> Path:
        """Weights and tokenizer of π_S."""
        return self.iteration(iteration) / "policy"

    def pool(self, iteration: int) -> Path:
        """Candidates that were sampled from π_S, with their rewards."""
        return self.frame_file(iteration, "pool")

    def trec_run(self, iteration: int) -> Path:
        """The same candidates as a TREC run."""
        return self.iteration(iteration) / "run.trec"

    def lists_folder(self, iteration: int) -> Path:
        """The training lists from which the policy after `iteration` is made."""
        return self.iteration(iteration) / "lists"

    def measures(self, iteration: int) -> Path:
        """The row of the summary, and its intervals. An iteration that has this file is complete."""
        return self.iteration(iteration) / "measures.json"

    def frame_file(self, iteration: int, name: str) -> Path:
        """The file of a frame: `pool`, `per_query`, `held_out_greedy`, `held_out_samples`, `fixed_lists`."""
        return self.iteration(iteration) / f"{name}.parquet"

    def frame(self, iteration: int, name: str) -> pd.DataFrame | None:
        """The frame in `frame_file`, None if there is none. Raises `ValueError` if the file is damaged."""
        import pyarrow as pa

        path = self.frame_file(iteration, name)
        if not path.exists():
            return None
        try:
            return pd.read_parquet(path)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path}: damaged or not Parquet ({str(error).splitlines()[0]})") from None

    def fixed_lists(self, iteration: int) -> pd.DataFrame | None:
        """Fixed held-out lists with `now` and `implicit` of an iteration's policy; None if they were not saved."""
        first, mine = (self.frame(number, "fixed_lists") for number in (0, iteration))
        if iteration == 0 or first is None or mine is None:
            return first if iteration == 0 else None
        return first.drop(columns=CHANGING[2:]).merge(mine[CHANGING], on=CHANGING[:2])

    def lists(self, iteration: int) -> Dataset:
        """The training lists from which the policy after `iteration` was made."""
        from datasets import load_from_disk

        lists: Dataset = load_from_disk(str(self.lists_folder(iteration)))
        return lists

    def saved_policies(self) -> list[str]:
        """Hashes of the weights of the policies that were saved and measured here."""
        saved = [json.loads(path.read_text()) for path in sorted(self.path.glob("iteration-*/measures.json"))]
        return [measured["policy"] for measured in saved if "policy" in measured]

    def take_over(self, other: Path, free: Collection[str]) -> None:
        """Copy iteration 0 of a run that differs only in the settings named in `free`, unless this run has one.

        Raises `ValueError` when another setting differs.
        """
        if is_main_process() and not self.iteration(0).exists():
            self._copy_start_of(RunDirectory(other), free)
        wait_for_everyone()

    def _copy_start_of(self, other: RunDirectory, free: Collection[str]) -> None:
        found = difference(read_config(other.config), read_config(self.config), free)
        if found is not None:
            raise ValueError(f"cannot start from {other.path}: {found}")
        shutil.copytree(other.iteration(0), self.iteration(0), ignore=NOT_TAKEN_OVER)

    def log(self, **entry: Any) -> None:
        """Append a line to log.jsonl."""
        if not is_main_process():
            return
        line = json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%S"), **entry}, default=str)
        with open(self / "log.jsonl", "a", encoding="utf-8") as handle:
            handle.write(line + "\n")
