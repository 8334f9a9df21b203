"""Systems and TREC runs side by side."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.results import rank_results
from larpo_ir.data.trec import read_results, write_run
from larpo_ir.evaluation.measures import evaluate_per_query
from larpo_ir.evaluation.studies import Condition, Study, study
from retrieval_bridge.collections.collection import Collection, digest_of
from retrieval_bridge.retrieval.collection_passages import passages_of
from retrieval_bridge.retrieval.measures import MEASURES, check_measures, depth_of
from retrieval_bridge.retrieval.systems import made_of, reads_files, system, tag_of


def compare_systems(
    collection: Collection,
    systems: Sequence[str],
    runs: Sequence[str],
    output: str | os.PathLike[str],
    *,
    split: str | None = None,
    measures: Sequence[str] = MEASURES,
    index: str | None = None,
    options: Mapping[str, dict[str, Any]] | None = None,
) -> Study:
    """A study of systems (`retrieval_bridge.retrieval.systems`) and TREC runs, tested against the first.

    Systems of no files that are in `output` already are not measured again. Files and folders may have changed since
    they were measured, so that runs, and systems that read files, are.
    """
    topics, qrels = collection.topics(split), collection.qrels(split)
    names = check_measures(measures)
    conditions: dict[str, Condition] = {
        name: system_condition(name, collection, topics, qrels, names, index, (options or {}).get(name))
        for name in systems
    }
    for path in runs:
        name = path if Path(path).stem in conditions else Path(path).stem
        conditions[name] = _run_condition(path, topics, qrels, names)
    settings = {
        "passages": passages_of(collection, index).fingerprint, "topics": digest_of(collection, split),
        "split": split, "measures": names, "options": options,
    }  # fmt: skip
    again = [name for name in conditions if name not in systems or reads_files(name)]
    of_systems = {name: made_of(name) for name in systems if name not in again}
    return study("system", conditions, output, seeds=1, settings=settings, made_of=of_systems, again=again)


def system_condition(
    name: str,
    collection: Collection,
    topics: pd.DataFrame,
    qrels: pd.DataFrame,
    measures: Sequence[str],
    index: str | None,
    options: dict[str, Any] | None,
) -> Condition:
    """A condition that searches with a system, writes its run and measures it."""

    def condition(seed: int, folder: Path) -> pd.DataFrame:
        passages = passages_of(collection, index)
        results = (system(name, passages, index, options) % depth_of(measures)).transform(topics)
        write_run(results, folder / "run.trec", tag_of(name))
        return evaluate_per_query(results, qrels, measures)

    return condition


def _run_condition(
    path: str, topics: pd.DataFrame, qrels: pd.DataFrame, measures: Sequence[str]
) -> Condition:
    def condition(seed: int, folder: Path) -> pd.DataFrame:
        results = known_results(read_results(path), topics, path)
        shutil.copy(path, folder / "run.trec")
        return evaluate_per_query(results, qrels, measures)

    return condition


def known_results(results: pd.DataFrame, topics: pd.DataFrame, path: str) -> pd.DataFrame:
    """Results, ranked, whose queries are all among the topics."""
    unknown = sorted(set(results["qid"]) - set(topics["qid"]))
    if unknown:
        raise ValueError(
            f"{path}: {len(unknown)} query ids, such as {unknown[0]!r}, are not among the {len(topics)} topics; name "
            "the split that was searched"
        )
    return rank_results(results)
