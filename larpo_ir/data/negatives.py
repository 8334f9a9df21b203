"""Hard-negative samplers: from one prompt's ranked candidates to a training list.

A sampler is called with one prompt's candidates (a results frame) and a random generator. It returns the rows to
learn from, best first, with all their columns, or None when there is nothing to learn: fewer than two distinct
responses, or all rewards equal. `score` is the relevance. These rules hold for all of them:

* rows without a finite score are dropped, and of rows with one `docno` the best stays;
* rewards tie all the time (right or wrong), so ties are broken at random by `rng`, also at a cut;
* no row occurs twice, however few there are;
* the rows may come in any order.

How hard the negatives are, easiest first: responses to unrelated prompts (`FromOtherPrompts()`), to related ones
(`FromOtherPrompts(related=True)`), worse responses to this prompt sampled hot (`Temperature(1.0)`), and sampled
cooler (`Temperature(0.7)`); Jin et al., *LLM Alignment as Retriever Optimization*, ICML 2025, arXiv:2502.03699.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from larpo_ir.data.lists import lists_from_rows
from larpo_ir.data.prompt_index import PromptIndex
from larpo_ir.data.prompts import texts_asked
from larpo_ir.data.results import require_columns
from larpo_ir.data.sampling import Choice, Chooser, Columns, Sampler, columns_of, ranking_of, rows_of

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)


SamplerLike = Sampler | Callable[[pd.DataFrame, np.random.Generator], "pd.DataFrame | None"]


def _at_least(value: int, least: int, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} is {value!r}; it must be a whole number of at least {least}")


def _finite(value: float, name: str) -> None:
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value!r}; it must be a finite number")


@dataclass(frozen=True)
class TopBottom(Chooser):
    """The `top` best and the `bottom` worst responses; all of them where there are no more than that.

    The paper's lists: `TopBottom(1, 3)` for the contrastive loss, `TopBottom(2, 2)` for LambdaRank and ListMLE.

    >>> group = pd.DataFrame({"qid": "q", "query": "2+2?", "docno": list("abcd"), "text": list("4567"),
    ...                       "score": [1.0, 0.7, 0.3, 0.0]})
    >>> TopBottom(1, 2)(group, np.random.default_rng(0))["docno"].tolist()
    ['a', 'c', 'd']
    """

    top: int = 2
    bottom: int = 2

    def __post_init__(self) -> None:
        _at_least(self.top, 1, "top")
        _at_least(self.bottom, 1, "bottom")

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        ranking = ranking_of(group, rng)
        if ranking.tied:
            return None
        rows = ranking.rows
        if len(rows) > self.top + self.bottom:
            rows = np.concatenate([rows[: self.top], rows[-self.bottom :]])
        return Choice(rows)


@dataclass(frozen=True)
class TopVersusRest(Chooser):
    """Every response, best first: the first against the rest under the contrastive loss."""

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        ranking = ranking_of(group, rng)
        return None if ranking.tied else Choice(ranking.rows)


@dataclass(frozen=True)
class BestWorst(Chooser):
    """The best and the worst response: a preference pair with the widest margin."""

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        ranking = ranking_of(group, rng)
        return None if ranking.tied else Choice(ranking.rows[[0, -1]])


@dataclass(frozen=True)
class RandomPair(Chooser):
    """A random correct and a random incorrect response (paper, SFT/DPO study).

    Args:
        threshold: responses that score at least this much are correct. None: those above the middle between
            the list's lowest and highest score, which for rewards of 0 and 1 is the same as 1.

    Nothing to learn where all are correct or all are incorrect.
    """

    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None:
            _finite(self.threshold, "threshold")

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        ranking = ranking_of(group, rng)
        if ranking.tied:
            return None
        best, worst = ranking.scores[0], ranking.scores[-1]
        if self.threshold is None:
            # The best is above the middle by definition; between two neighbouring floats rounding may say no.
            correct = (ranking.scores > worst + (best - worst) / 2) | (ranking.scores == best)
        else:
            correct = ranking.scores >= self.threshold
        if correct.all() or not correct.any():
            return None
        return Choice(np.array([rng.choice(ranking.rows[correct]), rng.choice(ranking.rows[~correct])]))


@dataclass(frozen=True)
class Temperature(Chooser):
    """The best response against worse ones that were sampled at one temperature.

    Cooler negatives are closer to the best response, so harder: the paper compares 1.0 and 0.7.

    Args:
        temperature: of the negatives; the best response may have any.
        negatives: at most so many, drawn at random; None takes all.

    Needs the column `temperature`. Nothing to learn where nothing worse was sampled at that temperature.
    """

    temperature: float
    negatives: int | None = None

    def __post_init__(self) -> None:
        _finite(self.temperature, "temperature")
        if self.negatives is not None:
            _at_least(self.negatives, 1, "negatives")

    @property
    def reads(self) -> tuple[str, ...]:
        return ("docno", "score", "temperature")

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        ranking = ranking_of(group, rng)
        if ranking.tied:
            return None
        # Ranked apart: a response drawn at two temperatures counts as drawn at this one.
        here = ranking_of(group, rng, among=np.isclose(group["temperature"], self.temperature))
        best = ranking.rows[0]
        worse = here.rows[
            (here.scores < ranking.scores[0]) & (group["docno"][here.rows] != group["docno"][best])
        ]
        if not len(worse):
            return None
        if self.negatives is not None and len(worse) > self.negatives:
            worse = worse[np.sort(rng.choice(len(worse), self.negatives, replace=False))]
        return Choice(np.append(best, worse))


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
    """What the group's candidates answer, as text."""
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
        _at_least(self.num_negatives, 1, "num_negatives")
        if self.threshold is not None:
            _finite(self.threshold, "threshold")

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
        ranking = ranking_of(group, rng)
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


