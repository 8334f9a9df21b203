"""Prompts of the experiments by the name of their source: `qid, query`, and `gold` if a rule checks answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pandas as pd


class HubData(NamedTuple):
    """A data set of the hub: its path, splits and columns."""

    path: str
    train: str
    held_out: str | None
    query: str
    gold: str | None = None
    subset: str | None = None


HUB = {
    "ultrafeedback": HubData("HuggingFaceH4/ultrafeedback_binarized", "train_prefs", "test_prefs", "prompt"),
    "gsm8k": HubData("openai/gsm8k", "train", "test", "question", "answer", "main"),
    "metamath": HubData("meta-math/MetaMathQA", "train", None, "query", "response"),
    "math": HubData("DigitalLearningGmbH/MATH-lighteval", "train", "test", "problem", "solution"),
}


def _arithmetic(num: int, seed: int, held_out: bool) -> pd.DataFrame:
    from larpo_ir.tasks import arithmetic

    return arithmetic.topics(num, seed=seed, held_out=held_out)


SOURCES: dict[str, Callable[[int, int, bool], pd.DataFrame]] = {"arithmetic": _arithmetic}


def solutions_of(source: str, num: int | None, seed: int) -> tuple[list[str], list[str]]:
    """Training prompts and right solutions to learn from; `ValueError` for a source without solutions."""
    if source == "arithmetic":
        from larpo_ir.tasks.arithmetic import make_problems, solution

        problems = make_problems(num or 0, seed)
        return [problem.query for problem in problems], [solution(problem) for problem in problems]
    if source not in HUB or HUB[source].gold is None:
        known = ["arithmetic", *(name for name, data in HUB.items() if data.gold is not None)]
        raise ValueError(f"no solutions in {source!r}; choose one of {', '.join(known)}")
    frame = _from_hub(HUB[source], num, seed, held_out=False)
    return list(frame["query"]), list(frame["gold"])


def topics_of(source: str, num: int | None, seed: int, *, held_out: bool) -> pd.DataFrame:
    """`num` topics of a source (None: all), drawn by seed; `ValueError` for an unknown source."""
    if source in SOURCES:
        return SOURCES[source](num or 0, seed, held_out)
    if source not in HUB:
        raise ValueError(f"unknown source {source!r}; choose one of {', '.join([*SOURCES, *HUB])}")
    return _from_hub(HUB[source], num, seed, held_out)


def _from_hub(data: HubData, num: int | None, seed: int, held_out: bool) -> pd.DataFrame:
    from datasets import load_dataset

    split = data.held_out if held_out else data.train
    if split is None:
        raise ValueError(f"{data.path} has no held-out part")
    rows: Any = load_dataset(data.path, data.subset, split=split)
    if num is not None and num < len(rows):
        rows = rows.shuffle(seed=seed).select(range(num))
    frame = pd.DataFrame({"query": rows[data.query]})
    if data.gold is not None:
        frame["gold"] = rows[data.gold]
    frame.insert(0, "qid", [f"{split}-{number}" for number in range(len(frame))])
    return frame
