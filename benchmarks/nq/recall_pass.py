"""Recall@N of retrievers beside Pass@N of a language model: the first figure of the method's paper.

    python -m benchmarks.nq.recall_pass --collection FOLDER [--output runs/nq/recall_pass] [--seed 0]

Left, retrievers on the collection's split `dev`. Right, the SFT policy of `larpo-ir quickstart` on held-out word
problems, sampled at two temperatures that were chosen on other held-out problems (`choose`).
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from larpo_ir.data.files import whole_file, write_atomically
from larpo_ir.evaluation.figures import Panel, curves_figure, save_figure
from larpo_ir.evaluation.measures import evaluate_per_query, judge
from larpo_ir.evaluation.significance import compare, holm
from larpo_ir.evaluation.tables import curve, interval, markdown_table
from larpo_ir.evaluation.workers import one_thread
from larpo_ir.provenance.run_directory import RunDirectory
from retrieval_bridge.collections.collection import Collection, digest_of
from retrieval_bridge.collections.formats import load_collection
from retrieval_bridge.retrieval.collection_passages import passages_of
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.systems import made_of

NS = (1, 2, 4, 8, 16, 32, 64)
SPLIT = "dev"
SYSTEMS = ("static-minilm", "bm25", "minilm")
TEMPERATURES = (0.3, 0.5, 0.7, 1.0, 1.3)
TRIED = {"problems": 200, "samples": 64}
"""Held-out problems on which the temperatures are chosen, and samples of each."""
REPORTED = {"problems": 400, "samples": 128}
"""Other problems, on which the chosen two are measured: enough to tell 0.995 from 0.960, the gap met at N = 64."""
BATCH_SIZE = 400

Recalls = Mapping[str, pd.DataFrame]
"""Per-query values R@N, by system."""
Passes = Mapping[float, pd.DataFrame]
"""Per-query values Pass@N, by temperature."""


def recall_pass(
    collection: Collection,
    passages: Passages,
    output: str | os.PathLike[str],
    seed: int = 0,
    index: str | os.PathLike[str] | None = None,
) -> Path:
    """Measure both halves and write picture, tables and per-query values; the path of `table.md`.

    Args:
        collection: with topics and qrels for `SPLIT`.
        passages: of that collection.
        output: folder of this study. Policy, samples and per-query values that are there are not made again.
        seed: of the SFT policy, its problems and its samples.
        index: root folder of the indexes; None: beside the passages.

    Raises `ValueError` where the folder holds the study of another collection, system or seed.
    """
    directory = RunDirectory(output)
    settings = {
        "study": "recall_pass", "passages": passages.fingerprint, "topics": digest_of(collection, SPLIT),
        "split": SPLIT, "systems": {name: made_of(name) for name in SYSTEMS},
        "temperatures": TEMPERATURES, "tried": TRIED, "reported": REPORTED, "seed": seed,
    }  # fmt: skip
    directory.claim(settings, free=set())
    recalls = {name: recall(name, collection, passages, directory.path, index) for name in SYSTEMS}
    tried, passes = language_model(directory.path, seed)
    return write(recalls, tried, passes, directory.path)


def recall(
    name: str, collection: Collection, passages: Passages, output: Path, index: str | os.PathLike[str] | None
) -> pd.DataFrame:
    """Per-query R@N of a system (`retrieval_bridge.retrieval.systems`)."""

    def search() -> pd.DataFrame:
        from retrieval_bridge.retrieval.systems import system

        results = (system(name, passages, index) % max(NS)).transform(collection.topics(SPLIT))
        return evaluate_per_query(results, collection.qrels(SPLIT), [f"R@{n}" for n in NS])

    return _kept(output / "recall" / f"{name}.parquet", search)


def language_model(output: Path, seed: int) -> tuple[Passes, Passes]:
    """Per-problem Pass@N of the SFT policy: at all temperatures on problems to choose on, at two on the others."""
    from larpo_ir.cli.quickstart import QuickstartConfig, parts, problems
    from larpo_ir.tasks import arithmetic

    def sampled(temperature: float, of: str, size: Mapping[str, int], problem_seed: int) -> pd.DataFrame:
        def sample() -> pd.DataFrame:
            config = QuickstartConfig(num_held_out=size["problems"])
            generator, verifier, _ = parts(config, seed, output)
            generator = generator.replace(
                temperature=temperature, num_candidates=size["samples"], seed=seed, batch_size=BATCH_SIZE
            )
            samples = (generator >> verifier).transform(problems(config, problem_seed, held_out=True))
            return samples[["qid", "query", "docno", "text", "score", "rank", "logprob", "temperature"]]

        samples = _kept(output / "samples" / f"{of}-T={temperature}.parquet", sample)
        return evaluate_per_query(samples, judge(samples), [f"Pass@{n}" for n in NS])

    with one_thread():
        arithmetic.sft_policy(output / "sft", seed=seed)
        tried = {t: sampled(t, "tried", TRIED, seed + 1) for t in TEMPERATURES}
        return tried, {t: sampled(t, "reported", REPORTED, seed) for t in choose(tried)}


def _kept(path: Path, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """The frame in a Parquet file, which is made first unless it is there."""
    if not path.exists():
        frame = make()
        with whole_file(path) as writing:
            frame.to_parquet(writing)
    return pd.read_parquet(path)


def choose(tried: Passes) -> tuple[float, float]:
    """The temperature best at the smallest N, and of the higher ones that best at the largest; of equals the lower.

    >>> early = pd.DataFrame({"Pass@1": [0.4], "Pass@8": [0.6]})
    >>> late = pd.DataFrame({"Pass@1": [0.2], "Pass@8": [0.9]})
    >>> choose({0.3: early, 1.0: late, 1.3: late})
    (0.3, 1.0)
    """
    temperatures = sorted(tried)
    cool = max(temperatures[:-1], key=lambda t: tried[t].iloc[:, 0].mean())
    hot = max((t for t in temperatures if t > cool), key=lambda t: tried[t].iloc[:, -1].mean())
    return cool, hot


# --- crossing -----------------------------------------------------------------------------------------------


def crossing(lead: ArrayLike, ns: Sequence[int]) -> float:
    """The N from which on the second of two curves is ahead, when the first is at the smallest N; otherwise NaN.

    `lead`: second minus first at each of `ns`, ascending; between them it is linear in log N. If the order
    changes more than once, the last change counts.

    >>> crossing([-0.1, 0.1], [1, 4]), crossing([-0.1, -0.2, 0.2], [1, 4, 16]), crossing([0.1, 0.2], [1, 4])
    (2.0, 8.0, nan)
    """
    lead = np.asarray(lead, dtype=float)
    if lead[0] >= 0 or lead[-1] <= 0:
        return math.nan
    last = int(np.flatnonzero(lead <= 0)[-1])
    share = -lead[last] / (lead[last + 1] - lead[last])
    return float(ns[last] * (ns[last + 1] / ns[last]) ** share)


@dataclass(frozen=True)
class Crossing:
    """The N at which two mean curves cross (`at`, NaN: nowhere), and its spread over resamples of the queries.

    `share` of the resamples cross; `low` and `high` are the 2.5 % and 97.5 % quantiles of where these do.
    """

    at: float
    low: float
    high: float
    share: float

    @classmethod
    def of(
        cls, first: pd.DataFrame, second: pd.DataFrame, seed: int = 0, num_resamples: int = 5_000
    ) -> Crossing:
        """From two frames of per-query values with the same queries and columns `measure@N`, ascending."""
        ns = [int(name.split("@")[1]) for name in first]
        leads = (second.loc[first.index, first.columns] - first).to_numpy()
        rng = np.random.default_rng(seed)
        weights = rng.multinomial(len(leads), np.full(len(leads), 1 / len(leads)), size=num_resamples)
        found = np.array([crossing(lead, ns) for lead in weights @ leads / len(leads)])
        found = found[~np.isnan(found)]
        low, high = np.quantile(found, [0.025, 0.975]) if found.size else (math.nan, math.nan)
        return cls(crossing(leads.mean(axis=0), ns), float(low), float(high), found.size / num_resamples)


def ends(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Paired tests (`larpo_ir.evaluation.significance.compare`) at the smallest and largest N; `p_holm` over both."""
    columns = [first.columns[0], first.columns[-1]]
    tests = compare(first[columns], second[columns])
    return tests.assign(p_holm=holm(tests["p_value"]))


