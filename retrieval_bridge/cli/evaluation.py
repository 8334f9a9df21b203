"""The commands `evaluate` and `compare`. Their options are the arguments of these functions."""

from __future__ import annotations

from typing import Any

from retrieval_bridge.studies.defaults import COMPARED_ON, TRAINING, WEAK
from retrieval_bridge.training.lists import ListConfig


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
        systems: bm25 (the default), pyserini, an encoder, or a pipeline like "bm25 % 100 >> FOLDER"
        runs: TREC runs to evaluate
        measures: names as ir_measures knows them
        index: root folder of the indexes, made there unless they are
        output: folder of runs, per-query values, table and figure; systems without files of their own (bm25, minilm)
            that are there already are not measured again
        options: of each system, by its name
    """
    from larpo_ir.evaluation.tables import markdown_table
    from retrieval_bridge.collections import load_collection
    from retrieval_bridge.retrieval.measures import MEASURES
    from retrieval_bridge.studies.systems import compare_systems

    result = compare_systems(
        load_collection(collection),
        systems or ([] if runs else ["bm25"]),
        runs or [],
        output,
        split=split,
        measures=measures or MEASURES,
        index=index,
        options=options,
    )
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
        lists: how lists are mined, filtered, graded and chosen
        encoder: the start of every training; an encoder with head-room shows differences
        seeds: so many, from 0
        temperature: τ in s = sim/τ
        train: split to learn from
        split: split to measure on
        reference: start: train LarPO's implicit reward against the encoder to start from
        index: root folder of the indexes, made there unless they are
        measures: names as ir_measures knows them
        training: arguments of SentenceTransformerTrainingArguments; by default 3 epochs at 2e-3, for static-minilm
        output: folder of runs, per-query values, tables and figure; conditions that are there are not trained again
    """
    from larpo_ir.evaluation.tables import markdown_table
    from retrieval_bridge.collections import load_collection
    from retrieval_bridge.retrieval.collection_passages import passages_of
    from retrieval_bridge.retrieval.encoders import Encoder
    from retrieval_bridge.retrieval.measures import MEASURES, check_measures
    from retrieval_bridge.studies.losses import compare_losses
    from retrieval_bridge.studies.training_setup import TrainingSetup

    loaded = load_collection(collection)
    if training is None:
        if encoder != WEAK:
            raise ValueError(f"give --training for {encoder}; the defaults, {TRAINING}, are {WEAK}'s")
        training = TRAINING
    setup = TrainingSetup(
        loaded, passages_of(loaded, index), Encoder(encoder), train, split, temperature, training,
        check_measures(measures or MEASURES),
    )  # fmt: skip
    options = {} if reference is None else {"reference": reference}
    result = compare_losses(setup, losses, lists, output, seeds=seeds, path=index, **options)
    print(markdown_table(result.table()), end="")
    print(
        f"written: {output}/table.md, summary.csv, significance.csv, experiment.csv, figure.png, LOSS/seed-S/run.trec"
    )
