"""`align`: LarPO's Algorithm 1, resumable, with everything it did on disk.

    for s in 0 .. T-1:
        π_β ← π_θ                                   behaviour policy
        sample candidates for M prompts from π_β, rank them with the reward      iteration-SS/pool.parquet, run.trec
        merge with what earlier iterations retrieved (memory), select a training list per prompt      lists/
        train π_θ with the objective, log-probabilities of the reference stored with the lists
        evaluate on held-out prompts                                             iteration-(S+1)/policy, measures.json

`iteration-SS/policy` is π_S, and iteration 0 the policy before any alignment; what lies beside it was sampled
from it. Running `align` again on the same directory goes on where it stopped.
"""

from __future__ import annotations

import json
import logging
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import pandas as pd
from datasets import Dataset
from torch import nn
from transformers import AutoModelForCausalLM, TrainerCallback
from transformers.trainer_callback import PrinterCallback

from larpo_ir.alignment.config import AlignConfig
from larpo_ir.alignment.heldout import HeldOut, json_ready, leave_out_long
from larpo_ir.alignment.inputs import NOT_COMPARED, RunInputs
from larpo_ir.data.chats import clean_chat
from larpo_ir.data.files import write_atomically
from larpo_ir.data.frame_files import read_frame, write_frame
from larpo_ir.data.negatives import sample_lists
from larpo_ir.data.pool import CandidatePool
from larpo_ir.data.prompts import asked_in
from larpo_ir.data.topics import Prompts, topics_of
from larpo_ir.evaluation.significance import summarise
from larpo_ir.models.checkpoints import load_policy
from larpo_ir.models.distributed import is_main_process, shared_transform, wait_for_everyone
from larpo_ir.models.fingerprints import fingerprint
from larpo_ir.models.templates import render_prompt
from larpo_ir.models.tokenization import tokenize_prompts
from larpo_ir.objectives import get_objective
from larpo_ir.provenance.run_directory import RunDirectory
from larpo_ir.training.reference import frame_logprobs
from larpo_ir.training.trainer import LarPOTrainer

if TYPE_CHECKING:
    import pyterrier as pt

    from larpo_ir.models.generators import Generator, ResponseGenerator

logger = logging.getLogger("larpo_ir")

# Settings that make no difference to the candidates of iteration 0.
AFTER_RETRIEVAL = {
    "output_dir", "iterations", "objective", "objective_parameters", "sampler", "memory", "reference", "training",
    "evaluate",
}  # fmt: skip
SAVE_EVERY_SECONDS = 60.0
# What `larpo-ir align` may have written to the directory before the run begins.
BESIDE = {"sft", "ranking.md", "ranking.md.config.yaml"}
# What changes about the fixed lists from one policy to the next; the rest lies beside iteration 0.
FIXED_NOW = ["qid", "docno", "now", "implicit"]


