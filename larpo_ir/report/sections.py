"""Sections of a report: text, tables and a figure, written alike in Markdown, LaTeX and the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from larpo_ir.evaluation import figures
from larpo_ir.evaluation.diagnostics import diagnose
from larpo_ir.evaluation.tables import NOTHING, counted, curve, interval, p_value
from larpo_ir.provenance.saved_run import SavedRun
from larpo_ir.report.comparison import Outcome

# measure -> title of its curve
CURVES = {
    "greedy_accuracy": "greedy",
    "pass@1": "Pass@1",
    "reward_mean": "mean reward",
    "best_logprob": "log π of the best response",
}
RANKING = {
    "nDCG@10": "nDCG@10 of log π, own samples",
    "fixed_nDCG@10": "nDCG@10 of log π, fixed lists",
    "implicit_nDCG@10": "nDCG@10 of the implicit reward",
    "implicit_kendall_tau": "τ of the implicit reward",
}
COMPARED = (
    "pass@1",
    "greedy_accuracy",
    "reward_mean",
    "implicit_kendall_tau",
    "implicit_nDCG@10",
    "fixed_nDCG@10",
)

START = "Iteration 0 is the policy before any alignment."
BRACKETS = "Brackets and bands: 95 % bootstrap intervals over prompts."
ON_PAPER = "Brackets: 95 % bootstrap intervals over prompts."


def title_of(measure: str) -> str:
    """A measure as the tables print it: `Pass@8` for `pass@8`."""
    return {**CURVES, **RANKING}.get(measure) or measure.replace("pass@", "Pass@")


@dataclass
class Section:
    """A heading with text, tables by their captions and a figure.

    `paper`: a table's caption in LaTeX, which must be clear without the text; `{}` is the caption in `tables`.
    `files`: all numbers, by the name of their CSV file. `choose`: the tables are alternatives; paper shows the first
    of them, the page the one that the reader picks.
    """

    name: str
    title: str
    text: str = ""
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    figure: Figure | None = None
    alt: str = ""
    files: dict[str, pd.DataFrame] = field(default_factory=dict)
    choose: bool = False
    paper: str = "{}."

    @property
    def shown(self) -> dict[str, pd.DataFrame]:
        """The tables that paper shows."""
        return dict(list(self.tables.items())[:1]) if self.choose else self.tables


def learning(runs: Sequence[SavedRun], draw: bool = True) -> Section:
    """Measures of every policy of every run."""
    rows = pd.DataFrame(
        [
            {"run": run.name, "iteration": iteration, "measure": measure, **values}
            for run in runs
            for iteration, intervals in enumerate(run.intervals)
            for measure, values in intervals.items()
            if "low" in values
        ],
        columns=["run", "iteration", "measure", "mean", "low", "high", "num_queries"],
    ).dropna(subset=["mean"])
    tables = {}
    curves = _distinct(runs)
    for caption, names in (("Measures per iteration", curves), ("Ranking per iteration", RANKING)):
        table = _per_iteration(runs, names, with_costs=names is curves)
        if table.shape[1] > 2:
            tables[caption] = table
    return Section(
        "learning",
        "Learning curves",
        f"On held-out prompts. {START} {BRACKETS} log π of the best response, in nats, is over the fixed lists that "
        "have one, whose rewards differ: a fall is likelihood displacement."
        + ("" if "reward_mean" in curves else " The mean reward is Pass@1, as rewards are 0 or 1."),
        tables,
        _curves(rows, curves) if draw and len(rows) else None,
        "Measures against the iteration, a line per run",
        {"learning": rows},
        paper=f"{{}} on held-out prompts; iteration 0 is the policy before alignment. {ON_PAPER}",
    )


def _distinct(runs: Sequence[SavedRun]) -> dict[str, str]:
    """`CURVES`, without the mean reward where it only repeats Pass@1."""
    both = [
        [interval(row.get(name)) for name in ("pass@1", "reward_mean")]
        for run in runs
        for row in run.intervals
    ]
    repeats = all(one == other for one, other in both) and any(one != NOTHING for one, _ in both)
    return {name: title for name, title in CURVES.items() if not (repeats and name == "reward_mean")}


def _per_iteration(runs: Sequence[SavedRun], names: dict[str, str], with_costs: bool) -> pd.DataFrame:
    measured = {measure for run in runs for measure in run.measures}
    rows = []
    for run in runs:
        for iteration, intervals in enumerate(run.intervals):
            row: dict[str, Any] = {"run": run.name, "iteration": iteration}
            row |= {label: interval(intervals.get(name)) for name, label in names.items() if name in measured}
            if with_costs:
                row["lists"] = run.rows[iteration].get("num_lists")
                row["seconds"] = f"{sum(run.rows[iteration].get('seconds', {}).values()):.1f}"
            rows.append(row)
    return pd.DataFrame(rows)


def _curves(rows: pd.DataFrame, names: dict[str, str]) -> Figure | None:
    measures = {
        label: {
            str(run): points.set_index("iteration")[["mean", "low", "high"]]
            for run, points in rows[rows["measure"] == measure].groupby("run", sort=False)
        }
        for measure, label in names.items()
    }
    measures = {label: curves for label, curves in measures.items() if curves}
    return figures.learning_figure(measures) if measures else None


def pass_at_n(runs: Sequence[SavedRun]) -> Section | None:
    """Pass@N before alignment and after the last iteration."""
    rows, panels = [], []
    for run in runs:
        curves = {}
        for label, iteration in (("before", 0), ("after", run.last))[: 2 if run.last else 1]:
            per_query = run.per_query(iteration)
            if any(str(column).startswith("pass@") for column in per_query.columns):
                curves[label] = curve(per_query)
                rows.append(
                    curves[label].reset_index().assign(run=run.name, policy=label, iteration=iteration)
                )
        if curves:
            panels.append(figures.Panel(run.name, curves))
    if not rows:
        return None
    frame = pd.concat(rows, ignore_index=True)
    frame = frame[["run", "policy", "iteration", "N", "mean", "low", "high", "num_queries"]]
    cells = frame.assign(cell=[interval(row) for row in frame.to_dict("records")])
    wide = cells.pivot(index=["run", "policy"], columns="N", values="cell").add_prefix("Pass@")
    wide = wide.reindex(pd.MultiIndex.from_frame(frame[["run", "policy"]].drop_duplicates())).reset_index()
    return Section(
        "pass_at_n",
        "Pass@N before and after",
        f"Chance that one of N samples is correct: the language model's Recall@N. {BRACKETS}",
        {"Before and after": wide.rename_axis(columns=None)},
        figures.curves_figure(panels),
        "Pass@N before and after alignment, a panel per run",
        {"pass_at_n": frame},
        paper=f"Pass@N, the chance that one of N samples is correct, before and after alignment. {ON_PAPER}",
    )


def rewards(runs: Sequence[SavedRun]) -> Section | None:
    """Distribution of the rewards of each policy's samples."""
    values = {run.name: [_rewards(run, iteration) for iteration in range(run.last + 1)] for run in runs}
    values = {name: run for name, run in values.items() if any(map(len, run))}
    if not values:
        return None
    levels = figures.levels_of(values)
    rows = [
        {
            "run": name,
            "iteration": iteration,
            "samples": len(sample),
            "mean": float(sample.mean()),
            **(_quantiles(sample) if levels is None else _shares(sample, levels)),
        }
        for name, run in values.items()
        for iteration, sample in enumerate(run)
        if len(sample)
    ]
    table = pd.DataFrame(rows)
    return Section(
        "rewards",
        "Reward distributions",
        "Rewards of what the policy of each iteration samples, for held-out prompts where there are such samples and "
        "otherwise in the pool (every draw counts; the last policy has no pool).",
        {"By iteration": table},
        figures.distributions_figure(values),
        "Distribution of rewards by iteration, a panel per run",
        {"rewards": table},
        paper="Rewards of what the policy of each iteration samples.",
    )