# --- what is written ----------------------------------------------------------------------------------------


def write(recalls: Recalls, tried: Passes, passes: Passes, output: Path) -> Path:
    """All files of the study from per-query values: `recall_pass.png`, `recall.csv`, `pass.csv`, `tried.csv`,
    `significance.csv`, `recall_per_query.parquet`, `pass_per_query.parquet`, and `table.md`, whose path it returns.

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
    """From where to where each system's Recall@N rises."""
    ranges = [
        f"{name} from {points['mean'].iloc[0]:.3f} to {points['mean'].iloc[-1]:.3f}"
        for name, points in curves.items()
    ]
    ns = next(iter(curves.values())).index
    return f"From N = {ns[0]} to {ns[-1]}, Recall@N rises: {', '.join(ranges)}."


def pass_sentence(cool: float, hot: float, tests: pd.DataFrame, where: Crossing) -> str:
    """Whether the curves of the two temperatures cross, and how sure that is."""
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
    """One frame of several, which of them as the column `name` beside their index."""
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


def main() -> None:
    """Entry point of `python -m benchmarks.nq.recall_pass`."""
    from larpo_ir.cli.engine import one_line_errors
    from larpo_ir.data.console import plain_output

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.nq.recall_pass", description=recall_pass.__doc__
    )
    parser.add_argument("--collection", required=True, help="folder or ir_datasets id, with a split dev")
    parser.add_argument("--output", type=Path, default=Path("runs/nq/recall_pass"))
    parser.add_argument("--index", type=Path, default=Path("runs/nq/index"), help="passages and indexes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    plain_output()
    with one_line_errors():
        collection = load_collection(options.collection)
        passages = passages_of(collection, options.index)
        path = recall_pass(collection, passages, options.output, options.seed, options.index)
    print(f"written: {path}, {path.with_name('recall_pass.png')}")


if __name__ == "__main__":
    main()
