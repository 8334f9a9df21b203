"""`align`: LarPO's Algorithm 1. It can be resumed, and it writes the results of all steps to disk.

    for s in 0 .. T-1:
        π_β ← π_θ                                   behaviour policy
        sample candidates for M prompts from π_β, rank them with the reward      iteration-SS/pool.parquet, run.trec
        merge with candidates of earlier iterations (memory), select a training list per prompt       lists/
        train π_θ with the objective, log-probabilities of the reference stored with the lists
        evaluate on held-out prompts                                             iteration-(S+1)/policy, measures.json

`iteration-SS/policy` is π_S, and the candidates beside it were sampled from π_S; π_0 is the policy before any
alignment. Another call of `align` on the same directory continues where the last one stopped.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
import pandas as pd
from datasets import Dataset
from torch import nn
from transformers import AutoModelForCausalLM, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from larpo_ir.alignment.config import AlignConfig
from larpo_ir.alignment.heldout import HeldOut, leave_out_long
from larpo_ir.alignment.inputs import NOT_COMPARED, RunInputs
from larpo_ir.alignment.measured import in_words, intervals_of, summary_row, write_measures
from larpo_ir.alignment.phases import Stopwatch
from larpo_ir.alignment.reference_lists import ReferenceLists
from larpo_ir.alignment.retrieval import prompts_of, retrieve_candidates
from larpo_ir.data.files import write_atomically
from larpo_ir.data.frame_files import read_frame
from larpo_ir.data.pool import CandidatePool
from larpo_ir.data.topics import Prompts, topics_of
from larpo_ir.models.checkpoints import load_policy
from larpo_ir.models.distributed import is_main_process, wait_for_everyone
from larpo_ir.models.fingerprints import fingerprint
from larpo_ir.provenance.run_directory import RunDirectory
from larpo_ir.training.trainer import LarPOTrainer

if TYPE_CHECKING:
    import pyterrier as pt

    from larpo_ir.models.generators import Generator
    from larpo_ir.models.responses import ResponseGenerator

logger = logging.getLogger("larpo_ir")

Measured: TypeAlias = tuple[dict[str, Any], pd.DataFrame]  # the row of the summary, per-prompt values

# Settings that do not change the candidates of iteration 0.
AFTER_RETRIEVAL = {
    "output_dir", "iterations", "objective", "objective_parameters", "sampler", "memory", "reference", "training",
    "evaluate",
}  # fmt: skip
# Names that `larpo-ir align` may write to the directory before the run begins.
BESIDE = {"sft", "ranking.md", "ranking.md.config.yaml"}


@dataclass
class AlignResult:
    """Result of `align`: the aligned `generator`, the `pool` of all candidates, the `summary` (one row per iteration,
    as in summary.json), the `per_query` measures of each iteration on `held_out`, and the run's folder."""

    generator: Generator
    pool: CandidatePool
    summary: dict[str, Any]
    per_query: list[pd.DataFrame]
    held_out: HeldOut
    output_dir: Path


def align(
    generator: ResponseGenerator,
    reward: pt.Transformer | None,
    prompts: Prompts,
    config: AlignConfig,
    *,
    eval_prompts: Prompts | None = None,
    candidates: CandidatePool | None = None,
    eval_lists: pd.DataFrame | None = None,
    start_from: str | os.PathLike[str] | None = None,
) -> AlignResult:
    """Align the generator's model, in place, with a reward by iterative ranking on its own candidates.

    Args:
        generator: the policy as a retriever. `align` trains its model. `config` sets the number of candidates,
            temperature and seed; the generator sets everything else.
        reward: the reranker. May be None only if recorded `candidates` are given.
        prompts: topics with `qid, query`, optionally `prompt`, and the columns that the reward needs (such as
            `gold`); or a dataset with the column `prompt`, as in TRL; or a list of prompts. A prompt is a string or a
            chat. The generator's options decide which text the policy reads for it (`larpo_ir.models.prompting`);
            reward, reference, trainer and evaluation read the same.
        config: see `AlignConfig`.
        eval_prompts: held-out topics, measured before alignment and after each iteration.
        candidates: recorded, graded candidates of the prompts, used instead of samples (offline alignment).
        eval_lists: held-out recorded lists, a results frame with grades as `score`.
        start_from: directory of a run that differs only in its objective or other settings of `AFTER_RETRIEVAL`. Its
            initial policy, the measures of this policy and its candidates are copied, so that objectives are compared
            on the same candidates and nothing is sampled twice.

    A generator without a local model (`OpenAIGenerator`) cannot be aligned. Its ranked samples can be the
    `candidates` in the alignment of another generator.

    Writes the files that `docs/design.md` lists (*A run on disk*) to `config.output_dir`. If the same run was
    interrupted there, `align` continues it and keeps its samples. Two runs are the same if they have the same
    weights, tokenizer and template, prompts with all their columns, candidates, held-out prompts and lists, reward
    and settings. Raises a one-line `ValueError` that names the difference, and one for chats that the template of the
    policy or the reward refuses, before anything is sampled.
    """
    if reward is None and candidates is None:
        raise ValueError(
            "align needs a reward to rank what it samples, or recorded candidates that are graded"
        )
    held_out = _held_out(config, eval_prompts, eval_lists)
    run = _Run(generator, reward, topics_of(prompts), config, candidates, held_out, start_from)
    return run.go(held_out)