# column -> its quantile
QUANTILES = {"min": 0.0, "5 %": 0.05, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "max": 1.0}


def _quantiles(sample: np.ndarray) -> dict[str, float]:
    values = np.quantile(sample, list(QUANTILES.values()))
    return {"sd": float(sample.std()), **dict(zip(QUANTILES, map(float, values), strict=True))}


def _shares(sample: np.ndarray, levels: np.ndarray) -> dict[str, float]:
    """Share of a sample that has each of these rewards."""
    return {f"share of {level:g}": float((sample == level).mean()) for level in levels}


def _rewards(run: SavedRun, iteration: int) -> np.ndarray:
    samples = run.frame(iteration, "held_out_samples")
    if samples is None:
        samples = run.frame(iteration, "pool")
        if samples is not None:
            samples = samples.loc[samples.index.repeat(samples["count"].astype(int))]
    if samples is None:
        return np.array([])
    scores: np.ndarray = samples["score"].to_numpy(float)
    finite: np.ndarray = scores[np.isfinite(scores)]
    return finite


HOLM = (
    "p (Holm): p corrected for the number of comparisons in this table; those with the policy before alignment count "
    "as one set, those of two runs as another."
)


def comparison(table: pd.DataFrame, per_query: pd.DataFrame, measure: str) -> Section | None:
    """Wins, ties and losses over queries, and tests, for the chosen measure first. `table`: of `compare_runs`."""
    if table.empty:
        return None
    names = [measure, *(name for name in table["measure"].unique() if name != measure)]
    tables = {}
    for name in names:
        mine = table[table["measure"] == name]
        tables[title_of(name)] = pd.DataFrame(
            {
                "system": mine["system"],
                "baseline": mine["baseline"],
                "mean": [
                    f"{a:.3f} vs {b:.3f}"
                    for a, b in zip(mine["system_mean"], mine["baseline_mean"], strict=True)
                ],
                "difference": [
                    interval(row) for row in mine.assign(mean=mine["difference"]).to_dict("records")
                ],
                "win / tie / loss": _outcomes(mine),
                "p": mine["p_value"].map(p_value),
                "p (Holm)": mine["p_holm"].map(p_value),
            }
        )
    mine = table[table["measure"] == measure]
    pairs = dict(zip(mine["system"] + " vs " + mine["baseline"], _outcomes(mine), strict=True))
    return Section(
        "comparison",
        "Query by query",
        "The last policy of each run against the one before alignment, and of every two runs against each other. "
        f"p: two-sided paired randomisation test. {HOLM} {BRACKETS}",
        tables,
        figures.outcomes_figure(pairs, title_of(measure)) if pairs else None,
        f"Queries won, tied and lost in {title_of(measure)}, a bar per pair",
        {"comparison": table, "per_query": per_query},
        choose=True,
        paper="Comparison in {}, query by query: the last policy of each run against the one before alignment, and "
        f"runs against each other. {ON_PAPER} p: two-sided paired randomisation test. {HOLM}",
    )


