"""Files of Recall@N beside Pass@N: picture, tables and per-query values of the measurements."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd

from benchmarks.nq.crossing import Crossing, ends
from larpo_ir.data.files import write_atomically
from larpo_ir.evaluation.figures import Panel, curves_figure, save_figure
from larpo_ir.evaluation.tables import curve, interval, markdown_table

TRIED = {"problems": 200, "samples": 64}
"""Number of held-out problems on which the temperatures are chosen, and of samples of each."""
REPORTED = {"problems": 400, "samples": 128}
"""The same for measuring the chosen two on other problems: enough to tell 0.995 from 0.960, the gap at N = 64."""

Recalls: TypeAlias = Mapping[str, pd.DataFrame]
"""Per-query values R@N, by system."""
Passes: TypeAlias = Mapping[float, pd.DataFrame]
"""Per-query values Pass@N, by temperature."""


def write(recalls: Recalls, tried: Passes, passes: Passes, output: Path) -> Path:
    """Write the study's files from per-query values: `recall_pass.png`, `recall.csv`, `pass.csv`, `tried.csv`,
    `significance.csv`, `recall_per_query.parquet`, `pass_per_query.parquet`, and `table.md`, and return its path.

    `passes` holds two temperatures, the cooler one first.
    """
    (cool, first), (hot, second) = passes.items()
    recall_curves = {name: curve(values, "R") for name, values in recalls.items()}
    pass_curves = {t: curve(values, "Pass") for t, values in passes.items()}
    tried_curves = {t: curve(values, "Pass") for t, values in tried.items()}
    tests, where = ends(first, second), Crossing.of(first, second)

    output.mkdir(parents=True, exist_ok=True)
    _stacked(recalls, "system").to_parquet(output / "recall_per_query.parquet")
    _stacked(passes, "temperature").to_parquet(output / "pass_per_query.parquet")
    csv = {
        "recall": _stacked(recall_curves, "system"),
        "pass": _stacked(pass_curves, "temperature"),
        "tried": _stacked(tried_curves, "temperature"),
        "significance": tests.reset_index(),
    }
    for name, frame in csv.items():
        write_atomically(output / f"{name}.csv", frame.to_csv(index=False))
    save_figure(figure(recall_curves, pass_curves), output / "recall_pass.png")

    chosen_on, measured_on = len(next(iter(tried.values()))), len(first)
    means = pd.DataFrame({f"T = {t}": points["mean"] for t, points in tried_curves.items()})
    parts = [
        "# Recall@N and Pass@N\n",
        "![Recall@N and Pass@N](recall_pass.png)\n",
        f"{recall_sentence(recall_curves)} {pass_sentence(cool, hot, tests, where)}\n",
        "Brackets: 95 % bootstrap intervals over queries.\n",
        f"Recall@N, {len(next(iter(recalls.values())))} questions:\n",
        markdown_table(_intervals(recall_curves)),
        f"Pass@N, {measured_on} held-out problems, {REPORTED['samples']} samples each:\n",
        markdown_table(_intervals({f"T = {t}": points for t, points in pass_curves.items()})),
        f"Paired randomisation tests, T = {cool} against T = {hot}, Holm-corrected over the two:\n",
        markdown_table(_tests_table(tests, cool, hot)),
        f"The curves cross in {where.share:.1%} of the bootstrap resamples of the problems.\n",
        f"Temperatures tried, mean Pass@N on {chosen_on} other held-out problems, {TRIED['samples']} samples each. "
        f"T = {cool} is the best at the smallest N; of the higher ones T = {hot} is the best at the largest N (of "
        "equals the lower):\n",
        markdown_table(means.reset_index()),
    ]
    return write_atomically(output / "table.md", "\n".join(parts))


def figure(recall_curves: Mapping[str, pd.DataFrame], pass_curves: Mapping[float, pd.DataFrame]) -> Any:
    """The two panels."""
    passes = {f"T = {t}": points for t, points in pass_curves.items()}
    return curves_figure(
        [
            Panel("retrievers, questions of NQ", recall_curves, "N passages", "Recall@N"),
            Panel("language model, word problems", passes, "N samples", "Pass@N"),
        ]
    )


def recall_sentence(curves: Mapping[str, pd.DataFrame]) -> str:
    """A sentence with the range of each system's Recall@N."""
    ranges = [
        f"{name} from {points['mean'].iloc[0]:.3f} to {points['mean'].iloc[-1]:.3f}"
        for name, points in curves.items()
    ]
    ns = next(iter(curves.values())).index
    return f"From N = {ns[0]} to {ns[-1]}, Recall@N rises: {', '.join(ranges)}."


def pass_sentence(cool: float, hot: float, tests: pd.DataFrame, where: Crossing) -> str:
    """A sentence that tells if the curves of the two temperatures cross, and how sure that is."""
    gaps = [
        f"{row['difference']:+.3f} at N = {str(name).split('@')[1]} (p {_p(row['p_holm'], '= ')})"
        for name, row in tests.iterrows()
    ]
    gap = f"T = {cool} against T = {hot} is {gaps[0]} and {gaps[1]}"
    if math.isnan(where.at):
        return f"The Pass@N curves do not cross: {gap}."
    if (tests["p_holm"] < 0.05).all():
        return f"The Pass@N curves cross at N = {where.at:.1f} [{where.low:.1f}, {where.high:.1f}]: {gap}."
    return f"The means of Pass@N cross at N = {where.at:.1f}, not beyond chance at both ends: {gap}."


def _p(value: float, equals: str = "") -> str:
    return "< 0.001" if value < 0.001 else f"{equals}{value:.3f}"


def _stacked(frames: Mapping[Any, pd.DataFrame], name: str) -> pd.DataFrame:
    """One frame of several; its column `name`, beside their index, tells the frame of a row."""
    frame = pd.concat(frames, names=[name]).reset_index()
    index = next(iter(frames.values())).index.name
    return frame[[index, name, *(column for column in frame if column not in (index, name))]]


def _intervals(curves: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """A row per N, a column per curve."""
    columns = {name: points.apply(interval, axis=1) for name, points in curves.items()}
    return pd.DataFrame(columns).rename_axis("N").reset_index()


def _tests_table(tests: pd.DataFrame, cool: float, hot: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "measure": tests.index,
            f"T = {cool}": tests["system"],
            f"T = {hot}": tests["baseline"],
            "difference": tests.apply(
                lambda row: f"{row['difference']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}]", axis=1
            ),
            "p": tests["p_value"].map(_p),
            "p (Holm)": tests["p_holm"].map(_p),
        }
    )