def retrieve(
    generator: ResponseGenerator,
    reward: pt.Transformer,
    prompts: Prompts,
    config: AlignConfig,
    *,
    eval_prompts: Prompts | None = None,
) -> Path:
    """Measure a policy and retrieve and rank its candidates, without training: all runs from it can share this part.

    Returns the run's directory, for `align(..., start_from=directory)`. Takes the arguments of `align`.
    """
    held_out = _held_out(config, eval_prompts, None)
    run = _Run(generator, reward, topics_of(prompts), config, None, held_out)
    run.start(held_out)
    run.collect(0)
    return run.directory.path


def _held_out(config: AlignConfig, prompts: Prompts | None, lists: pd.DataFrame | None) -> HeldOut:
    return HeldOut(
        topics=None if prompts is None else topics_of(prompts),
        lists=lists,
        num_samples=config.eval_samples,
        temperature=config.eval_temperature,
        correct_at=config.correct_at,
    )


def _trainable(generator: ResponseGenerator) -> Generator:
    if not isinstance(getattr(generator, "model", None), nn.Module):
        raise ValueError(
            f"{generator!r} has no model here that could be trained; sample and rank with it (larpo-ir generate, "
            "rerank), then align a Generator with these candidates (candidates=, --lists) or use LarPOTrainer"
        )
    return cast("Generator", generator)


