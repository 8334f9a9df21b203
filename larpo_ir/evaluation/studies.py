"""Studies: conditions × seeds, measured per query; one layout of table, figure and files for all of them.

    study("losses", {"contrastive": run_one, "listmle": run_other}, output="runs/losses", seeds=3)

A condition is called with a seed and a folder of its own and returns per-query values (`larpo_ir.evaluation.measures.
evaluate_per_query`): rows are queries, columns are measures. Conditions with values on disk are not run again.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from larpo_ir.data.digests import as_written, difference
from larpo_ir.data.files import write_atomically
from larpo_ir.evaluation.figures import save_figure
from larpo_ir.evaluation.significance import compare, holm, summarise
from larpo_ir.evaluation.tables import interval, latex_table, markdown_table
from larpo_ir.evaluation.workers import side_by_side
from larpo_ir.models.distributed import is_main_process, wait_for_everyone
from larpo_ir.provenance.identity import identity
from larpo_ir.provenance.output_folder import OutputFolder
from larpo_ir.provenance.outputs import read_config

logger = logging.getLogger("larpo_ir")

Condition = Callable[[int, Path], pd.DataFrame]
PER_QUERY = "per_query.parquet"
SHOWN_PAIRS = 12  # nobody reads a longer list of pairs


@dataclass
class Study:
    """Per-query values of every condition and seed, with their summary, tests, table and figure.

    `values[condition]` has the columns `qid, seed` and one per measure. The query is the unit of intervals and tests:
    a query's value is its mean over seeds; `sd over seeds` is the standard deviation of the seeds' means.
    """

    title: str
    values: dict[str, pd.DataFrame]
    baseline: str

    @property
    def measures(self) -> list[str]:
        first = next(iter(self.values.values()))
        return [name for name in first.columns if name not in ("qid", "seed")]

    def per_query(self, condition: str) -> pd.DataFrame:
        """Mean over seeds for each query."""
        return self.values[condition].drop(columns="seed").groupby("qid", sort=True).mean()

    def summary(self) -> pd.DataFrame:
        """`condition, measure, mean, low, high, num_queries, sd_over_seeds, seeds`, a row per condition, measure."""
        rows = []
        for condition, values in self.values.items():
            seeds = values.groupby("seed")[self.measures].mean()
            for measure, row in summarise(self.per_query(condition)).iterrows():
                spread = float(seeds[measure].std(ddof=1)) if len(seeds) > 1 else None
                rows.append(
                    {
                        "condition": condition,
                        "measure": measure,
                        **row,
                        "sd_over_seeds": spread,
                        "seeds": len(seeds),
                    }
                )
        return pd.DataFrame(rows)

    def significance(self) -> pd.DataFrame:
        """Tests of every other condition against the baseline by `larpo_ir.evaluation.significance.compare`, with
        `p_holm`, corrected over the conditions for each measure."""
        return self._tests([(name, self.baseline) for name in self.values if name != self.baseline])

    def pairs(self) -> pd.DataFrame:
        """The same tests for all pairs without the baseline, corrected over the pairs for each measure."""
        return self._tests(list(combinations([name for name in self.values if name != self.baseline], 2)))

    def _tests(self, pairs: list[tuple[str, str]]) -> pd.DataFrame:
        per_query = {name: self.per_query(name) for name in self.values}
        frames = [
            compare(per_query[one], per_query[other]).reset_index().assign(condition=one, against=other)
            for one, other in pairs
        ]
        if not frames:
            return pd.DataFrame()
        table = pd.concat(frames, ignore_index=True)
        table["p_holm"] = table.groupby("measure")["p_value"].transform(lambda values: holm(values))
        first = ["condition", "against"]
        return table[[*first, *(name for name in table.columns if name not in first)]]

    def differences(self, level: float = 0.05) -> str:
        """A sentence that names the conditions that differ in the first measure."""
        pairs = self.pairs()
        if pairs.empty:
            return ""
        mine = pairs[pairs["measure"] == self.measures[0]]
        found = [
            f"{row.condition} {'>' if row.difference > 0 else '<'} {row.against} (p = {row.p_holm:.4f})"
            for row in mine[mine["p_holm"] < level].itertuples()
        ]
        number = "One pair" if len(mine) == 1 else f"{len(mine)} pairs"
        tested = f"{number} of conditions besides {self.baseline} compared in {self.measures[0]}"
        if not found:
            return f"{tested}; no difference was detected (p ≥ {level}, Holm over the pairs).\n"
        if len(found) > SHOWN_PAIRS:
            return f"{tested}; {len(found)} differ (p < {level}, Holm over the pairs): pairs.csv.\n"
        return f"{tested}; these differ (p < {level}, Holm over the pairs): {', '.join(found)}.\n"

    def table(self, measures: Sequence[str] | None = None) -> pd.DataFrame:
        """Table for readers: mean and interval of each measure, the first one's gain over the baseline, and its p."""
        measures = list(measures or self.measures)
        summary, tests = self.summary(), self.significance()
        rows = []
        for condition in self.values:
            mine = summary[summary["condition"] == condition].set_index("measure")
            row: dict[str, Any] = {self.title: condition}
            row |= {measure: interval(mine.loc[measure]) for measure in measures}
            if mine["sd_over_seeds"].notna().any():
                row[f"sd over seeds of {measures[0]}"] = float(mine.loc[measures[0], "sd_over_seeds"])
            if len(tests):
                test = tests[(tests["condition"] == condition) & (tests["measure"] == measures[0])]
                gain = None if test.empty else test.iloc[0]
                row[f"{measures[0]} − {self.baseline}"] = (
                    "–"
                    if gain is None
                    else (f"{gain['difference']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}]")
                )
                row["p (Holm)"] = "–" if gain is None else f"{gain['p_holm']:.4f}"
            rows.append(row)
        return pd.DataFrame(rows)

    def correction(self) -> str:
        """A sentence about the test behind the table's p, and its correction."""
        number = len(self.values) - 1
        if not number:
            return ""
        over = "the one comparison" if number == 1 else f"the {number} comparisons"
        return (
            f"p (Holm) in the table: paired randomisation test in {self.measures[0]}, corrected over {over} with "
            f"{self.baseline}.\n"
        )

    def figure(self, measures: Sequence[str] | None = None) -> Figure:
        """Mean and 95 % interval of each condition, a panel per measure, the baseline as a dashed line."""
        measures = list(measures or self.measures[:3])
        summary = self.summary()
        names = list(self.values)
        figure = Figure(figsize=(3.4 * len(measures) + 0.6, 0.42 * len(names) + 1.5), layout="constrained")
        axes = figure.subplots(1, len(measures), sharey=True, squeeze=False)[0]
        for axis, measure in zip(axes, measures, strict=True):
            rows = summary[summary["measure"] == measure].set_index("condition").loc[names]
            places = range(len(names))
            errors = [rows["mean"] - rows["low"], rows["high"] - rows["mean"]]
            axis.errorbar(rows["mean"], places, xerr=errors, fmt="o", capsize=3)
            for place, (_, group) in zip(places, self._seed_means(measure), strict=True):
                axis.plot(group, [place] * len(group), "|", color="0.5", markersize=9)
            axis.axvline(rows["mean"][self.baseline], linestyle="--", color="0.6", linewidth=1)
            axis.set(title=measure, yticks=list(places), yticklabels=names)
            axis.grid(axis="x", alpha=0.3)
        axes[0].invert_yaxis()
        figure.suptitle(self.title)
        return figure

    def _seed_means(self, measure: str) -> list[tuple[str, list[float]]]:
        return [
            (name, values.groupby("seed")[measure].mean().tolist()) for name, values in self.values.items()
        ]

    def write(self, output: str | os.PathLike[str], note: str = "") -> Path:
        """Write summary.csv, significance.csv, pairs.csv, table.md, table.tex, figure.png. Returns table.md."""
        output = Path(output)
        write_atomically(output / "summary.csv", self.summary().to_csv(index=False))
        write_atomically(output / "significance.csv", self.significance().to_csv(index=False))
        write_atomically(output / "pairs.csv", self.pairs().to_csv(index=False))
        table = self.table()
        caption = (
            f"{self.title}. Brackets: 95 % bootstrap intervals over queries. {self.correction()}".strip()
        )
        write_atomically(output / "table.tex", latex_table(table, caption, f"tab:{folder_of(self.title)}"))
        save_figure(self.figure(), output / "figure.png")
        parts = [f"# {self.title}\n", note, markdown_table(table), self.correction(), self.differences()]
        parts.append(f"![{self.title}](figure.png)\n")
        return write_atomically(output / "table.md", "\n".join(part for part in parts if part))


