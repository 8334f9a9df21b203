"""Candidates of an iteration: draw prompts, sample responses from the policy and rank them by the reward."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from larpo_ir.alignment.config import AlignConfig
from larpo_ir.alignment.phases import Stopwatch
from larpo_ir.data.pool import CandidatePool
from larpo_ir.models.distributed import is_main_process, shared_transform
from larpo_ir.provenance.run_directory import RunDirectory

if TYPE_CHECKING:
    import pyterrier as pt

    from larpo_ir.models.generators import Generator

SAVE_EVERY_SECONDS = 60.0
BATCHES_PER_CHUNK = 8  # batches of the generator between two rerankings


def prompts_of(topics: pd.DataFrame, config: AlignConfig, iteration: int) -> pd.DataFrame:
    """Topics of an iteration: all of them, or `prompts_per_iteration`.

    Topics are drawn without replacement until all were used. Then drawing starts again, in a new order.
    """
    number = config.prompts_per_iteration
    if number is None or number >= len(topics):
        return topics
    rounds = -(-(iteration + 1) * number // len(topics))
    orders = [np.random.default_rng([config.seed, r]).permutation(len(topics)) for r in range(rounds)]
    chosen = np.concatenate(orders)[iteration * number : (iteration + 1) * number]
    return topics.iloc[chosen].drop_duplicates("qid").reset_index(drop=True)


def retrieve_candidates(
    topics: pd.DataFrame,
    generator: Generator,
    reward: pt.Transformer | None,
    config: AlignConfig,
    directory: RunDirectory,
    iteration: int,
    timed: Stopwatch,
    recorded: pd.DataFrame | None = None,
) -> CandidatePool:
    """Judged candidates of an iteration's topics. All samples are saved, also when an exception ends the work.

    Topics with candidates in the iteration's folder are not sampled again. `recorded` candidates replace sampling.
    """
    path, policy = directory.pool(iteration), directory.name_of(iteration)
    found = CandidatePool.load(path) if path.exists() else CandidatePool()
    if recorded is not None:
        mine = recorded[recorded["qid"].isin(topics["qid"]) & ~recorded["qid"].isin(found.frame["qid"])]
        found.add(mine.drop(columns="iteration"), iteration=iteration, policy="recorded")
    todo = topics[~topics["qid"].isin(found.frame["qid"])] if recorded is None else topics.iloc[:0]
    generator = generator.replace(
        num_candidates=config.num_candidates, temperature=config.temperature(iteration)
    )
    step = max(1, BATCHES_PER_CHUNK * generator.batch_size // generator.num_candidates)
    saved = time.perf_counter()
    try:
        for start in range(0, len(todo), step):
            chunk = todo.iloc[start : start + step]
            seeds = np.random.default_rng([config.seed, iteration, start, len(todo)])
            with timed("generate"):
                results = generator.replace(seed=int(seeds.integers(2**31))).transform(chunk)
            with timed("rerank"):
                results = shared_transform(reward, results)  # type: ignore[arg-type]
            found.add(results, iteration=iteration, policy=policy)
            if is_main_process() and time.perf_counter() - saved > SAVE_EVERY_SECONDS:
                found.save(path)
                saved = time.perf_counter()
    finally:
        if is_main_process() and len(found):
            found.save(path)
    return found
