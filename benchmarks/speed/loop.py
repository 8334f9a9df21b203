"""Cost of the loop itself: time of a run outside of generate, rerank, train and evaluate."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.speed.measure import Row
from larpo_ir.alignment.loop import align
from larpo_ir.cli.quickstart import QuickstartConfig, parts, problems, settings
from larpo_ir.tasks import arithmetic


def overhead(repetitions: int) -> Iterator[Row]:
    """One objective of the quickstart, two iterations, its own sizes, a policy trained for a short while."""
    config = QuickstartConfig(iterations=2, num_demonstrations=4_000)
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        arithmetic.sft_policy(directory / "sft", num_demonstrations=config.num_demonstrations)
        start = time.perf_counter()
        result = align(
            *parts(config, 0, directory),
            settings(config, 0, directory / "run", "larpo_lambdarank"),
            eval_prompts=problems(config, 0, held_out=True),
        )
        total = time.perf_counter() - start
    spent = sum(sum(row["seconds"].values()) for row in result.summary["iterations"])
    yield Row(
        "loop of the quickstart, LambdaRank, 2 iterations: time outside its four phases", "the whole run", "s",
        total - spent, total, (total - spent) / total, None, target=0.05, at_most=True,
    )  # fmt: skip
