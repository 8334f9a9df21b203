"""Inference strategies as retrieval pipelines: greedy, Best-of-N, majority voting, iterative refinement."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.paper.claims import Claim
from benchmarks.paper.setup import Setup
from benchmarks.paper.study import Measurements


def greedy(generator: Any, reward: Any, n: int) -> Any:
    return generator.replace(temperature=0.0, num_candidates=1)


def best(generator: Any, reward: Any, n: int) -> Any:
    return generator % n >> reward


def majority(generator: Any, reward: Any, n: int) -> Any:
    from larpo_ir.rewards import MajorityVote

    return generator % n >> MajorityVote()


def likeliest(generator: Any, reward: Any, n: int) -> Any:
    from larpo_ir.rewards import LogProb

    return generator % n >> LogProb()


def refined(generator: Any, reward: Any, n: int) -> Any:
    from larpo_ir.rewards import Refine

    return Refine(greedy(generator, reward, n), steps=1)


def answered(pipeline: Callable[[Any, Any, int], Any], setup: Setup, seed: int, folder: Path) -> pd.DataFrame:
    """Reward of a pipeline's first response (1 if it is right) for each held-out problem."""
    generator, reward = setup.parts(seed)
    n = setup.sampling["num_samples"]
    generator = generator.replace(temperature=setup.sampling["temperature"], num_candidates=n)
    results = pipeline(generator, reward, n).transform(setup.held_out)
    first = results.sort_values("rank", kind="stable").drop_duplicates("qid")
    judged = reward.transform(first).set_index("qid")["score"]
    return judged.reindex(setup.held_out["qid"]).fillna(0.0).to_frame("correct")


STUDY = Measurements(
    name="inference",
    title="strategy",
    heading="Inference strategies",
    what="Retrieval pipelines over the policy before alignment: greedy is the retriever alone; the others rerank 8 "
    "samples, by the verifier (Best-of-N with a perfect reward model), by majority, by likelihood; refinement puts "
    "the greedy answer back into the query. The policy here has never seen a draft in a prompt.",
    measured={
        "greedy": partial(answered, greedy),
        "best of 8": partial(answered, best),
        "majority of 8": partial(answered, majority),
        "most likely of 8": partial(answered, likeliest),
        "greedy, refined once": partial(answered, refined),
    },
    claims=(
        Claim("reranking by the reward (Best-of-N) beats greedy", ("best of 8",), ("greedy",)),
        Claim("reranking by majority beats greedy", ("majority of 8",), ("greedy",)),
        Claim("refinement beats greedy", ("greedy, refined once",), ("greedy",)),
    ),
)