@dataclass(frozen=True)
class WithoutFalseNegatives(Chooser):
    """Drop what may be as good as the best response, then let `inner` choose from the rest.

    Args:
        inner: the sampler that makes the list.
        margin: drop responses that score within this of the best; 0 drops those that tie with it.
        extract: reads the answer from a text (None: no answer), for example
            `larpo_ir.tasks.gsm8k.extract_answer`; drop responses with the best one's answer.

    Responses whose text is the best one's up to case and white space are dropped too. Where several tie for the
    best, one of them is drawn at random and stays.
    """

    inner: Sampler
    margin: float = 0.0
    extract: Callable[[str], str | None] | None = None

    def __post_init__(self) -> None:
        if not callable(self.inner):
            raise ValueError(f"inner is {self.inner!r}; it must be a sampler, such as TopBottom(1, 3)")
        _finite(self.margin, "margin")
        if self.margin < 0:
            raise ValueError(f"margin is {self.margin!r}; it must not be negative")

    def fit(self, candidates: pd.DataFrame) -> WithoutFalseNegatives:
        """Fit `inner`, where it has something to fit."""
        return dataclasses.replace(self, inner=_fitted(self.inner, candidates))

    def _may_be_right(self, texts: Iterable[str], best: str) -> np.ndarray:
        """Which of the texts say what the best one says."""
        answer = None if self.extract is None else self.extract(best)
        words, right = best.lower().split(), []
        for text in texts:
            same = text.lower().split() == words
            right.append(
                same or (self.extract is not None and answer is not None and self.extract(text) == answer)
            )
        return np.array(right, dtype=bool)

    def _keep(self, group: Columns, rng: np.random.Generator) -> np.ndarray:
        """The places of the rows that stay, the best first."""
        ranking = ranking_of(group, rng)
        if not len(ranking.rows):
            return ranking.rows
        texts = group["text"][ranking.rows]
        drop = (ranking.scores >= ranking.scores[0] - self.margin) | self._may_be_right(texts, texts[0])
        drop[0] = False
        return ranking.rows[~drop]

    @property
    def on_arrays(self) -> bool:
        return getattr(self.inner, "on_arrays", False)

    @property
    def reads(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(("docno", "score", "text", *getattr(self.inner, "reads", ()))))

    @property
    def fitted_to(self) -> pd.DataFrame | None:
        return getattr(self.inner, "fitted_to", None)

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        kept, inner = self._keep(group, rng), cast(Chooser, self.inner)
        choice = inner.choose({name: values[kept] for name, values in group.items()}, rng)
        if choice is None:
            return None
        rows, foreign = kept[choice.rows], choice.foreign
        if self.fitted_to is not None and len(foreign):
            texts = self.fitted_to["text"].take(foreign)
            foreign = foreign[~self._may_be_right(texts, group["text"][rows[0]])]
        return (
            dataclasses.replace(choice, rows=rows, foreign=foreign) if len(rows) + len(foreign) > 1 else None
        )

    def __call__(self, group: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame | None:
        if self.on_arrays:
            return super().__call__(group, rng)
        return self.inner(group.take(self._keep(columns_of(group, self.reads), rng)), rng)


SAMPLERS: dict[str, Callable[..., Sampler]] = {
    "top_bottom": TopBottom,
    "top_versus_rest": TopVersusRest,
    "best_worst": BestWorst,
    "random_pair": RandomPair,
    "temperature": Temperature,
    "from_other_prompts": FromOtherPrompts,
    "without_false_negatives": WithoutFalseNegatives,
}


def available_samplers() -> list[str]:
    """Names that `get_sampler` knows."""
    return list(SAMPLERS)


def get_sampler(name: str, **kwargs: Any) -> Sampler:
    """The sampler of that name with those arguments.

    >>> get_sampler("top_bottom", top=1, bottom=3)
    TopBottom(top=1, bottom=3)
    >>> get_sampler("bm25")
    Traceback (most recent call last):
    ...
    ValueError: unknown sampler 'bm25'; choose one of top_bottom, top_versus_rest, best_worst, random_pair,
    temperature, from_other_prompts, without_false_negatives
    """
    if name not in SAMPLERS:
        raise ValueError(f"unknown sampler {name!r}; choose one of {', '.join(SAMPLERS)}")
    sampler: Any = SAMPLERS[name]
    accepted = [item for item in dataclasses.fields(sampler) if item.init]
    wrong = [key for key in kwargs if key not in {item.name for item in accepted}]
    if wrong:
        names = ", ".join(item.name for item in accepted) or "none"
        raise ValueError(f"sampler {name} has no argument {', '.join(wrong)}; its arguments: {names}")
    lacking = [
        item.name for item in accepted if item.default is dataclasses.MISSING and item.name not in kwargs
    ]
    if lacking:
        raise ValueError(f"sampler {name} needs the argument {', '.join(lacking)}")
    return sampler(**kwargs)


def _fitted(sampler: Any, candidates: pd.DataFrame) -> Any:
    fit = getattr(sampler, "fit", None)
    return sampler if fit is None else fit(candidates)


def rng_of(seed: int, qid: str) -> np.random.Generator:
    """A random stream that belongs to a seed and a query, whatever other queries there are."""
    digest = hashlib.blake2b(qid.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])


