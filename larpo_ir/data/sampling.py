"""The machinery under the hard-negative samplers of `larpo_ir.data.negatives`.

A sampler sees one prompt's candidates as arrays and chooses places of rows (`Chooser.choose`). `rows_of` then takes
the rows of all lists from the frame at once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from larpo_ir.data.results import docno_of, require_columns

Columns = Mapping[str, np.ndarray]  # one prompt's candidates, as an array per column
NO_ROWS = np.array([], dtype=np.int64)


@dataclass(frozen=True)
class Choice:
    """A training list: places of rows in the group, best first, then in the frame the sampler was fitted to."""

    rows: np.ndarray
    foreign: np.ndarray = field(default_factory=lambda: NO_ROWS)
    foreign_score: float = math.nan

    def __len__(self) -> int:
        return len(self.rows) + len(self.foreign)


class Sampler(ABC):
    """Selects a training list from one prompt's candidates.

    It may also have `fit(candidates) -> Sampler`, called with the candidates of all prompts before the first list
    is made. (A base class, not a protocol, so that configuration files can name a subclass.)
    """

    @abstractmethod
    def __call__(self, group: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame | None:
        """The rows of `group` to learn from, best first, or None where there is nothing to learn."""


def fitted(sampler: Any, candidates: pd.DataFrame) -> Any:
    """The sampler fitted to the candidates of all prompts, or itself where it has nothing to fit."""
    fit = getattr(sampler, "fit", None)
    return sampler if fit is None else fit(candidates)


class Chooser(Sampler):
    """A sampler that decides which rows make the list from the arrays of a few columns.

    `sample_lists` asks all prompts for their choice and then takes the rows of all lists at once: making a data
    frame per prompt would cost far more than the decision.
    """

    @property
    def on_arrays(self) -> bool:
        """True where `choose` makes the list.

        False for a sampler that wraps another one which takes data frames: such a sampler must be called.
        """
        return True

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that `choose` looks at."""
        return ("docno", "score")

    @property
    def fitted_to(self) -> pd.DataFrame | None:
        """The frame that `Choice.foreign` counts rows of; None for samplers that choose from the group alone."""
        return None

    @abstractmethod
    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        """The list for one prompt, or None where there is nothing to learn."""

    def __call__(self, group: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame | None:
        choice = self.choose(columns_of(group, self.reads), rng)
        return None if choice is None else rows_of(group, [(0, choice)], self.fitted_to)


def rows_of(
    candidates: pd.DataFrame, choices: list[tuple[int, Choice]], fitted_to: pd.DataFrame | None
) -> pd.DataFrame:
    """The rows of training lists, list after list; each choice comes with the place where its group starts."""
    own = candidates.take(np.concatenate([NO_ROWS, *(start + choice.rows for start, choice in choices)]))
    if fitted_to is None:
        return own
    counts = [len(choice.foreign) for _, choice in choices]
    prompts = candidates.take(np.repeat([start for start, _ in choices], counts).astype(np.int64))
    foreign = fitted_to.take(np.concatenate([NO_ROWS, *(choice.foreign for _, choice in choices)]))
    replaced = {
        "qid": prompts["qid"].array,
        **{name: prompts[name].array for name in ("query", "prompt") if name in prompts},
        "docno": [
            docno_of(query, text) for query, text in zip(prompts["query"], foreign["text"], strict=True)
        ],
        "score": np.repeat([choice.foreign_score for _, choice in choices], counts),
        "logprob": math.nan,
    }
    foreign = foreign.assign(**{name: values for name, values in replaced.items() if name in own.columns})
    lists = np.arange(len(choices))
    of_list = np.concatenate(
        [np.repeat(lists, [len(choice.rows) for _, choice in choices]), np.repeat(lists, counts)]
    )
    order = np.argsort(of_list, kind="stable")
    together = pd.concat([own, foreign.reindex(columns=own.columns)], ignore_index=True).take(order)
    if "rank" in together.columns:
        together["rank"] = together.groupby(of_list[order]).cumcount()
    return together


def columns_of(frame: pd.DataFrame, names: Sequence[str]) -> dict[str, np.ndarray]:
    """The named columns of a results frame as arrays; a missing number is NaN."""
    require_columns(frame, names, "the sampler")
    numeric = ("score", "temperature")
    return {
        name: frame[name].to_numpy(float, na_value=math.nan) if name in numeric else frame[name].to_numpy()
        for name in names
    }


@dataclass(frozen=True)
class Ranking:
    """Distinct judged rows of a group: their places, best first, ties in random order, and their scores."""

    rows: np.ndarray
    scores: np.ndarray

    @classmethod
    def of(cls, group: Columns, rng: np.random.Generator, among: np.ndarray | None = None) -> Ranking:
        """Rank the rows of a group, or those `among` them (a boolean per row)."""
        judged = np.isfinite(group["score"])
        rows = rng.permutation(np.flatnonzero(judged if among is None else judged & among))
        rows = rows[np.argsort(-group["score"][rows], kind="stable")]
        first: dict[str, int] = {}
        for row, docno in zip(rows.tolist(), group["docno"][rows].tolist(), strict=True):
            first.setdefault(docno, row)
        if len(first) < len(rows):
            rows = np.array(list(first.values()))
        return cls(rows, group["score"][rows])

    @property
    def tied(self) -> bool:
        """True where there is nothing to learn: no two rows differ in score."""
        return len(self.rows) < 2 or bool(self.scores[0] == self.scores[-1])
