"""Diagnostics of an aligned policy: its ranking of responses, fallen likelihood of good responses, lost diversity.

Every function takes a frame of candidates and returns values per prompt. `larpo_ir.evaluation.significance.summarise`
turns these into means with 95 % intervals over prompts, and `diagnose` does so for every iteration of a run. Nothing
here loads a model: log-probabilities are columns (nats, summed over a response's tokens, at temperature 1).

A frame holds the pool (`score logprob num_tokens temperature count`), held-out samples (the same columns, a row per
draw), or fixed lists (`score`, `now`: log π, `initial`: log π_0, `implicit`: their difference). Rows that lack a
needed value are left out. A prompt on which a diagnostic is not defined has the value NaN.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from larpo_ir.data.results import require_columns
from larpo_ir.evaluation.measures import kendall_tau
from larpo_ir.evaluation.significance import summarise
from larpo_ir.provenance.run_directory import RunDirectory

SAMPLING_TEMPERATURE = 1.0  # here `logprob` belongs to the distribution that was sampled


def ranking_accuracy(lists: pd.DataFrame, by: str = "now") -> pd.Series[Any]:
    """Share of pairs of responses with different rewards that a column orders as the rewards do, per prompt.

    `mean over pairs with r_i > r_j of [s_i > s_j] + ½ [s_i = s_j]`: a constant column scores ½. Pairs are counted
    inside a list, so that a mean over prompts weighs every list the same. NaN for a list whose rewards are all equal.

    >>> lists = pd.DataFrame({"qid": "q", "score": [1.0, 0.5, 0.5], "now": [-2.0, -3.0, -1.0]})
    >>> ranking_accuracy(lists).to_dict()
    {'q': 0.5}
    """
    require_columns(lists, ["qid", "score", by], "ranking accuracy")

    def share(group: NDArray[np.float64]) -> float:
        i, j = np.triu_indices(len(group), 1)
        rewards, scores = np.sign(group[i] - group[j]).T
        differ = rewards != 0
        return float((1 + rewards * scores)[differ].mean() / 2) if differ.any() else np.nan

    return _per_prompt(lists, ["score", by], share).rename(f"ranking_accuracy({by})")


def displacement(lists: pd.DataFrame) -> pd.DataFrame:
    """Likelihood displacement: change of log π(y|x) of the best and of the worst response since iteration 0.

    `best_change = log π(y_best|x) − log π_0(y_best|x)` in nats, and likewise `worst_change`; each is the mean over
    responses tied in reward. `best_fell` is 1 where `best_change < 0`, else 0. An objective that only widens the
    margin may lower both (Razin et al. 2024). A list whose rewards are all equal has neither best nor worst: NaN.

    >>> lists = pd.DataFrame({"qid": "q", "score": [1, 0], "now": [-3.0, -9.0], "initial": [-2.0, -4.0]})
    >>> displacement(lists).loc["q"].to_dict()
    {'best_change': -1.0, 'worst_change': -5.0, 'best_fell': 1.0}
    """
    require_columns(lists, ["qid", "score", "now", "initial"], "displacement")
    known = lists.dropna(subset=["score", "now", "initial"])
    known = known.assign(change=known["now"] - known["initial"])
    groups = known.groupby("qid", sort=False)["score"]
    high, low = groups.transform("max"), groups.transform("min")
    known, high, low = (column[high > low] for column in (known, high, low))
    table = pd.DataFrame(
        {
            name: known[known["score"] == extreme].groupby("qid", sort=False)["change"].mean()
            for name, extreme in (("best_change", high), ("worst_change", low))
        }
    ).reindex(pd.Index(lists["qid"].unique(), name="qid"))
    return table.assign(
        best_fell=(table["best_change"] < 0).astype(float).where(table["best_change"].notna())
    )


def rank_correlations(frame: pd.DataFrame) -> pd.DataFrame:
    """Kendall's τ-b of log π with reward, and of length (in tokens) with reward and log π.

    Per prompt, over its distinct responses (`larpo_ir.evaluation.measures.kendall_tau`). NaN if one of the two values
    is the same for all responses.

    >>> frame = pd.DataFrame({"qid": "q", "docno": ["a", "b", "c"], "score": [1.0, 0.5, 0.0],
    ...                       "logprob": [-1.0, -2.0, -3.0], "num_tokens": [3, 9, 6]})
    >>> rank_correlations(frame).round(3).loc["q"].tolist()
    [1.0, -0.333, -0.333]
    """
    values = {"log π": "logprob", "length": "num_tokens", "reward": "score"}
    require_columns(frame, ["qid", "docno", *values.values()], "rank correlation")
    frame = frame.assign(**{column: frame[column].astype(float) for column in values.values()})
    columns = {}
    for one, other in (("log π", "reward"), ("length", "reward"), ("length", "log π")):
        results = frame[["qid", "docno"]].assign(score=frame[values[one]])
        grades = frame[["qid", "docno"]].assign(label=frame[values[other]])
        columns[f"τ({one}, {other})"] = kendall_tau(results, grades)
    return pd.DataFrame(columns)


def duplicates(frame: pd.DataFrame) -> pd.DataFrame:
    """Share of draws that repeat an earlier draw of the same prompt at the same temperature.

    `duplicates = 1 − distinct / draws`. Returns `qid, temperature, draws, distinct, duplicates`, a row per prompt and
    temperature. A row is one draw, or `count` draws. If a prompt is sampled at several temperatures, the pool keeps
    each response once, with the temperature of its first draw, and counts all repetitions there. Held-out samples
    have a row per draw.

    >>> frame = pd.DataFrame({"qid": "q", "docno": ["a", "b"], "temperature": 1.0, "count": [3, 1]})
    >>> duplicates(frame).iloc[0].to_dict()
    {'qid': 'q', 'temperature': 1.0, 'draws': 4, 'distinct': 2, 'duplicates': 0.5}
    """
    require_columns(frame, ["qid", "docno", "temperature"], "duplicates")
    frame = frame.assign(draws=frame["count"].astype(int) if "count" in frame else 1)
    groups = frame.dropna(subset=["temperature"]).groupby(["qid", "temperature"], sort=False)
    table = groups.agg(draws=("draws", "sum"), distinct=("docno", "nunique")).reset_index()
    return table.assign(duplicates=1 - table["distinct"] / table["draws"])


def entropy(frame: pd.DataFrame) -> pd.DataFrame:
    """Monte-Carlo estimate of the policy's entropy per prompt, from the draws at temperature 1; nats.

    `per_sequence = mean over draws of −log π(y|x)`, an unbiased estimate of H(π(·|x)); `per_token = Σ −log π(y|x) /
    Σ |y|` over the same draws. Draws at another temperature are left out: their −log π estimates the cross-entropy
    from the sampled distribution to π, not π's entropy. Responses cut at max_new_tokens count up to the cut, so the
    entropy is that of responses up to this length. NaN for a prompt without draws at temperature 1.

    >>> frame = pd.DataFrame({"qid": "q", "logprob": [-2.0, -6.0], "num_tokens": [2, 6], "temperature": 1.0,
    ...                       "count": [3, 1]})
    >>> entropy(frame).loc["q"].to_dict()
    {'per_sequence': 3.0, 'per_token': 1.0}
    """
    require_columns(frame, ["qid", "logprob", "num_tokens", "temperature"], "entropy")
    count = frame["count"].astype(float) if "count" in frame else pd.Series(1.0, index=frame.index)
    used = frame["temperature"].eq(SAMPLING_TEMPERATURE) & frame["logprob"].notna()
    nats = -frame["logprob"].astype(float) * count
    sums = pd.DataFrame({"draws": count, "nats": nats, "tokens": frame["num_tokens"].astype(float) * count})
    totals = sums[used.fillna(False)].groupby(frame["qid"], sort=False).sum()
    totals = totals.reindex(pd.Index(frame["qid"].unique(), name="qid"))
    return pd.DataFrame(
        {"per_sequence": totals["nats"] / totals["draws"], "per_token": totals["nats"] / totals["tokens"]}
    )


def _per_prompt(
    frame: pd.DataFrame, columns: list[str], of: Callable[[NDArray[np.float64]], float]
) -> pd.Series[Any]:
    """`of` applied to each prompt's values of these columns, an array [rows, columns]."""
    known = frame.dropna(subset=columns)
    values = {qid: of(group[columns].to_numpy(float)) for qid, group in known.groupby("qid", sort=False)}
    return pd.Series(values, dtype=float).reindex(pd.Index(frame["qid"].unique(), name="qid"))


