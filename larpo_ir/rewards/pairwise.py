"""Pairwise reward models: comparisons of two responses, aggregated to one score per response."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from larpo_ir.data.prompts import texts_asked
from larpo_ir.rewards.models import SequenceScorer
from larpo_ir.rewards.reranker import Reranker, describe

Pair = tuple[int, int]
_PRIOR = 0.01  # precision of the zero-mean normal prior on Bradley–Terry strengths (standard deviation 10)


def pair_template(prompt: str, first: str, second: str) -> str:
    """The default input of a pairwise classifier: prompt, then both responses."""
    return f"{prompt}\n\nResponse A:\n{first}\n\nResponse B:\n{second}"


def choose_pairs(size: int, share: float, rng: np.random.Generator) -> list[Pair]:
    """A share of the pairs among `size` items, at random, rounded up; every item is in at least one.

    The pairs of a random path through all items come first, alternate ones before the rest, so that few pairs reach
    everyone and `size − 1` pairs already connect everyone (what Bradley–Terry needs to put all on one scale).

    >>> len(choose_pairs(4, 1.0, np.random.default_rng(0))), len(choose_pairs(5, 0.1, np.random.default_rng(0)))
    (6, 3)
    """
    path = rng.permutation(size).tolist()
    steps = [(path[i], path[i + 1]) for i in range(size - 1)]
    reach_all = steps[::2] + ([steps[-1]] if size % 2 and size > 1 else [])
    rest = [(i, j) for i in range(size) for j in range(i + 1, size)]
    rng.shuffle(rest)
    ordered = dict.fromkeys((min(pair), max(pair)) for pair in [*reach_all, *steps, *rest])
    wanted = max(int(np.ceil(share * len(rest) - 1e-9)), len(reach_all))
    return list(ordered)[:wanted]


def wins(size: int, pairs: Sequence[Pair], probabilities: ArrayLike) -> NDArray[np.float64]:
    """Mean probability of winning over the comparisons an item took part in; NaN without any.

    >>> wins(3, [(0, 1), (0, 2), (1, 2)], [1.0, 1.0, 0.25]).tolist()
    [1.0, 0.125, 0.375]
    """
    won, played = np.zeros(size), np.zeros(size)
    for (i, j), probability in zip(pairs, np.asarray(probabilities, dtype=float), strict=True):
        won[[i, j]] += probability, 1 - probability
        played[[i, j]] += 1
    shares: NDArray[np.float64] = np.full(size, np.nan)
    np.divide(won, played, out=shares, where=played > 0)
    return shares


def bradley_terry(size: int, pairs: Sequence[Pair], probabilities: ArrayLike) -> NDArray[np.float64]:
    """Strengths s with P(i beats j) = σ(s_i − s_j) (Bradley and Terry 1952); NaN for items without a comparison.

    Newton's method on `Σ p log σ(s_i − s_j) + (1−p) log σ(s_j − s_i) − ½ · 0.01 · Σ s²`. The weak normal prior keeps
    an item that won everything finite and centres the strengths at 0.

    >>> bradley_terry(2, [(0, 1)], [0.5]).tolist(), bradley_terry(2, [(0, 1)], [1.0]).round(1).tolist()
    ([0.0, 0.0], [2.0, -2.0])
    """
    design = np.zeros((len(pairs), size))
    for row, (i, j) in enumerate(pairs):
        design[row, i], design[row, j] = 1, -1
    target = np.asarray(probabilities, dtype=float)

    def loss(strengths: NDArray[np.float64]) -> float:
        margin = design @ strengths
        surprise = target * np.logaddexp(0, -margin) + (1 - target) * np.logaddexp(0, margin)
        return float(surprise.sum() + _PRIOR / 2 * strengths @ strengths)

    strengths = np.zeros(size)
    for _ in range(100):
        chance = _probabilities(design @ strengths)
        gradient = design.T @ (chance - target) + _PRIOR * strengths
        if np.abs(gradient).max(initial=0) < 1e-9:
            break
        curvature = design.T @ ((chance * (1 - chance))[:, None] * design) + _PRIOR * np.eye(size)
        step = np.linalg.solve(curvature, gradient)
        while loss(strengths - step) > loss(strengths) and np.abs(step).max() > 1e-12:
            step /= 2
        strengths -= step
    compared = np.abs(design).sum(axis=0) > 0
    return np.where(compared, strengths, np.nan)


def _probabilities(log_odds: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import expit

    return np.asarray(expit(log_odds))


_AGGREGATES: dict[
    str, tuple[Callable[..., NDArray[np.float64]], float]
] = {  # and the score of a lone candidate
    "wins": (wins, 0.5),
    "bradley_terry": (bradley_terry, 0.0),
}


class PairwiseRewardModel(Reranker):
    """Listwise ranking from pairwise judgements: each query's responses are compared, and the results aggregated.

    Args:
        model: `(prompts, firsts, seconds) -> probabilities that the first is better` (sequences of one length), or a
            `transformers` sequence classifier with one label (object or path), whose logit is the log-odds. A
            prompt is the whole conversation as text (`larpo_ir.data.chats.as_text`).
        tokenizer: of the classifier; by default loaded beside it.
        comparisons: share of the m(m−1)/2 pairs that are compared, in (0, 1]. Below 1 they are drawn at random, with
            every response in at least one (`choose_pairs`).
        aggregate: "wins", the mean probability of winning (in [0, 1]), or "bradley_terry", centred log-strengths.
        both_orders: ask both (a, b) and (b, a) and average, so that it does not matter who stands first; otherwise
            one order, drawn at random.
        seed: of those draws. A query's draws depend on its qid alone, not on what else is in the frame.
        template: `(prompt, first, second) -> str`, the classifier's input.
        batch_size, max_length, device: of the classifier, see `SequenceScorer`.

    Equal responses are one candidate. A lone candidate scores 0.5 ("wins") or 0 ("bradley_terry"). A comparison that
    comes out as NaN is left out; a response left without any has no score.

    Raises:
        ValueError: `comparisons` outside (0, 1], unknown `aggregate`, as many probabilities as pairs expected, or one
            outside [0, 1].

    >>> longer = lambda queries, firsts, seconds: [float(len(a) > len(b)) for a, b in zip(firsts, seconds)]
    >>> results = pd.DataFrame({"qid": "q", "query": "why?", "docno": list("abc"), "text": ["so", "because", "hm!"]})
    >>> PairwiseRewardModel(longer)(results)[["text", "score"]]
          text  score
    0  because    1.0
    1      hm!    0.5
    2       so    0.0
    """

    INDIFFERENT: ClassVar = Reranker.INDIFFERENT | {"_judge"}

    def __init__(
        self,
        model: Any,
        tokenizer: Any = None,
        *,
        comparisons: float = 1.0,
        aggregate: str = "wins",
        both_orders: bool = True,
        seed: int = 0,
        template: Callable[[str, str, str], str] = pair_template,
        batch_size: int = 16,
        max_length: int | None = None,
        device: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name or f"PairwiseRewardModel({describe(model)})")
        if not 0 < comparisons <= 1:
            raise ValueError(f"comparisons is a share of the pairs, above 0 and at most 1; got {comparisons}")
        if aggregate not in _AGGREGATES:
            raise ValueError(f"unknown aggregate {aggregate!r}; choose one of {', '.join(_AGGREGATES)}")
        self.model, self.tokenizer = model, tokenizer
        self.comparisons, self.aggregate, self.both_orders = comparisons, aggregate, both_orders
        self.seed, self.template = seed, template
        self.batch_size, self.max_length, self.device = batch_size, max_length, device
        if isinstance(model, str | os.PathLike) or hasattr(model, "parameters"):
            scorer = SequenceScorer(
                model, tokenizer, batch_size=batch_size, max_length=max_length, device=device, who=self.name
            )
            self.model, self.tokenizer = scorer.model, scorer.tokenizer
            self._judge: Callable[..., Any] = lambda *columns: _probabilities(
                scorer([template(*row) for row in zip(*columns, strict=True)])
            )
        elif callable(model):
            self._judge = model
        else:
            raise ValueError(f"PairwiseRewardModel needs a function, a classifier or a path, got {model!r}")

    def score(self, results: pd.DataFrame) -> NDArray[np.float64]:
        """Aggregate of each row's comparisons within its query."""
        groups = []
        for qid, rows in results.groupby("qid", sort=False):
            texts = list(dict.fromkeys(rows["text"]))
            rng = np.random.default_rng([self.seed, zlib.crc32(str(qid).encode())])
            pairs = choose_pairs(len(texts), self.comparisons, rng)
            (prompt,) = texts_asked(rows.iloc[:1])
            groups.append((qid, prompt, texts, pairs, rng.random(len(pairs)) < 0.5))

        pairings = [(prompt, texts[i], texts[j]) for _, prompt, texts, pairs, _ in groups for i, j in pairs]
        swapped = [(prompt, second, first) for prompt, first, second in pairings]
        if self.both_orders:
            forward, backward = np.split(self._ask(pairings + swapped), 2)
            probabilities = (forward + 1 - backward) / 2
        else:
            swap = np.concatenate([draws for *_, draws in groups])
            answers = self._ask(
                [two if s else one for one, two, s in zip(pairings, swapped, swap, strict=True)]
            )
            probabilities = np.where(swap, 1 - answers, answers)

        scores: dict[tuple[Any, str], float] = {}
        aggregate, alone = _AGGREGATES[self.aggregate]
        ends = np.cumsum([len(pairs) for *_, pairs, _ in groups])
        for (qid, _, texts, pairs, _), p in zip(groups, np.split(probabilities, ends[:-1]), strict=True):
            known = np.flatnonzero(~np.isnan(p))
            values = aggregate(len(texts), [pairs[k] for k in known], p[known]) if len(texts) > 1 else [alone]
            scores |= zip(((qid, text) for text in texts), values, strict=True)
        return np.array([scores[row] for row in zip(results["qid"], results["text"], strict=True)])

    def _ask(self, asked: list[tuple[str, str, str]]) -> NDArray[np.float64]:
        if not asked:
            return np.empty(0)
        probabilities = np.asarray(
            self._judge(*(list(column) for column in zip(*asked, strict=True))), dtype=float
        )
        if probabilities.shape != (len(asked),):
            raise ValueError(
                f"{self.name} was asked {len(asked)} comparisons and gave an answer of shape"
                f" {probabilities.shape}"
            )
        if (probabilities < 0).any() or (probabilities > 1).any():
            raise ValueError(
                f"{self.name} gave a probability outside [0, 1]; turn logits into probabilities first"
            )
        return probabilities