@dataclass
class AlignResult:
    """What `align` returns: the aligned `generator`, the `pool` of all candidates, the `summary` (one row per
    iteration, as in summary.json), the held-out `per_query` measures of each iteration, and where it all lies."""

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
        generator: the policy as retriever. Its model is trained; number of candidates, temperature and seed are
            the configuration's, everything else its own.
        reward: the reranker. None only together with recorded `candidates`.
        prompts: topics `qid, query` and maybe `prompt`, and what the reward needs (such as `gold`), a dataset with
            the column `prompt`, as in TRL, or a list of prompts; prompts are strings or chats. What the policy reads
            for them is the generator's way of asking (`larpo_ir.models.prompting`); reward, reference, trainer and
            evaluation read the same.
        config: see `AlignConfig`.
        eval_prompts: held-out topics, measured before alignment and after each iteration.
        candidates: recorded, graded candidates of the prompts, which are then not sampled (offline alignment).
        eval_lists: held-out recorded lists, a results frame with grades as `score`.
        start_from: directory of a run which differs in its objective alone. Its initial policy, what was measured
            of it and the candidates it retrieved are taken over, so that objectives are compared on the same ones
            and nothing is sampled twice.

    A generator without a model of its own (`OpenAIGenerator`) cannot be aligned: what it samples can be ranked and
    given as `candidates` to the alignment of one that has.

    Writes what *A run on disk* in `docs/design.md` lists to `config.output_dir`, and goes on there if the same run
    was interrupted; what was generated until then is kept. A run is the same if it is made from the same weights,
    tokenizer and template, prompts with all their columns, candidates, held-out prompts and lists, reward and
    settings. Raises a one-line `ValueError` that names what differs, and for chats that the policy's or the reward's
    template refuses, before anything is sampled.
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
    """What all runs from one policy share: measure it and retrieve and rank its candidates, without training.

    Returns the run's directory, for `align(..., start_from=directory)`. Arguments as for `align`.
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
        self.recorded = self.inputs.recorded
        first = topics.iloc[:1]
        self.generator.show(first.assign(prompt=self.inputs.prompts_of(first)))
        self.directory = RunDirectory(config.output_dir)
        self.pool = CandidatePool()
        self.seconds: dict[str, float] = {}
        if (self.directory.iteration(config.iterations + 1) / "measures.json").exists():
            raise ValueError(
                f"{config.output_dir} holds a run of more than {config.iterations} iterations, which its summary"
                " would lose: give as many iterations or more, or choose another folder for the output"
            )
        settings = self.inputs.identity(self.directory, start_from) if is_main_process() else {}
        self.directory.claim(settings, free={"output_dir", "iterations", *NOT_COMPARED}, beside=BESIDE)
        if start_from is not None:
            self.directory.take_over(Path(start_from), free={*AFTER_RETRIEVAL, *NOT_COMPARED})
        self.topics = leave_out_long(self.generator, topics, "training")
        if not len(self.topics):
            raise ValueError("no prompt is left to align on")

    def say(self, message: str) -> None:
        """A line on the terminal; several runs may share one."""
        if is_main_process():
            logger.info(f"{self.config.objective}: {message}")

    @contextmanager
    def timed(self, phase: str) -> Any:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    # The loop

    def start(self, held_out: HeldOut) -> list[tuple[dict[str, Any], pd.DataFrame]]:
        """What is done already: at least the measures of the policy before any alignment."""
        return self._resume(held_out) or [self._evaluate(0, held_out, num_lists=0)]

    def go(self, held_out: HeldOut) -> AlignResult:
        done = self.start(held_out)
        for iteration in range(len(done) - 1, self.config.iterations):
            self.seconds = {}
            self.collect(iteration)
            lists = self._select(iteration)
            self._train(iteration, lists)
            done.append(self._evaluate(iteration + 1, held_out, num_lists=len(lists)))
            self._summarise([row for row, _ in done])
        summary = self._summarise([row for row, _ in done])
        return AlignResult(
            self.generator, self.pool, summary, [frame for _, frame in done], held_out, self.directory.path
        )

    def _resume(self, held_out: HeldOut) -> list[tuple[dict[str, Any], pd.DataFrame]]:
        """Rows and per-prompt measures of the iterations that are complete; loads their pools and last policy."""
        done: list[tuple[dict[str, Any], pd.DataFrame]] = []
        while (path := self.directory.iteration(len(done)) / "measures.json").exists() and len(
            done
        ) <= self.config.iterations:
            row = json.loads(path.read_text())["row"]
            done.append((row, pd.read_parquet(path.with_name("per_query.parquet"))))
        for iteration in range(len(done)):
            pool = self.directory.iteration(iteration) / "pool.parquet"
            if pool.exists() and iteration < len(done) - 1:
                self._remember(CandidatePool.load(pool).frame, iteration)
        if done:
            fixed = self.directory.iteration(0) / "fixed_lists.parquet"
            held_out.lists = read_frame(fixed) if fixed.exists() else held_out.lists
            load_policy(self.generator.model, self.directory.iteration(len(done) - 1) / "policy")
            self.say(f"going on in {self.directory.path} after iteration {len(done) - 1}")
        return done

    def _remember(self, results: pd.DataFrame, iteration: int) -> None:
        self.pool.add(results, iteration=iteration, policy=f"iteration-{iteration:02d}")

    def _prompts_of(self, iteration: int) -> pd.DataFrame:
        number = self.config.prompts_per_iteration
        if number is None or number >= len(self.topics):
            return self.topics
        # Without replacement until all prompts were used, then from the start in a new order.
        rounds = -(-(iteration + 1) * number // len(self.topics))
        order = np.concatenate(
            [
                np.random.default_rng([self.config.seed, r]).permutation(len(self.topics))
                for r in range(rounds)
            ]
        )
        chosen = order[iteration * number : (iteration + 1) * number]
        return self.topics.iloc[chosen].drop_duplicates("qid").reset_index(drop=True)

    def collect(self, iteration: int) -> None:
        """Retrieve and rank candidates for this iteration's prompts. What is there is saved, whatever happens."""
        path = self.directory.iteration(iteration) / "pool.parquet"
        topics, found = self._prompts_of(iteration), CandidatePool()
        policy = f"iteration-{iteration:02d}"
        if path.exists():
            found = CandidatePool.load(path)
        if self.recorded is not None:
            recorded = self.recorded
            mine = recorded[recorded["qid"].isin(topics["qid"]) & ~recorded["qid"].isin(found.frame["qid"])]
            found.add(mine.drop(columns="iteration"), iteration=iteration, policy="recorded")
        todo = topics[~topics["qid"].isin(found.frame["qid"])]
        generator = self.generator.replace(
            num_candidates=self.config.num_candidates, temperature=self.config.temperature(iteration)
        )
        step = max(1, 8 * generator.batch_size // generator.num_candidates)
        saved = time.perf_counter()
        try:
            for start in range(0, len(todo) if self.recorded is None else 0, step):
                chunk = todo.iloc[start : start + step]
                seed = int(
                    np.random.default_rng([self.config.seed, iteration, start, len(todo)]).integers(2**31)
                )
                with self.timed("generate"):
                    results = generator.replace(seed=seed).transform(chunk)
                with self.timed("rerank"):
                    results = shared_transform(self.reward, results)  # type: ignore[arg-type]
                found.add(results, iteration=iteration, policy=policy)
                if is_main_process() and time.perf_counter() - saved > SAVE_EVERY_SECONDS:
                    found.save(path)
                    saved = time.perf_counter()
        finally:
            if is_main_process() and len(found):
                found.save(path)
        frame = found.frame
        self._remember(frame, iteration)
        if is_main_process():
            by: Literal["logprob", "score"] = "logprob" if frame["logprob"].notna().any() else "score"
            found.run(self.directory.iteration(iteration) / "run.trec", by=by, tag=policy)
        judged = frame[frame["score"].notna()]
        entry = {
            "candidates": int(frame["count"].sum()),
            "distinct": len(frame),
            "reward_mean": np.average(judged["score"], weights=judged["count"])
            if len(judged)
            else float("nan"),
        }
        self.directory.log(iteration=iteration, event="collected", prompts=len(topics), **entry)
        self.say(
            f"iteration {iteration}: {entry['candidates']} candidates ({entry['distinct']} distinct) for "
            f"{len(topics)} prompts, mean reward {entry['reward_mean']:.3f}"
        )

    def _select(self, iteration: int) -> Dataset:
        """Training lists from the merged pool, with the reference's log-probabilities."""
        with self.timed("train"):
            view = self.pool.view(self.config.memory, iteration)  # type: ignore[arg-type]
            lists = sample_lists(
                self._of_one_kind(view), self.config.chosen_sampler, seed=self.config.seed + iteration
            )
            if not len(lists):
                logger.warning(
                    f"{self.config.objective}: iteration {iteration}: "
                    "no prompt has candidates of different reward: nothing to train on"
                )
                return lists
            if get_objective(self.config.objective).needs_reference:
                lists = self._with_reference(lists, view, iteration)
        if is_main_process():
            lists.save_to_disk(str(self.directory.iteration(iteration) / "lists"))
        self.directory.log(
            iteration=iteration, event="selected", lists=len(lists), prompts=int(view["qid"].nunique())
        )
        self.say(f"iteration {iteration}: {len(lists)} training lists from {view['qid'].nunique()} prompts")
        return lists

    def _of_one_kind(self, view: pd.DataFrame) -> pd.DataFrame:
        """Prompts that are all strings or all chats, as a column of lists must be: then chats as the template writes
        them."""
        asked = asked_in(view)
        if len({isinstance(prompt, str) for prompt in asked}) < 2:
            return view
        return view.assign(prompt=[render_prompt(self.generator.tokenizer, prompt) for prompt in asked])

    def _with_reference(self, lists: Dataset, view: pd.DataFrame, iteration: int) -> Dataset:
        """Log-probabilities of π_ref: known where π_ref itself sampled the response, otherwise one pass."""
        source = iteration if self.config.reference == "behavior" else 0
        rows = pd.DataFrame(
            {
                "qid": [
                    qid for qid, docnos in zip(lists["id"], lists["docnos"], strict=True) for _ in docnos
                ],
                "docno": [docno for docnos in lists["docnos"] for docno in docnos],
            }
        )
        # What was recorded elsewhere may have been sampled from any policy, whatever it is called there.
        own = (view["iteration"] == source) & (self.recorded is None)
        known = view.loc[
            own & view["token_ids"].notna(),
            ["qid", "docno", "logprob", "token_ids"],
        ]
        limit = self.config.training.get("max_length")
        if limit is not None and len(known):
            # the trainer cuts what is longer: then the log-probability is of something else
            known = known[known["token_ids"].map(len) <= limit - self._prompt_lengths(known["qid"], lists)]
        rows = rows.merge(known.drop(columns="token_ids"), on=["qid", "docno"], how="left")
        missing = rows["logprob"].isna().to_numpy()
        if missing.any():
            prompts = dict(zip(lists["id"], lists["prompt"], strict=True))
            rows["prompt"] = pd.Series([prompts[qid] for qid in rows["qid"]], dtype=object)
            rows["query"] = ""
            rows["text"] = [text for texts in lists["completions"] for text in texts]
            # texts are scored as the trainer will read them
            rows["finished"] = self.config.training.get("append_eos", True)
            if "finished" in lists.column_names:
                rows["finished"] &= np.array([ended for row in lists["finished"] for ended in row])
            if "completion_ids" in lists.column_names:
                rows["token_ids"] = [ids for row in lists["completion_ids"] for ids in row]
            policy = self.generator if source == iteration else self._initial_policy()
            cache = self.config.training.get("reference_cache")
            rows.loc[missing, "logprob"] = frame_logprobs(
                policy, rows[missing], max_length=limit, cache=cache
            )
        flat = iter(rows["logprob"].tolist())
        logps = [[next(flat) for _ in docnos] for docnos in lists["docnos"]]
        if "ref_logps" in lists.column_names:
            lists = lists.remove_columns("ref_logps")
        return lists.add_column("ref_logps", logps)

    def _prompt_lengths(self, qids: pd.Series, lists: Dataset) -> pd.Series:
        ids = tokenize_prompts(self.generator.tokenizer, [clean_chat(prompt) for prompt in lists["prompt"]])
        return qids.map(dict(zip(lists["id"], map(len, ids), strict=True))).fillna(0)

    def _initial_policy(self) -> Generator:
        """π_0, read from disk for one pass; it is gone before training starts."""
        path = self.directory.iteration(0) / "policy"
        model: Any = AutoModelForCausalLM.from_pretrained(path)
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

    def _evaluate(
        self, iteration: int, held_out: HeldOut, num_lists: int
    ) -> tuple[dict[str, Any], pd.DataFrame]:
        directory = self.directory.iteration(iteration)
        if is_main_process():
            self.generator.model.save_pretrained(directory / "policy")
            self.generator.tokenizer.save_pretrained(directory / "policy")
        with self.timed("evaluate"):
            measured = self.config.evaluate == "each" or iteration in (0, self.config.iterations)
            per_query = held_out.measure(self.generator, self.reward) if measured else pd.DataFrame()
            intervals = summarise(per_query) if len(per_query.columns) else pd.DataFrame(columns=["mean"])
        means = intervals["mean"].to_dict()
        names = ["greedy_accuracy", "pass@1", "pass@8", "pass@16", "reward_mean", "nDCG@10"]
        row = {
            "iteration": iteration,
            **{name: means.get(name) for name in names},
            "num_lists": num_lists,
            "best_logprob_mean": means.get("best_logprob"),
            "seconds": {
                phase: round(self.seconds.get(phase, 0.0), 3)
                for phase in ("generate", "rerank", "train", "evaluate")
            },
            **{name: value for name, value in means.items() if name not in [*names, "best_logprob"]},
        }
        row = json_ready(row)
        measures = {
            "policy": fingerprint(self.generator.model),
            "row": row,
            "intervals": {name: json_ready(values) for name, values in intervals.T.to_dict().items()},
        }
        if is_main_process():
            frames = {"per_query": per_query}
            if measured:
                frames |= {"held_out_samples": held_out.samples, "held_out_greedy": held_out.greedy}
            if measured and held_out.lists is not None and len(held_out.lists):
                lists = held_out.lists
                frames["fixed_lists"] = lists[FIXED_NOW] if iteration else lists
            for name, frame in frames.items():
                if len(frame) or name == "per_query":
                    write_frame(frame, directory / f"{name}.parquet")
            write_atomically(directory / "measures.json", json.dumps(measures, indent=2) + "\n")
        wait_for_everyone()  # the next step may read the policy that was saved
        self.directory.log(event="evaluated", **row)
        shown = ", ".join(
            f"{name} {row[name]:.3f}" for name in [*names, "best_logprob_mean"] if row[name] is not None
        )
        self.say(f"policy {iteration}: {shown or 'nothing held out to measure'}")
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

            write_atomically(self.directory / "summary.json", json.dumps(summary, indent=2) + "\n")
            if len(self.pool):
                self.pool.qrels(path=self.directory / "qrels.trec")
            write_report(self.directory.path)
        return summary


class _LogToRun(TrainerCallback):
    """Every logged step of the trainer, into the run's log.jsonl."""

    def __init__(self, run: _Run, iteration: int) -> None:
        self.run, self.iteration = run, iteration

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any
    ) -> None:
        if state.is_world_process_zero:
            self.run.directory.log(
                iteration=self.iteration, event="step", step=state.global_step, **(logs or {})
            )
