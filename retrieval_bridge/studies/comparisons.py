"""The subcommands `evaluate` and `compare` of `retrieval-bridge`: systems and losses side by side."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.results import rank_results
from larpo_ir.data.trec import read_results, write_run
from larpo_ir.evaluation.measures import evaluate_per_query
from larpo_ir.evaluation.studies import study
from larpo_ir.evaluation.tables import markdown_table
from retrieval_bridge.collections.formats import Collection, load_collection
from retrieval_bridge.retrieval.encoders import Encoder
from retrieval_bridge.retrieval.measures import MEASURES, check_measures, depth_of, digest_of
from retrieval_bridge.retrieval.passages import Passages, passages_of
from retrieval_bridge.retrieval.systems import made_of, system
from retrieval_bridge.studies.losses import Experiment
from retrieval_bridge.studies.losses import compare_losses as run_comparison
from retrieval_bridge.training.lists import ListConfig

# The comparison of losses, as docs/nq.md has it: from the weak encoder static-minilm.
WEAK = "static-minilm"
COMPARED_ON = ListConfig(sources=["bm25", "random"])
TRAINING = {"num_train_epochs": 3, "learning_rate": 2e-3}


def evaluate(
    collection: str,
    split: str | None = None,
    systems: list[str] | None = None,
    runs: list[str] | None = None,
    measures: list[str] | None = None,
    index: str | None = None,
    output: str = "runs/evaluate",
    options: dict[str, dict[str, Any]] | None = None,
) -> None:
    """Evaluate systems or TREC runs on a collection, with 95 % intervals and tests against the first.

    Args:
        collection: a folder or an ir_datasets id
        split: which of its topics
        systems: what to evaluate: bm25 (the default), pyserini, an encoder, or a pipeline like "bm25 % 100 >> FOLDER"
        runs: TREC runs to evaluate
        measures: names as ir_measures knows them
        index: root folder of the indexes, made there unless they are
        output: where runs, per-query values, table and figure go; systems without files of their own (bm25, minilm)
            that are there already are not measured again
        options: of each system, by its name
    """
    loaded = load_collection(collection)
    topics, qrels = loaded.topics(split), loaded.qrels(split)
    names = check_measures(measures or MEASURES)
    conditions = {}
    for name in systems or ([] if runs else ["bm25"]):
        conditions[name] = system_condition(
            name, loaded, topics, qrels, names, index, (options or {}).get(name)
        )
    for path in runs or []:
        name = path if Path(path).stem in conditions else Path(path).stem
        conditions[name] = _run_condition(path, topics, qrels, names)
    settings = {
        "passages": passages_of(loaded, index).fingerprint, "topics": digest_of(loaded, split), "split": split,
        "measures": names, "options": options,
    }  # fmt: skip
    # what lies in folders and files may have changed since it was measured
    changeable = [name for name in conditions if any(Path(part.split("%")[0].strip()).exists() for part in
                                                     name.split(">>"))]  # fmt: skip
    again = [*changeable, *(name for name in conditions if name not in (systems or ["bm25"]))]
    of_systems = {name: made_of(name) for name in systems or ([] if runs else ["bm25"]) if name not in again}
    result = study("system", conditions, output, seeds=1, settings=settings, made_of=of_systems, again=again)
    print(markdown_table(result.table()), end="")
    print(f"written: {output}/table.md, summary.csv, significance.csv, figure.png")


def compare(
    collection: str,
    losses: list[str],
    lists: ListConfig = COMPARED_ON,
    encoder: str = WEAK,
    seeds: int = 3,
    temperature: float = 0.05,
    train: str = "train",
    split: str = "dev",
    reference: str | None = None,
    index: str | None = None,
    measures: list[str] | None = None,
    training: dict[str, Any] | None = None,
    output: str = "runs/losses",
) -> None:
    """Compare ranking losses: the same encoder to start from, the same lists, the same steps.

    Args:
        collection: a folder or an ir_datasets id
        losses: names that larpo-ir losses prints
        lists: what is mined, left out and graded
        encoder: where to start; one with head-room shows differences
        seeds: so many, from 0
        temperature: τ in s = sim/τ
        train: split to learn from
        split: split to measure on
        reference: start: train LarPO's implicit reward against the encoder to start from
        index: root folder of the indexes, made there unless they are
        measures: names as ir_measures knows them
        training: arguments of SentenceTransformerTrainingArguments; by default 3 epochs at 2e-3, for static-minilm
        output: where runs, per-query values, tables and figure go; what is there already is not trained again
    """
    loaded = load_collection(collection)
    if training is None:
        if encoder != WEAK:
            raise ValueError(f"give --training for {encoder}; the defaults, {TRAINING}, are {WEAK}'s")
        training = TRAINING
    experiment = Experiment(
        loaded, passages_of(loaded, index), Encoder(encoder), train, split, temperature, training,
        check_measures(measures or MEASURES),
    )  # fmt: skip
    options = {} if reference is None else {"reference": reference}
    result = run_comparison(experiment, losses, lists, output, seeds=seeds, path=index, **options)
    print(markdown_table(result.table()), end="")
    print(
        f"written: {output}/table.md, summary.csv, significance.csv, experiment.csv, figure.png, LOSS/seed-S/run.trec"
    )


def system_condition(
    name: str,
    collection: Collection,
    topics: pd.DataFrame,
    qrels: pd.DataFrame,
    measures: Sequence[str],
    index: str | None,
    options: dict[str, Any] | None,
) -> Any:
    def condition(seed: int, folder: Path) -> pd.DataFrame:
        passages: Passages = passages_of(collection, index)
        results = (system(name, passages, index, options) % depth_of(measures)).transform(topics)
        write_run(results, folder / "run.trec", tag_of(name))
        return evaluate_per_query(results, qrels, measures)

    return condition


def _run_condition(path: str, topics: pd.DataFrame, qrels: pd.DataFrame, measures: Sequence[str]) -> Any:
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


def tag_of(name: str) -> str:
    return "".join(character if character.isalnum() else "-" for character in Path(name).name) or "run"