class _Run:
    """One run of Algorithm 1 and the directory that it fills."""

    def __init__(
        self,
        generator: ResponseGenerator,
        reward: pt.Transformer | None,
        topics: pd.DataFrame,
        config: AlignConfig,
        recorded: CandidatePool | None,
        held_out: HeldOut,
        start_from: str | os.PathLike[str] | None = None,
    ) -> None:
        self.inputs = RunInputs(_trainable(generator), reward, topics, config, recorded, held_out)
        self.inputs.check()
        self.generator, self.reward, self.config = self.inputs.generator, reward, config
        first = topics.iloc[:1]
        self.generator.show(first.assign(prompt=self.inputs.prompts_of(first)))
        self.directory = RunDirectory(config.output_dir)
        self.pool, self.timed = CandidatePool(), Stopwatch()
        self._claim(start_from)
        self.topics = leave_out_long(self.generator, topics, "training")
        if not len(self.topics):
            raise ValueError("no prompt is left to align on")

    def _claim(self, start_from: str | os.PathLike[str] | None) -> None:
        if self.directory.measures(self.config.iterations + 1).exists():
            raise ValueError(
                f"{self.config.output_dir} holds a run of more than {self.config.iterations} iterations, which its"
                " summary would lose: give as many iterations or more, or choose another folder for the output"
            )
        settings = self.inputs.identity(self.directory, start_from) if is_main_process() else {}
        self.directory.claim(settings, free={"output_dir", "iterations", *NOT_COMPARED}, beside=BESIDE)
        if start_from is not None:
            self.directory.take_over(Path(start_from), free={*AFTER_RETRIEVAL, *NOT_COMPARED})

    def say(self, message: str) -> None:
        """Log a line that begins with the objective, because several runs may share one terminal."""
        if is_main_process():
            logger.info(f"{self.config.objective}: {message}")

    # The loop

    def start(self, held_out: HeldOut) -> list[Measured]:
        """Measures of all complete policies. If there is none, measure the policy before any alignment."""
        return self._resume(held_out) or [self._evaluate(0, held_out, num_lists=0)]

    def go(self, held_out: HeldOut) -> AlignResult:
        done = self.start(held_out)
        for iteration in range(len(done) - 1, self.config.iterations):
            self.timed = Stopwatch()
            self.collect(iteration)
            lists = self._select(iteration)
            self._train(iteration, lists)
            done.append(self._evaluate(iteration + 1, held_out, num_lists=len(lists)))
            self._summarise([row for row, _ in done])
        summary = self._summarise([row for row, _ in done])
        return AlignResult(
            self.generator, self.pool, summary, [frame for _, frame in done], held_out, self.directory.path
        )

    def _resume(self, held_out: HeldOut) -> list[Measured]:
        """Measures of all complete policies. Loads the pools of their iterations and the last policy."""
        done: list[Measured] = []
        while len(done) <= self.config.iterations and self.directory.measures(len(done)).exists():
            row = json.loads(self.directory.measures(len(done)).read_text())["row"]
            done.append((row, pd.read_parquet(self.directory.frame_file(len(done), "per_query"))))
        for iteration in range(len(done) - 1):
            pool = self.directory.pool(iteration)
            if pool.exists():
                self._remember(CandidatePool.load(pool).frame, iteration)
        if done:
            fixed = self.directory.frame_file(0, "fixed_lists")
            held_out.lists = read_frame(fixed) if fixed.exists() else held_out.lists
            load_policy(self.generator.model, self.directory.policy(len(done) - 1))
            self.say(f"going on in {self.directory.path} after iteration {len(done) - 1}")
        return done

    def _remember(self, results: pd.DataFrame, iteration: int) -> None:
        self.pool.add(results, iteration=iteration, policy=self.directory.name_of(iteration))

    def collect(self, iteration: int) -> None:
        """Retrieve and rank candidates for this iteration's prompts."""
        topics = prompts_of(self.topics, self.config, iteration)
        found = retrieve_candidates(
            topics, self.generator, self.reward, self.config, self.directory, iteration, self.timed,
            recorded=self.inputs.recorded,
        )  # fmt: skip
        frame = found.frame
        self._remember(frame, iteration)
        if is_main_process():
            by: Literal["logprob", "score"] = "logprob" if frame["logprob"].notna().any() else "score"
            found.run(self.directory.trec_run(iteration), by=by, tag=self.directory.name_of(iteration))
        judged = frame[frame["score"].notna()]
        mean = np.average(judged["score"], weights=judged["count"]) if len(judged) else float("nan")
        entry = {"candidates": int(frame["count"].sum()), "distinct": len(frame), "reward_mean": mean}
        self.directory.log(iteration=iteration, event="collected", prompts=len(topics), **entry)
        self.say(
            f"iteration {iteration}: {entry['candidates']} candidates ({entry['distinct']} distinct) for "
            f"{len(topics)} prompts, mean reward {mean:.3f}"
        )

    def _select(self, iteration: int) -> Dataset:
        """Training lists from the merged pool, with the reference's log-probabilities."""
        maker = ReferenceLists(
            self.config, self.generator, self._initial_policy, is_recorded=self.inputs.recorded is not None
        )
        with self.timed("train"):
            view = self.pool.view(self.config.memory, iteration)  # type: ignore[arg-type]
            lists = maker.select(view, iteration)
        if not len(lists):
            logger.warning(
                f"{self.config.objective}: iteration {iteration}: "
                "no prompt has candidates of different reward: nothing to train on"
            )
            return lists
        prompts = int(view["qid"].nunique())
        if is_main_process():
            lists.save_to_disk(str(self.directory.lists_folder(iteration)))
        self.directory.log(iteration=iteration, event="selected", lists=len(lists), prompts=prompts)
        self.say(f"iteration {iteration}: {len(lists)} training lists from {prompts} prompts")
        return lists

    def _initial_policy(self) -> Generator:
        """π_0, read from disk for one pass and freed before training starts."""
        model: Any = AutoModelForCausalLM.from_pretrained(self.directory.policy(0))
        model.to(self.generator.model.device)
        return self.generator.replace(model=model)

    def _train(self, iteration: int, lists: Dataset) -> None:
        if not len(lists):
            return
        with self.timed("train"):
            arguments = self.config.training_arguments(iteration, self.directory.iteration(iteration))
            trainer = LarPOTrainer(
                self.generator.model,
                args=arguments,
                train_dataset=lists,
                processing_class=self.generator.tokenizer,
                callbacks=[_LogToRun(self, iteration)],
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()

    def _evaluate(self, iteration: int, held_out: HeldOut, num_lists: int) -> Measured:
        """Save and measure the policy, which completes the iteration before it."""
        if is_main_process():
            for part in (self.generator.model, self.generator.tokenizer):
                part.save_pretrained(self.directory.policy(iteration))
        is_measured = self.config.evaluate == "each" or iteration in (0, self.config.iterations)
        with self.timed("evaluate"):
            per_query = held_out.measure(self.generator, self.reward) if is_measured else pd.DataFrame()
            intervals = intervals_of(per_query)
        row = summary_row(iteration, intervals, num_lists, self.timed.seconds())
        weights = fingerprint(self.generator.model)
        if is_main_process():
            measured = held_out if is_measured else None
            write_measures(self.directory, iteration, row, intervals, per_query, weights, measured)
        wait_for_everyone()  # the next step may read the policy that was saved
        self.directory.log(event="evaluated", **row)
        self.say(f"policy {iteration}: {in_words(row) or 'nothing held out to measure'}")
        return row, per_query

    def _summarise(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        summary = {
            "task": self.config.task,
            "objective": self.config.objective,
            "seed": self.config.seed,
            "iterations": rows,
        }
        if is_main_process():
            from larpo_ir.report.writing import write_report

            write_atomically(self.directory.summary, json.dumps(summary, indent=2) + "\n")
            if len(self.pool):
                self.pool.qrels(path=self.directory.qrels)
            write_report(self.directory.path)
        return summary


class _LogToRun(TrainerCallback):
    """Writes every logged step of the trainer to the run's log.jsonl."""

    def __init__(self, run: _Run, iteration: int) -> None:
        self.run, self.iteration = run, iteration

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self.run.directory.log(
                iteration=self.iteration, event="step", step=state.global_step, **(logs or {})
            )