def _outcomes(table: pd.DataFrame) -> list[Outcome]:
    return [Outcome(*map(int, row)) for row in table[["wins", "ties", "losses"]].itertuples(index=False)]


def diagnostics(runs: Sequence[SavedRun]) -> Section | None:
    """Diagnostics of each policy (`larpo_ir.evaluation.diagnostics`)."""
    frames = [diagnose(run.path).assign(run=run.name) for run in runs]
    everything = pd.concat(frames, ignore_index=True)
    if everything.empty:
        return None
    most = everything.groupby(["run", "on"])["num_queries"].transform("max").astype(int)
    everything["cell"] = [
        counted(row, number) for row, number in zip(everything.to_dict("records"), most, strict=True)
    ]
    shown = everything.assign(on=[f"{on} (n = {n})" for on, n in zip(everything["on"], most, strict=True)])
    tables = {}
    for name, mine in shown.groupby("run", sort=False):
        wide = mine.pivot(index=["on", "diagnostic"], columns="iteration", values="cell").add_prefix(
            "iteration "
        )
        wide = wide.reindex(
            pd.MultiIndex.from_frame(mine[["on", "diagnostic"]].drop_duplicates())
        ).sort_index(level="on", sort_remaining=False, kind="stable")
        tables[str(name)] = wide.reset_index().rename_axis(columns=None)
    columns = ["run", "iteration", "on", "diagnostic", "mean", "low", "high", "num_queries"]
    return Section(
        "diagnostics",
        "Diagnostics",
        "Fixed lists: the same held-out responses for every policy; held-out samples and pool: what this policy "
        "itself sampled for held-out and for training prompts. n: the number of prompts; a diagnostic is over those "
        "on which it is defined (a τ needs responses that differ in both), given where they are fewer, and for "
        "samples they are not the same prompts in every iteration. Ranking accuracy: share of pairs of different "
        "reward in the right order, ties half. Likelihood displacement: changes of log π since iteration 0, in nats, "
        "over lists whose rewards differ. τ: Kendall's τ-b per prompt. "
        "Duplicates: share of draws that repeat an earlier one. Entropy in nats, of draws at temperature 1; where "
        f"some are cut at the longest length allowed, it is that of responses up to there. {BRACKETS}",
        tables,
        files={"diagnostics": everything[columns]},
        paper="Diagnostics of {}: means over the n prompts on which each is defined, which differ between "
        f"iterations. {ON_PAPER}",
    )


def settings(runs: Sequence[SavedRun]) -> Section:
    """Settings and environment of the runs, side by side."""
    tables = {
        caption: _side_by_side(runs, of)
        for caption, of in (
            ("Settings", lambda run: _flat(run.settings)),
            ("Environment", lambda run: _flat(run.environment)),
        )
    }
    return Section(
        "settings",
        "Settings and environment",
        tables={caption: table for caption, table in tables.items() if len(table)},
        paper="{} of the runs.",
    )


def _side_by_side(runs: Sequence[SavedRun], of: Callable[[SavedRun], dict[str, str]]) -> pd.DataFrame:
    columns = {run.name: of(run) for run in runs}
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    rows = [{"setting": name, **{run: column.get(name) for run, column in columns.items()}} for name in names]
    return pd.DataFrame(rows)


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as `a.b`, values as text."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, dict) and value:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = "none" if value is None else str(value)
    return flat
