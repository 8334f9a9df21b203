"""`larpo-ir generate` and `larpo-ir rerank`: responses sampled, and responses ranked, as files."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from larpo_ir.cli.components import AnyGenerator, Reranker

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger("larpo_ir")


def generate(
    generator: AnyGenerator,
    topics: str,
    output: str = "runs/results.parquet",
    task: str | None = None,
    examples: str | None = None,
    num_examples: int | None = None,
) -> None:
    """Sample responses to prompts from a file.

    Args:
        generator: the model and how to sample from it, e.g. --generator.model PATH --generator.num_candidates 8,
            or, behind HTTP, --generator OpenAIGenerator --generator.base_url URL --generator.model NAME
        topics: JSON Lines or Parquet with the column query (or question, instruction) or prompt (a text or a chat)
        output: where the responses go: .parquet, .jsonl, or a TREC run. A file that is there is kept, and refused
            unless it was made from the same
        task: read topics in this task's own form, e.g. gsm8k; an unknown name is answered with all of them
        examples: worked examples to show before each question, JSON Lines with question and answer (or query,
            response)
        num_examples: how many of them, the first ones; by default four, or all where there are fewer
    """
    from larpo_ir.data.topics import read_examples, read_topics
    from larpo_ir.provenance.identity import identity
    from larpo_ir.provenance.outputs import is_made, record_made
    from larpo_ir.tasks import get_task

    read = read_topics if task is None else get_task(task).read
    if examples is not None:
        generator = generator.replace(few_shot=read_examples(examples, num_examples))
    asked = read(topics)
    made_from = {
        "command": "generate",
        "generator": identity(generator),
        "topics": identity(asked),
        "first_prompt": generator.as_read(generator.prompts(asked[:1])[0], f"query {asked['qid'].iloc[0]}"),
    }
    if is_made(output, made_from, free=("first_prompt",)):
        return
    results = generator.transform(asked)
    unfinished = int((~results["finished"]).sum())
    if unfinished:
        logger.info(
            f"{unfinished} of {len(results)} responses were cut at max_new_tokens={generator.max_new_tokens}"
        )
    written = _write_results(results, output)
    record_made(output, made_from)
    print(f"{len(results)} responses to {results['qid'].nunique()} prompts: {written}")


def rerank(reward: Reranker, results: str, output: str = "runs/reranked.parquet") -> None:
    """Rank responses with a reward.

    Args:
        reward: a reranker by name or import path, e.g. RewardModel
        results: responses as larpo-ir generate wrote them, .parquet or .jsonl
        output: where the ranked responses go: .parquet, .jsonl, or a TREC run. A file that is there is kept, and
            refused unless it was made from the same
    """
    from larpo_ir.data.frame_files import with_prompts
    from larpo_ir.data.trec import read_results
    from larpo_ir.provenance.identity import identity
    from larpo_ir.provenance.outputs import is_made, record_made

    responses = with_prompts(read_results(results))
    made_from = {"command": "rerank", "reward": identity(reward), "results": identity(responses)}
    if is_made(output, made_from):
        return
    ranked = reward.transform(responses)
    written = _write_results(ranked, output)
    record_made(output, made_from)
    print(f"mean reward {ranked['score'].mean():.4f} of {len(ranked)} responses: {written}")


def _write_results(results: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """Write a results frame as Parquet, JSON Lines or, with any other ending, a TREC run."""
    from larpo_ir.data.files import write_atomically
    from larpo_ir.data.frame_files import write_frame
    from larpo_ir.data.trec import write_run

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        write_frame(results, path)
    elif path.suffix == ".jsonl":
        write_atomically(path, results.to_json(orient="records", lines=True, force_ascii=False))
    else:
        write_run(results, path)
    return path