# A run


def diagnose(directory: str | os.PathLike[str]) -> pd.DataFrame:
    """Every diagnostic of a run's policies, with 95 % bootstrap intervals over prompts.

    Returns:
        Frame with `iteration, on, diagnostic, mean, low, high, num_queries`. `on` names the responses: `fixed lists`
        (the same held-out responses for every policy), `held-out samples` or `pool` (this policy's own samples for
        held-out and for training prompts; the last policy has no pool). `num_queries`: number of prompts on which
        the diagnostic is defined; for samples, these prompts differ between iterations.

    A diagnostic is left out if the iteration did not write its file. Raises `ValueError` for a folder without any
    iteration.
    """
    run = RunDirectory(directory)
    if not run.iteration(0).is_dir():
        raise ValueError(f"{run.path}: no run (there is no {run.name_of(0)} in it)")
    rows = [
        summarise(values).rename_axis("diagnostic").reset_index().assign(iteration=iteration, on=on)
        for iteration in range(run.num_iterations)
        for on, values in _diagnostics(run, iteration)
    ]
    columns = ["iteration", "on", "diagnostic", "mean", "low", "high", "num_queries"]
    table = pd.concat(rows, ignore_index=True)[columns] if rows else pd.DataFrame(columns=columns)
    return table[table["num_queries"] > 0].reset_index(drop=True)


