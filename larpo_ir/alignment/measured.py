"""Measures of a policy as files: its row of the summary, with intervals, and per-prompt values."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd

from larpo_ir.alignment.heldout import HeldOut
from larpo_ir.data.files import write_atomically
from larpo_ir.data.frame_files import write_frame
from larpo_ir.evaluation.significance import summarise
from larpo_ir.provenance.run_directory import CHANGING, RunDirectory

# Measures that every row of the summary has, null if they could not be measured.
ALWAYS = ("greedy_accuracy", "pass@1", "pass@8", "pass@16", "reward_mean", "nDCG@10")


def intervals_of(per_query: pd.DataFrame) -> pd.DataFrame:
    """`mean, low, high, num_queries` of every measure; without any measure an empty frame with the column `mean`."""
    return summarise(per_query) if len(per_query.columns) else pd.DataFrame(columns=["mean"])


def summary_row(
    iteration: int, intervals: pd.DataFrame, num_lists: int, seconds: dict[str, float]
) -> dict[str, Any]:
    """The row of an iteration in summary.json. `num_lists`: number of training lists of the policy."""
    means = intervals["mean"].to_dict()
    return json_ready(
        {
            "iteration": iteration,
            **{name: means.get(name) for name in ALWAYS},
            "num_lists": num_lists,
            "best_logprob_mean": means.get("best_logprob"),
            "seconds": seconds,
            **{name: value for name, value in means.items() if name not in (*ALWAYS, "best_logprob")},
        }
    )


def write_measures(
    directory: RunDirectory,
    iteration: int,
    row: dict[str, Any],
    intervals: pd.DataFrame,
    per_query: pd.DataFrame,
    policy: str,
    held_out: HeldOut | None,
) -> None:
    """Write the frames of an iteration and then measures.json, with which the iteration is complete.

    `policy`: the fingerprint of the weights. `held_out`: None where the policy was not measured.
    """
    frames = {"per_query": per_query}
    if held_out is not None:
        frames |= {"held_out_samples": held_out.samples, "held_out_greedy": held_out.greedy}
        if held_out.lists is not None and len(held_out.lists):
            frames["fixed_lists"] = held_out.lists[CHANGING] if iteration else held_out.lists
    for name, frame in frames.items():
        if len(frame) or name == "per_query":
            write_frame(frame, directory.frame_file(iteration, name))
    content = {
        "policy": policy,
        "row": row,
        "intervals": {name: json_ready(values) for name, values in intervals.T.to_dict().items()},
    }
    write_atomically(directory.measures(iteration), json.dumps(content, indent=2) + "\n")


def in_words(row: dict[str, Any]) -> str:
    """The measures of a row that are known, for the terminal."""
    known = {name: row[name] for name in (*ALWAYS, "best_logprob_mean") if row[name] is not None}
    return ", ".join(f"{name} {value:.3f}" for name, value in known.items())


def json_ready(values: dict[str, Any]) -> dict[str, Any]:
    """Values with NaN as null, because summary.json is strict JSON."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }
