"""Length-controlled win rates beside published ones: the tables of docs/evaluators.md.

    python -m benchmarks.win_rates --judgements judgements.csv.gz --published published_winrates.json

`judgements`: `model, instruction_id, preference` (1 to 2, as AlpacaEval records it), `len_model, len_reference`.
`published`: by model, `win_rate` and `length_controlled_winrate`. Sets of fewer systems are drawn by seed.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from larpo_ir.cli.engine import one_line_errors
from larpo_ir.evaluation.tables import markdown_table
from larpo_ir.tasks.win_rates import length_controlled_win_rates

SETS = 10  # largest number of sets for each number of systems


def read_judgements(path: Path) -> pd.DataFrame:
    """Judgements with the columns and the scale of `length_controlled_win_rates`."""
    frame = pd.read_csv(path).rename(columns={"len_model": "length", "len_reference": "reference_length"})
    return frame.assign(preference=frame["preference"] - 1)


def error(judgements: pd.DataFrame, published: pd.Series[float], models: tuple[str, ...]) -> float:
    """Mean absolute difference from the published rates, in points, of systems that are judged together."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a single system is tried on purpose
        rates = length_controlled_win_rates(judgements[judgements["model"].isin(models)])
    return float((rates["length_controlled_win_rate"] - published[rates.index]).abs().mean())


def rows(judgements: pd.DataFrame, published: pd.Series[float], seed: int = 0) -> Iterator[dict[str, Any]]:
    """Errors by the number of systems that are judged together."""
    models = list(judgements["model"].unique())
    for size in range(len(models), 0, -1):
        sets = list(combinations(models, size))
        chosen = np.random.default_rng(seed).permutation(len(sets))[:SETS]
        errors = [error(judgements, published, sets[place]) for place in chosen]
        yield {
            "judged together": size,
            "sets": len(errors),
            "mean absolute error": f"{np.mean(errors):.2f}",
            "worst set": f"{max(errors):.2f}",
        }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.win_rates", description=__doc__)
    parser.add_argument("--judgements", type=Path, required=True)
    parser.add_argument("--published", type=Path, required=True)
    options = parser.parse_args()
    with one_line_errors():
        judgements = read_judgements(options.judgements)
        published = pd.DataFrame(json.loads(options.published.read_text())).T
        table = length_controlled_win_rates(judgements).join(published["length_controlled_winrate"])
        gap = (table["win_rate"] - published["win_rate"]).abs().max()
        order = spearmanr(table["length_controlled_win_rate"], table["length_controlled_winrate"]).statistic
        shown = table[["win_rate", "length_controlled_win_rate", "length_controlled_winrate"]].sort_values(
            "win_rate"
        )
        shown.columns = pd.Index(["win rate", "length-controlled", "published"])
        print(markdown_table(shown.map(lambda value: f"{value:.1f}").reset_index()))
        print(f"win rates differ from the published ones by at most {gap:.1e}; Spearman {order:.3f}\n")
        print(markdown_table(pd.DataFrame(rows(judgements, published["length_controlled_winrate"]))), end="")


if __name__ == "__main__":
    main()