def _diagnostics(run: RunDirectory, iteration: int) -> Iterator[tuple[str, pd.DataFrame]]:
    lists = run.fixed_lists(iteration)
    if lists is not None:
        yield "fixed lists", _of_lists(lists, moved=iteration > 0)
    for on, name in (("held-out samples", "held_out_samples"), ("pool", "pool")):
        samples = run.frame(iteration, name)
        if samples is not None and {"logprob", "num_tokens", "temperature"} <= set(samples):
            yield on, _of_samples(samples)


def _of_lists(lists: pd.DataFrame, moved: bool) -> pd.DataFrame:
    """Diagnostics of fixed lists. `moved`: False for the policy before alignment, which has no implicit reward."""
    accuracy = {"ranking accuracy of log π": ranking_accuracy(lists, "now")}
    if not moved:
        return pd.DataFrame(accuracy)
    accuracy["ranking accuracy of the implicit reward"] = ranking_accuracy(lists, "implicit")
    names = {
        "best_change": "change of log π of the best response",
        "worst_change": "change of log π of the worst response",
        "best_fell": "share of lists whose best response fell",
    }
    return pd.concat([pd.DataFrame(accuracy), displacement(lists).rename(columns=names)], axis=1)


def _of_samples(samples: pd.DataFrame) -> pd.DataFrame:
    repeated = duplicates(samples)
    parts = [
        rank_correlations(samples),
        *(
            rows.set_index("qid")[["duplicates", "distinct"]].add_suffix(f" at T = {temperature:g}")
            for temperature, rows in repeated.groupby("temperature")
        ),
        entropy(samples).add_prefix("entropy ").rename(columns=lambda name: name.replace("_", " ")),
    ]
    return pd.concat(parts, axis=1)
