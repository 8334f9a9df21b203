"""`larpo-ir align`: one alignment run, or one per objective from the same policy, on-policy or on recorded lists."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from larpo_ir.alignment.config import AlignConfig
from larpo_ir.cli.components import AnyGenerator, Reranker
from larpo_ir.models.policies import SmallPolicy

if TYPE_CHECKING:
    import pandas as pd

    from larpo_ir.alignment.loop import AlignResult
    from larpo_ir.data.pool import CandidatePool

logger = logging.getLogger("larpo_ir")

T = TypeVar("T")


def align_policies(
    align: AlignConfig,
    generator: AnyGenerator | None = None,
    policy: SmallPolicy | None = None,
    reward: Reranker | None = None,
    prompts: str | None = None,
    eval_prompts: str | None = None,
    lists: str | None = None,
    num_held_out: int = 40,
    objectives: list[str] | None = None,
) -> None:
    """Align a policy by ranking: on its own samples, or on recorded, graded lists.

    On-policy: --generator, --reward and --prompts. Offline: --lists, with --generator or --policy.

    Args:
        align: settings of the loop; the objective is --objectives' where that is given
        generator: the policy, a model by path, and how to sample from it
        policy: instead of a generator: a small policy made from the lists' text
        reward: a reranker by name or import path, e.g. RewardModel
        prompts: topics to align on, JSON Lines or Parquet
        eval_prompts: held-out topics
        lists: recorded lists (any layout that larpo_ir.data.lists knows), or responses that larpo-ir rerank has
            ranked; nothing is sampled then
        num_held_out: how many of the lists, the last ones, are held out
        objectives: align with each of these, from the same policy, in a folder each
    """
    configs = _configs(align, objectives)
    if lists is None:
        _align_on_policy(configs, generator, reward, prompts, eval_prompts)
    else:
        _align_offline(configs, generator, policy, lists, num_held_out, Path(align.output_dir))


def _configs(align: AlignConfig, objectives: list[str] | None) -> dict[str, AlignConfig]:
    """Settings of each run: those given, or where there are `objectives` one per objective, in a folder each."""
    if not objectives:
        return {align.objective: align}
    output = Path(align.output_dir)
    return {
        name: dataclasses.replace(align, objective=name, output_dir=str(output / name)) for name in objectives
    }


def _runs(
    configs: dict[str, AlignConfig], run: Callable[..., AlignResult]
) -> Iterator[tuple[str, AlignResult]]:
    """One run after another; all later ones take over iteration 0, and so the candidates, of the first."""
    first: Path | None = None
    for name, config in configs.items():
        result = run(config=config, start_from=first)
        first = first or result.output_dir
        yield name, result


def _align_on_policy(
    configs: dict[str, AlignConfig],
    generator: AnyGenerator | None,
    reward: Reranker | None,
    prompts: str | None,
    eval_prompts: str | None,
) -> None:
    from larpo_ir.alignment.loop import align
    from larpo_ir.data.topics import read_topics

    generator = _needed("generator", generator)
    reward = _needed("reward", reward)
    prompts = _needed("prompts", prompts)
    held_out = None if eval_prompts is None else read_topics(eval_prompts)
    topics = read_topics(prompts)
    run = partial(align, generator, reward, topics, eval_prompts=held_out)
    for name, result in _runs(configs, run):
        print(f"{name}: {result.output_dir}/report.md, summary.json")


def _needed(name: str, value: T | None) -> T:
    if value is None:
        raise ValueError(f"align needs --{name} to work on-policy, or --lists to work on recorded lists")
    return value


def _align_offline(
    configs: dict[str, AlignConfig],
    generator: AnyGenerator | None,
    policy: SmallPolicy | None,
    path: str,
    num_held_out: int,
    output: Path,
) -> None:
    from larpo_ir.alignment.loop import align
    from larpo_ir.cli.ranking_table import ranking_table
    from larpo_ir.data.files import write_atomically
    from larpo_ir.provenance.outputs import made_already, record_made

    topics, train, held_out = _split(path, num_held_out)
    if generator is None:
        if policy is None:
            raise ValueError(
                "align on recorded lists needs --generator (a model) or --policy (a small one made here)"
            )
        generator = _made_from(policy, train, output / "sft")
    # The folders of the runs record everything else that the table is made from.
    compared = {"command": "align", "objectives": list(configs)}
    made_already(output / "ranking.md", compared)
    run = partial(align, generator, None, topics, candidates=train, eval_lists=held_out)
    results = dict(_runs(configs, run))
    table = ranking_table(results)
    write_atomically(output / "ranking.md", table)
    record_made(output / "ranking.md", compared)
    print(table)
    print(
        f"table: {output / 'ranking.md'}; runs: {', '.join(str(result.output_dir) for result in results.values())}"
    )


def _split(path: str, num_held_out: int) -> tuple[pd.DataFrame, CandidatePool, pd.DataFrame]:
    """Recorded lists in two: topics and candidates to align on, and the last lists, which are held out."""
    from larpo_ir.data.pool import CandidatePool
    from larpo_ir.data.topics import read_candidates

    recorded, topics = read_candidates(path)
    split = len(topics) - num_held_out
    if not 0 < split < len(topics):
        raise ValueError(
            f"{path} has {len(topics)} lists, of which --num_held_out {num_held_out} would be held out: give a number"
            f" from 1 to {len(topics) - 1}"
        )
    train, held_out = CandidatePool(), recorded.view()
    topics, last = topics[:split], topics[split:]
    train.add(recorded.frame[recorded.frame["qid"].isin(topics["qid"])])
    return topics, train, held_out[held_out["qid"].isin(last["qid"])].reset_index(drop=True)


def _made_from(policy: SmallPolicy, train: CandidatePool, directory: Path) -> AnyGenerator:
    """A small policy that has been fine-tuned on all recorded responses."""
    from larpo_ir.data.prompts import asked_in
    from larpo_ir.models.generators import Generator
    from larpo_ir.models.prompting import Prompting

    examples = train.frame
    logger.info(f"making an SFT policy from the responses of {examples['qid'].nunique()} lists")
    model, tokenizer = policy.train(
        list(map(Prompting(chat=True), asked_in(examples))),
        [[{"role": "assistant", "content": text}] for text in examples["text"]],
        directory,
    )
    return Generator(model, tokenizer, max_new_tokens=1)
