"""The studies of retrievers on NQ: loss, negatives, list size, memory. One encoder to start from, three seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.pool import Memory
from larpo_ir.evaluation.studies import Condition, Study, study
from larpo_ir.evaluation.tables import count
from larpo_ir.provenance.identity import identity
from retrieval_bridge.cli.commands import COMPARED_ON
from retrieval_bridge.studies.losses import (
    START,
    Experiment,
    compare_losses,
    digest_of_candidates,
    lists_per_seed,
)
from retrieval_bridge.training.iterate import IterativeConfig, align_retriever
from retrieval_bridge.training.lists import ListConfig
from retrieval_bridge.training.mining import LADDER, Negatives

# What every study starts from and shares: a weak encoder, so that there is something to learn.
ENCODER = "static-minilm"
LOSSES = ("pairwise", "contrastive", "lambdarank", "listmle", "lambda_ndcg")
STUDIED = "contrastive"  # the loss of the studies that compare something else than losses
LISTS = COMPARED_ON
LIST_SIZES = (2, 4, 8, 16)
MEMORIES: tuple[Memory, ...] = ("current", "previous", "all")
ITERATIONS = 3
LOOP: dict[str, Any] = {
    "iterations": ITERATIONS, "depth": 30, "sampler": Negatives(num_negatives=7), "loss": "lambdarank",
}  # fmt: skip


def losses(experiment: Experiment, output: Path, seeds: int) -> Study:
    """The same lists and steps, another loss."""
    return compare_losses(experiment, LOSSES, LISTS, output, seeds=seeds)


def ladder(experiment: Experiment, output: Path, seeds: int) -> Study:
    """Negatives easy to hard: random passages, other topics', BM25's, those of the encoder to start from."""
    names = {"dense": experiment.encoder.name}
    configs = {rung: replace(LISTS, sources=[names.get(rung, rung)]) for rung in LADDER}
    return _of_lists("negatives", configs, experiment, output, seeds)


def list_size(experiment: Experiment, output: Path, seeds: int) -> Study:
    """Lists of 2 to 16 passages; the same topics and steps, so that longer lists cost more."""
    configs = {
        f"{size} passages": replace(LISTS, sources=["bm25"], num_negatives=size - 1) for size in LIST_SIZES
    }
    return _of_lists("list size", configs, experiment, output, seeds)


def _of_lists(
    title: str, configs: dict[str, ListConfig], experiment: Experiment, output: Path, seeds: int
) -> Study:
    conditions, made_of = {START: experiment.start()}, {}
    for name, config in configs.items():
        candidates = config.candidates(experiment.collection, experiment.passages, experiment.train)
        conditions[name] = experiment.trained(lists_per_seed(candidates, config), STUDIED)
        made_of[name] = digest_of_candidates(candidates)
    settings = experiment.settings(
        lists={name: config.settings() for name, config in configs.items()}, loss=STUDIED
    )
    topics = f"{len(experiment.topics)} topics of {experiment.split}"
    note = f"{STUDIED} loss, {count(seeds, 'seed')}, measured on {topics}.\n"
    return study(
        title, conditions, output, seeds=seeds, baseline=START, fixed=[START], settings=settings, made_of=made_of,
        note=note,
    )  # fmt: skip


def memory(experiment: Experiment, output: Path, seeds: int) -> Study:
    """LarPO's loop: whose candidates a training sees; each iteration mines with the encoder of the one before."""
    training = {**experiment.training, "num_train_epochs": 1, "disable_tqdm": True, "logging_strategy": "no"}

    def of(remembered: Memory) -> Condition:
        def condition(seed: int, folder: Path) -> pd.DataFrame:
            config = IterativeConfig(
                output_dir=str(folder / "run"), memory=remembered, **LOOP,
                temperature=experiment.temperature, training=training, measures=list(experiment.measures),
                seed=seed,
            )  # fmt: skip
            result = align_retriever(
                experiment.encoder,
                experiment.collection,
                config,
                train=experiment.train,
                evaluate=experiment.split,
            )
            return result.per_query[-1]

        return condition

    conditions: dict[str, Condition] = {START: experiment.start()}
    conditions |= {str(remembered): of(remembered) for remembered in MEMORIES}
    note = (
        f"LambdaRank on the implicit reward, {ITERATIONS} iterations of one epoch, {count(seeds, 'seed')}.\n"
    )
    return study(
        "memory", conditions, output, seeds=seeds, baseline=START, fixed=[START],
        settings=experiment.settings(loop=identity(LOOP)), note=note,
    )  # fmt: skip


STUDIES: dict[str, Callable[[Experiment, Path, int], Study]] = {
    "losses": losses,
    "ladder": ladder,
    "list_size": list_size,
    "memory": memory,
}
