"""What the subcommands of `larpo-ir` do. Their options are these functions' arguments, see `larpo_ir.cli`."""

from __future__ import annotations

import dataclasses
import logging
import os
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pandas as pd

from larpo_ir.alignment.heldout import ranking_of
from larpo_ir.alignment.loop import AlignConfig, AlignResult
from larpo_ir.alignment.loop import align as run_loop
from larpo_ir.data.files import write_atomically
from larpo_ir.data.frame_files import with_prompts, write_frame
from larpo_ir.data.pool import CandidatePool
from larpo_ir.data.prompts import asked_in
from larpo_ir.data.topics import read_candidates, read_examples, read_topics
from larpo_ir.data.trec import read_qrels, read_results, write_run
from larpo_ir.evaluation.measures import evaluate
from larpo_ir.evaluation.significance import summarise
from larpo_ir.evaluation.tables import interval, markdown_table
from larpo_ir.models.generators import Generator, ResponseGenerator
from larpo_ir.models.policies import SmallPolicy
from larpo_ir.models.prompting import Prompting
from larpo_ir.models.served import OpenAIGenerator  # noqa: F401  (so that the command line knows its name)
from larpo_ir.provenance.identity import identity
from larpo_ir.provenance.outputs import is_made, made_already, record_made
from larpo_ir.rewards import Reranker
from larpo_ir.rewards.judges import Judge
from larpo_ir.tasks import evaluate_task, get_task

logger = logging.getLogger("larpo_ir")

# The first is the one whose options are meant where the command line names no class.
AnyGenerator: TypeAlias = Generator | ResponseGenerator


def write_results(results: pd.DataFrame, path: str | os.PathLike[str]) -> Path:
    """A results frame as Parquet, JSON Lines or, with any other ending, a TREC run."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        write_frame(results, path)
    elif path.suffix == ".jsonl":
        write_atomically(path, results.to_json(orient="records", lines=True, force_ascii=False))
    else:
        write_run(results, path)
    return path


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
        task: read topics in this task's own form: gsm8k, math, mixeval or alpaca_eval
        examples: worked examples to show before each question, JSON Lines with question and answer (or query,
            response)
        num_examples: how many of them, the first ones; by default four, or all where there are fewer
    """
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
    written = write_results(results, output)
    record_made(output, made_from)
    print(f"{len(results)} responses to {results['qid'].nunique()} prompts: {written}")


def rerank(reward: Reranker, results: str, output: str = "runs/reranked.parquet") -> None:
    """Rank responses with a reward.

    Args:
        reward: a reranker by class_path, e.g. larpo_ir.rewards.RewardModel
        results: responses as larpo-ir generate wrote them, .parquet or .jsonl
        output: where the ranked responses go: .parquet, .jsonl, or a TREC run. A file that is there is kept, and
            refused unless it was made from the same
    """
    responses = with_prompts(read_results(results))
    made_from = {"command": "rerank", "reward": identity(reward), "results": identity(responses)}
    if is_made(output, made_from):
        return
    ranked = reward.transform(responses)
    written = write_results(ranked, output)
    record_made(output, made_from)
    print(f"mean reward {ranked['score'].mean():.4f} of {len(ranked)} responses: {written}")


def evaluate_run(
    results: str,
    qrels: str | None = None,
    measures: list[str] | str | None = None,
    output: str | None = None,
    seed: int = 0,
    task: str | None = None,
    data: str | None = None,
    judge: Judge | ResponseGenerator | None = None,
) -> None:
    """Evaluate responses or a TREC run against qrels, or responses to a task, with 95 % bootstrap intervals.

    Args:
        results: .parquet, .jsonl, or a TREC run; with --task also a file of responses in the task's own form
        qrels: TREC qrels
        measures: with --qrels: names as ir_measures knows them, and Pass@N, e.g. nDCG@10 or '[nDCG@10, P@1]'
        output: with --qrels: also write the table there, as CSV; with --task: a folder for items, summary and tables
        seed: of the bootstrap
        task: gsm8k, math, mixeval or alpaca_eval
        data: the task's files: problems, items, or AlpacaEval's reference outputs
        judge: a class by class_path; mixeval: a generator that reads responses, instead of rules; alpaca_eval: a
            judge from larpo_ir.rewards.judges
    """
    if (qrels is None) == (task is None):
        raise ValueError("evaluate needs either --qrels, for retrieval measures, or --task, but not both")
    if task is None:
        _evaluate_against_qrels(results, str(qrels), measures, output, seed)
        return
    get_task(task)  # an unknown one is said before what else is missing
    for needed, value in (("data", data), ("output", output)):
        if value is None:
            raise ValueError(f"evaluate --task {task} needs --{needed}")
    if measures is not None:
        raise ValueError(f"--measures goes with --qrels; --task {task} has measures of its own")
    table = evaluate_task(task, results, str(data), str(output), judge, seed)
    printed = Path(str(output)) / "table.md"
    print(printed.read_text(encoding="utf-8") if printed.exists() else markdown_table(table), end="")
    print(f"items, summary.json and tables: {output}")