def study(
    title: str,
    conditions: Mapping[str, Condition],
    output: str | os.PathLike[str],
    *,
    seeds: int = 3,
    baseline: str | None = None,
    fixed: Sequence[str] = (),
    again: Sequence[str] = (),
    settings: Mapping[str, Any] | None = None,
    made_of: Mapping[str, Any] | None = None,
    note: str = "",
    workers: int = 1,
) -> Study:
    """Run every condition with every seed (0 to seeds - 1) and write the study.

    Args:
        title: property in which the conditions differ; heads the table's first column.
        conditions: in the order of the table.
        output: `CONDITION/seed-S/per_query.parquet` (see `folder_of`) and the study's files go there. Conditions
            with values there are not run again.
        baseline: condition that the others are tested against; None: the first.
        fixed: conditions that no seed changes; they run once.
        again: conditions that are run even if their values are there.
        settings: inputs of all conditions (`larpo_ir.provenance.identity`). A folder with other settings is refused.
        made_of: further inputs of a condition, by its name. If its values on disk are from other inputs, the
            condition is refused, unless it is run again.
        note: a paragraph above the table.
        workers: processes that share conditions and seeds (`larpo_ir.evaluation.workers`); conditions must then be
            picklable.

    Raises `ValueError` for no conditions, an unknown baseline, fewer than one seed or a folder of another study,
    which stays unchanged.
    """
    baseline = _checked_baseline(list(conditions), baseline, seeds)
    directory = OutputFolder(output)
    _claim(directory, {"study": title, **(settings or {})}, made_of or {}, again)
    folders = {
        name: [directory / folder_of(name) / f"seed-{seed}" for seed in range(1 if name in fixed else seeds)]
        for name in conditions
    }
    calls = [
        partial(_fill, conditions[name], title, name, seed, folder)
        for name, of_seed in folders.items()
        for seed, folder in enumerate(of_seed)
        if name in again or not (folder / PER_QUERY).exists()
    ]
    side_by_side(calls, workers)
    wait_for_everyone()
    result = Study(title, {name: _read_values(of_seed) for name, of_seed in folders.items()}, baseline)
    if is_main_process():
        result.write(output, note)
    return result


