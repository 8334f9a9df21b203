"""Claims of the paper, with a study's verdict on each: holds, does not hold, or undecided at this scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from larpo_ir.evaluation.significance import compare, holm
from larpo_ir.evaluation.studies import Study

LEVEL = 0.05
RULE = (
    "A claim compares the mean of its first conditions with that of its second, query by query, each query's value "
    "being its mean over seeds. *Holds*: the difference is positive in the mean and in every seed, of at least two, "
    f"and p < {LEVEL} (paired randomisation test over queries, Holm over the claims of the table). *Does not hold*: "
    "it is negative in the same sense. *Undecided*: anything else. Where a claim does not name its measure, the "
    "difference in the table's second measure stands beside it, untested."
)


@dataclass(frozen=True)
class Claim:
    """Some conditions are better than others, on average over each side; `measure` None: the study's first."""

    says: str
    better: tuple[str, ...]
    worse: tuple[str, ...]
    measure: str | None = None


def judge_claims(study: Study, claims: Sequence[Claim]) -> pd.DataFrame:
    """`claim, measure, difference, low, high, p_holm, seeds, verdict`, a row per claim whose conditions ran.

    `seeds`: number of seeds with a positive difference, as `2/3`. `second`: difference in the study's second measure,
    for claims about its first.
    """
    first, *others = study.measures
    rows = []
    for claim in claims:
        if not {*claim.better, *claim.worse} <= set(study.values):
            continue
        measure = claim.measure or first
        better, worse = (_mean_of(study, names, measure) for names in (claim.better, claim.worse))
        test = compare(better.groupby("qid").mean(), worse.groupby("qid").mean()).iloc[0]
        seeds = (better - worse).groupby("seed").mean()
        beside = others[0] if others and claim.measure is None else measure
        also = [_mean_of(study, names, beside).mean() for names in (claim.better, claim.worse)]
        rows.append(
            {
                "claim": claim.says,
                "measure": measure,
                **test[["difference", "low", "high", "p_value"]],
                "positive": int((seeds > 0).sum()),
                "negative": int((seeds < 0).sum()),
                "num_seeds": len(seeds),
                "second": also[0] - also[1] if beside != measure else float("nan"),
            }
        )
    table = pd.DataFrame(rows)
    if table.empty:
        return table
    table["p_holm"] = holm(table["p_value"])
    table["seeds"] = [f"{row.positive}/{row.num_seeds}" for row in table.itertuples()]
    table["verdict"] = [verdict(row) for _, row in table.iterrows()]
    return table[["claim", "measure", "difference", "low", "high", "p_holm", "seeds", "verdict", "second"]]


def verdict(row: pd.Series) -> str:
    """The verdict by `RULE` on a row with `p_holm` and the numbers of seeds with a positive or negative difference.

    >>> verdict(pd.Series({"p_holm": 0.01, "positive": 3, "negative": 0, "num_seeds": 3}))
    'holds'
    """
    agree = row["num_seeds"] > 1 and row["num_seeds"] in (row["positive"], row["negative"])
    if agree and row["p_holm"] < LEVEL:
        return "holds" if row["positive"] else "does not hold"
    return "undecided"


def _mean_of(study: Study, names: Sequence[str], measure: str) -> pd.Series:
    """Mean over conditions of each query and seed; a condition that ran with one seed counts for every seed."""
    seeds = sorted({seed for values in study.values.values() for seed in values["seed"]})
    frames = []
    for name in names:
        values = study.values[name]
        if values["seed"].nunique() == 1 and len(seeds) > 1:
            values = pd.concat([values.assign(seed=seed) for seed in seeds])
        frames.append(values.set_index(["qid", "seed"])[measure].dropna())
    return pd.concat(frames).groupby(["qid", "seed"]).mean().rename(measure)
