"""The studies of retrievers on NQ: loss, negatives, list size, memory. One encoder to start from, three seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.pool import MEMORIES, Memory
from larpo_ir.evaluation.studies import Condition, Study, study
from larpo_ir.evaluation.tables import count
from larpo_ir.provenance.identity import identity
from retrieval_bridge.studies.defaults import COMPARED_ON
from retrieval_bridge.studies.losses import compare_losses
from retrieval_bridge.studies.training_setup import START, TrainingSetup, digest_of_candidates, lists_per_seed
from retrieval_bridge.training.config import IterativeConfig
from retrieval_bridge.training.iterate import align_retriever
from retrieval_bridge.training.lists import ListConfig
from retrieval_bridge.training.mining import LADDER
from retrieval_bridge.training.negatives import Negatives

# Every study starts from a weak encoder, so that there is something to learn.
ENCODER = "static-minilm"
LOSSES = ("pairwise", "contrastive", "lambdarank", "listmle", "lambda_ndcg")
STUDIED = "contrastive"  # the loss of all studies that do not compare losses
LISTS = COMPARED_ON
LIST_SIZES = (2, 4, 8, 16)
ITERATIONS = 3
LOOP: dict[str, Any] = {
    "iterations": ITERATIONS, "depth": 30, "sampler": Negatives(num_negatives=7), "loss": "lambdarank",
}  # fmt: skip


def losses(setup: TrainingSetup, output: Path, seeds: int) -> Study:
    """Compare losses on the same lists and steps."""
    return compare_losses(setup, LOSSES, LISTS, output, seeds=seeds)


def ladder(setup: TrainingSetup, output: Path, seeds: int) -> Study:
    """Compare negatives, easy to hard: random, of other topics, of BM25, of the encoder to start from."""
    names = {"dense": setup.encoder.name}
    configs = {rung: replace(LISTS, sources=[names.get(rung, rung)]) for rung in LADDER}
    return _of_lists("negatives", configs, setup, output, seeds)


def list_size(setup: TrainingSetup, output: Path, seeds: int) -> Study:
    """Compare lists of 2 to 16 passages, with the same topics and steps, so that longer lists cost more."""
    configs = {
        f"{size} passages": replace(LISTS, sources=["bm25"], num_negatives=size - 1) for size in LIST_SIZES
    }
    return _of_lists("list size", configs, setup, output, seeds)


def _of_lists(
    title: str, configs: dict[str, ListConfig], setup: TrainingSetup, output: Path, seeds: int
) -> Study:
    conditions, made_of = {START: setup.start()}, {}
    for name, config in configs.items():
        candidates = config.candidates(setup.collection, setup.passages, setup.train)
        conditions[name] = setup.trained(lists_per_seed(candidates, config), STUDIED)
        made_of[name] = digest_of_candidates(candidates)
    settings = setup.settings(
        lists={name: config.settings() for name, config in configs.items()}, loss=STUDIED
    )
    topics = f"{len(setup.topics)} topics of {setup.split}"
    note = f"{STUDIED} loss, {count(seeds, 'seed')}, measured on {topics}.\n"
    return study(
        title, conditions, output, seeds=seeds, baseline=START, fixed=[START], settings=settings, made_of=made_of,
        note=note,
    )  # fmt: skip


def memory(setup: TrainingSetup, output: Path, seeds: int) -> Study:
    """Compare memories in LarPO's loop, where each iteration mines with the encoder of the one before."""
    training = {**setup.training, "num_train_epochs": 1, "disable_tqdm": True, "logging_strategy": "no"}

    def of(remembered: Memory) -> Condition:
        def condition(seed: int, folder: Path) -> pd.DataFrame:
            config = IterativeConfig(
                output_dir=str(folder / "run"), memory=remembered, **LOOP,
                temperature=setup.temperature, training=training, measures=list(setup.measures),
                seed=seed,
            )  # fmt: skip
            result = align_retriever(
                setup.encoder,
                setup.collection,
                config,
                train=setup.train,
                evaluate=setup.split,
            )
            return result.per_query[-1]

        return condition

    conditions: dict[str, Condition] = {START: setup.start()}
    conditions |= {str(remembered): of(remembered) for remembered in MEMORIES}
    note = (
        f"LambdaRank on the implicit reward, {ITERATIONS} iterations of one epoch, {count(seeds, 'seed')}.\n"
    )
    return study(
        "memory", conditions, output, seeds=seeds, baseline=START, fixed=[START],
        settings=setup.settings(loop=identity(LOOP)), note=note,
    )  # fmt: skip


STUDIES: dict[str, Callable[[TrainingSetup, Path, int], Study]] = {
    "losses": losses,
    "ladder": ladder,
    "list_size": list_size,
    "memory": memory,
}