def _sample(candidates: pd.DataFrame, sampler: SamplerLike, seed: int) -> tuple[pd.DataFrame, list[int]]:
    """The rows of all training lists, list after list, and how many rows each list has."""
    codes, qids = pd.factorize(candidates["qid"])
    candidates = candidates.take(np.argsort(codes, kind="stable"))
    sizes = np.bincount(codes, minlength=len(qids))
    groups = [
        (int(end - size), int(end), rng_of(seed, str(qid)))
        for end, size, qid in zip(np.cumsum(sizes), sizes, qids, strict=True)
    ]
    if isinstance(sampler, Chooser) and sampler.on_arrays:
        columns, choices = columns_of(candidates, sampler.reads), []
        for start, stop, rng in groups:
            choice = sampler.choose({name: values[start:stop] for name, values in columns.items()}, rng)
            if choice is not None:
                choices.append((start, choice))
        lengths = [len(choice.rows) + len(choice.foreign) for _, choice in choices]
        return rows_of(candidates, choices, sampler.fitted_to), lengths
    chosen = [sampler(candidates.iloc[start:stop], rng) for start, stop, rng in groups]
    frames = [frame for frame in chosen if frame is not None]
    return pd.concat([candidates.iloc[:0], *frames]), [len(frame) for frame in frames]


def sample_lists(
    candidates: pd.DataFrame,
    sampler: SamplerLike,
    seed: int = 0,
) -> Dataset:
    """Training lists of all prompts: a `datasets.Dataset` of ranked lists (see `larpo_ir.data.lists`).

    Args:
        candidates: a results frame, such as `CandidatePool.view()`.
        sampler: chooses from each prompt's candidates; a `Sampler`, or a function that is called like one. If it
            has `fit`, it is first fitted to all candidates.
        seed: not negative. Each prompt has its own random stream, of `seed` and its `qid`, so that a list depends
            neither on the other prompts nor on their order.

    Columns `id` (the qid), `prompt` (the candidates' `prompt`, where they have one, else `query`), `completions`,
    `scores`, `docnos`, and

    * `completion_ids`, if every chosen row has its `token_ids`;
    * `ref_logps`, if besides every chosen row has its `logprob` and all candidates come from one iteration and
      policy: log-probabilities of several policies, or of tokens unknown, are no reference, and left to be computed.

    A prompt with nothing to learn has no list; prompts minus `len(lists)` are how many those are (also logged).

    >>> group = pd.DataFrame({"qid": "q", "query": "2+2?", "docno": ["a", "b"], "text": ["5", "4"], "score": [0, 1]})
    >>> sample_lists(group, BestWorst())[0]
    {'id': 'q', 'prompt': '2+2?', 'completions': ['4', '5'], 'scores': [1.0, 0.0], 'docnos': ['b', 'a']}
    """
    require_columns(candidates, ["qid", "query", "docno", "text", "score"], "sample_lists")
    _at_least(seed, 0, "seed")
    rows, lengths = _sample(candidates, _fitted(sampler, candidates), seed)
    prompts = candidates["qid"].nunique()
    logger.debug("%d of %d prompts gave nothing to learn", prompts - len(lengths), prompts)
    origin = [column for column in ("iteration", "policy") if column in candidates.columns]
    one_policy = all(candidates[column].nunique(dropna=False) == 1 for column in origin)
    if not one_policy or "token_ids" not in rows.columns or rows["token_ids"].isna().any():
        rows = rows.drop(columns="logprob", errors="ignore")
    return lists_from_rows(rows, lengths)
