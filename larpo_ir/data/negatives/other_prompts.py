"""The sampler that takes negatives from the responses to other prompts."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from larpo_ir.data.negatives.arguments import at_least, finite
from larpo_ir.data.prompt_index import PromptIndex
from larpo_ir.data.prompts import texts_asked
from larpo_ir.data.results import require_columns
from larpo_ir.data.sampling import Choice, Chooser, Columns, Ranking


class _Responses:
    """The responses to all prompts, by prompt."""

    def __init__(self, candidates: pd.DataFrame, related: bool) -> None:
        codes, prompts = pd.factorize(np.array(texts_asked(candidates), dtype=object))
        order = np.argsort(codes, kind="stable")
        self.candidates = candidates
        self.prompts = PromptIndex(prompts, related)
        self.rows = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)  # of each prompt
        self.texts = candidates["text"].to_numpy()


def _text_of(group: Columns) -> str:
    """The prompt that the group's candidates answer, as text."""
    return texts_asked(
        pd.DataFrame({name: group[name][:1] for name in ("query", "prompt") if name in group})
    )[0]


@dataclass(frozen=True)
class FromOtherPrompts(Chooser):
    """The best response to this prompt against responses to other prompts: the easiest negatives.

    Args:
        related: take them from the prompts that BM25 (k1 = 0.9, b = 0.4, Porter stemming) finds most related,
            instead of from random ones.
        num_negatives: so many other prompts, and one random response to each.
        threshold: what the best response must score to be good enough. None: it must beat some other response
            to its prompt, so that wrong answers are not taught where all are wrong. With a threshold one
            response, such as a gold answer, is enough.

    `fit(candidates)` tells it the responses to all prompts; `sample_lists` calls it. A prompt with the same text
    is no other prompt, and a response that this prompt got too is not used. A negative's row is that of the other
    prompt, with this prompt's `qid` and `query` and the `docno` of the new pair; its `logprob` is null, because
    the one on record is given another prompt. It is ranked below everything that answers this prompt: its score
    is as far below the worst as that is below the best (-1 for rewards of 0 and 1; worst - 1 if all are equal).
    `rank` is that in the list.
    """

    related: bool = False
    num_negatives: int = 3
    threshold: float | None = None
    _others: _Responses | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        at_least(self.num_negatives, 1, "num_negatives")
        if self.threshold is not None:
            finite(self.threshold, "threshold")

    def fit(self, candidates: pd.DataFrame) -> FromOtherPrompts:
        """A sampler that draws from `candidates` (a results frame of all prompts)."""
        require_columns(candidates, ["query", "text"], "the sampler from_other_prompts")
        fitted = dataclasses.replace(self)
        object.__setattr__(fitted, "_others", _Responses(candidates, self.related))
        return fitted

    @property
    def reads(self) -> tuple[str, ...]:
        of_a_chat = self._others is not None and "prompt" in self._others.candidates
        return ("docno", "score", "query", "text", *(["prompt"] if of_a_chat else []))

    @property
    def fitted_to(self) -> pd.DataFrame | None:
        return None if self._others is None else self._others.candidates

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        others = self._others
        if others is None:
            raise ValueError("from_other_prompts knows no other prompts yet; call fit(candidates) first")
        ranking = Ranking.of(group, rng)
        if not len(ranking.rows) or (
            ranking.tied if self.threshold is None else ranking.scores[0] < self.threshold
        ):
            return None
        own = set(group["text"].tolist())
        negatives: dict[str, int] = {}
        for prompt in others.prompts.others(_text_of(group), self.num_negatives, rng):
            row = others.rows[prompt][rng.integers(len(others.rows[prompt]))]
            if others.texts[row] not in own:
                negatives.setdefault(others.texts[row], row)
        if not negatives:
            return None
        best, worst = ranking.scores[0], ranking.scores[-1]
        below = float(worst - ((best - worst) or 1.0))
        return Choice(ranking.rows[:1], np.array(list(negatives.values())), below)