def _checked_baseline(names: list[str], baseline: str | None, seeds: int) -> str:
    """The condition that the others are tested against. Raises `ValueError` if these make no study."""
    if not names or seeds < 1:
        raise ValueError(f"a study needs at least one condition and one seed, got {names} and {seeds}")
    if baseline is not None and baseline not in names:
        raise ValueError(f"unknown baseline {baseline!r}; choose one of {', '.join(names)}")
    if len({folder_of(name) for name in names}) < len(names):
        raise ValueError(
            f"conditions must have names that differ in letters and digits, got {', '.join(names)}"
        )
    return names[0] if baseline is None else baseline


def _read_values(of_seed: list[Path]) -> pd.DataFrame:
    """Per-query values of a condition, with their seed."""
    frames = [
        pd.read_parquet(folder / PER_QUERY).reset_index().assign(seed=seed)
        for seed, folder in enumerate(of_seed)
    ]
    return pd.concat(frames, ignore_index=True)


def _claim(
    directory: OutputFolder, settings: dict[str, Any], made_of: Mapping[str, Any], again: Sequence[str]
) -> None:
    """Claim the folder of a study, to which conditions may be added."""
    path = directory.config
    there = read_config(path).get("conditions", {}) if path.exists() else {}
    here = as_written({name: identity(made) for name, made in made_of.items()})
    kept = [name for name in here if name in there and name not in again]
    found = difference(*({f"condition {name}": made[name] for name in kept} for made in (there, here)))
    if found is not None:
        raise ValueError(
            f"{directory.path} holds a different run: {found}; choose another folder for the output or delete"
            " that one"
        )
    conditions = {**there, **here}
    wait_for_everyone()  # all processes have read the file before the main process writes it
    directory.claim({**settings, **({"conditions": conditions} if conditions else {})}, free={"conditions"})


def _fill(condition: Condition, title: str, name: str, seed: int, folder: Path) -> None:
    """Run a condition and keep its per-query values, which the main process writes."""
    folder.mkdir(parents=True, exist_ok=True)
    per_query = condition(seed, folder)
    if not is_main_process():
        return
    per_query.index.name = "qid"
    per_query.to_parquet(folder / f".{PER_QUERY}")
    (folder / f".{PER_QUERY}").rename(folder / PER_QUERY)
    first = per_query.columns[0]
    logger.info(f"{title}: {name}, seed {seed}: {first} {per_query[first].mean():.3f}")


def folder_of(condition: str) -> str:
    """A condition's folder: its name, without characters that trouble a file system or a shell.

    >>> folder_of("bm25 % 50 >> runs/cross-encoder")
    'bm25-50-runs-cross-encoder'
    """
    return re.sub(r"[^\w.=+-]+", "-", condition).strip("-.") or "condition"