def _evaluate_against_qrels(
    results: str, qrels: str, measures: list[str] | str | None, output: str | None, seed: int
) -> None:
    names = [measures] if isinstance(measures, str) else measures
    judged, run = read_qrels(qrels), read_results(results)
    table = evaluate(run, judged, names or ["nDCG@10", "RR@10", "R@20", "Success@1"], seed=seed)
    print(markdown_table(table.reset_index()), end="")
    if output is None:
        return
    judgements = ["qid", "docno", "score"]
    made_from = {
        "command": "evaluate",
        "results": identity(run[judgements]),
        "qrels": identity(judged),
        "measures": list(table.index),
        "seed": seed,
    }
    if not made_already(output, made_from):
        write_atomically(output, table.to_csv())
        record_made(output, made_from)
    print(f"table: {output}")


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
        reward: a reranker by class_path
        prompts: topics to align on, JSON Lines or Parquet
        eval_prompts: held-out topics
        lists: recorded lists (any layout that larpo_ir.data.lists knows), or responses that larpo-ir rerank has ranked;
            nothing is sampled then
        num_held_out: how many of the lists, the last ones, are held out
        objectives: align with each of these, from the same policy, in a folder each
    """
    output = Path(align.output_dir)
    names = objectives or [align.objective]
    configs = {
        name: dataclasses.replace(
            align, objective=name, output_dir=str(output / name if objectives else output)
        )
        for name in names
    }
    if lists is not None:
        _align_offline(configs, generator, policy, lists, num_held_out, output)
        return
    for needed, value in (("generator", generator), ("reward", reward), ("prompts", prompts)):
        if value is None:
            raise ValueError(
                f"align needs --{needed} to work on-policy, or --lists to work on recorded lists"
            )
    held_out = None if eval_prompts is None else read_topics(eval_prompts)
    topics, first = read_topics(str(prompts)), None
    for name, config in configs.items():
        assert generator is not None
        result = run_loop(generator, reward, topics, config, eval_prompts=held_out, start_from=first)
        first = first or result.output_dir
        print(f"{name}: {result.output_dir}/report.md, summary.json")


def _align_offline(
    configs: dict[str, AlignConfig],
    generator: AnyGenerator | None,
    policy: SmallPolicy | None,
    path: str,
    num_held_out: int,
    output: Path,
) -> None:
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
    held_out = held_out[held_out["qid"].isin(last["qid"])].reset_index(drop=True)
    if generator is None:
        if policy is None:
            raise ValueError(
                "align on recorded lists needs --generator (a model) or --policy (a small one made here)"
            )
        logger.info(f"making an SFT policy from the responses of {split} lists")
        examples = train.frame
        model, tokenizer = policy.train(
            list(map(Prompting(chat=True), asked_in(examples))),
            [[{"role": "assistant", "content": text}] for text in examples["text"]],
            output / "sft",
        )
        generator = Generator(model, tokenizer, max_new_tokens=1)
    # What else the table is made from, its runs know.
    compared = {"command": "align", "objectives": list(configs)}
    made_already(output / "ranking.md", compared)
    results: dict[str, AlignResult] = {}
    first: Path | None = None
    for name, config in configs.items():
        results[name] = run_loop(
            generator, None, topics, config, candidates=train, eval_lists=held_out, start_from=first
        )
        first = first or results[name].output_dir
    table = _ranking_table(results)
    write_atomically(output / "ranking.md", table)
    record_made(output / "ranking.md", compared)
    print(table)
    print(
        f"table: {output / 'ranking.md'}; runs: {', '.join(str(result.output_dir) for result in results.values())}"
    )


def _ranking_table(results: dict[str, AlignResult]) -> str:
    """How each way of ranking the held-out lists agrees with their grades, baselines first."""
    lists = next(iter(results.values())).held_out.lists
    assert lists is not None
    rng = np.random.default_rng(0)
    shuffles = [ranking_of(lists, rng.random(len(lists))) for _ in range(20)]
    rows = {
        "random order (mean of 20)": sum(shuffles[1:], shuffles[0]) / len(shuffles),
        "longest first": ranking_of(lists, lists["text"].str.len()),
        "before: log π": ranking_of(lists, lists["initial"]),
    }
    for name, result in results.items():
        after = result.held_out.lists
        assert after is not None
        rows[f"{name}: log π"] = ranking_of(after, after["now"])
        rows[f"{name}: implicit reward"] = ranking_of(after, after["implicit"])
    table = pd.DataFrame(
        [
            {"ranked by": name, **{measure: interval(row) for measure, row in summarise(values).iterrows()}}
            for name, values in rows.items()
        ]
    )
    return (
        "# Held-out lists ranked against their grades\n\n"
        f"{lists['qid'].nunique()} lists, {len(lists)} responses; mean and 95 % bootstrap interval over lists. "
        "Before alignment the implicit reward is 0 for every response, so its order is random.\n\n"
        + markdown_table(table)
    )
