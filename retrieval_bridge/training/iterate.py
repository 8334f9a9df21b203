"""LarPO's loop on a retriever: mine with the current encoder, judge, select lists, train against a reference, again.

Algorithm 1 of Jin et al. (arXiv:2502.03699) with a retriever in the policy's place. The encoder of an iteration
retrieves its candidates; the candidate pool remembers those of earlier ones; the reference is the encoder at the
start of the iteration. Pool, samplers, losses and measures are those of `larpo_ir.alignment`; so is the directory.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyterrier as pt

from larpo_ir.data.files import whole_folder, write_atomically
from larpo_ir.data.negatives import sample_lists
from larpo_ir.data.pool import CandidatePool
from larpo_ir.data.trec import write_run
from larpo_ir.evaluation.measures import evaluate_per_query
from larpo_ir.evaluation.significance import summarise
from larpo_ir.models.distributed import num_processes
from larpo_ir.provenance.identity import identity
from larpo_ir.provenance.run_directory import RunDirectory
from retrieval_bridge.collections.collection import Collection, digest_of
from retrieval_bridge.retrieval.collection_passages import passages_of
from retrieval_bridge.retrieval.dense import DenseRetriever
from retrieval_bridge.retrieval.encoders import Encoder, EncoderLike
from retrieval_bridge.retrieval.measures import depth_of
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.training.bi_encoder import train_retriever
from retrieval_bridge.training.config import IterativeConfig
from retrieval_bridge.training.mining import labels_of, mine

logger = logging.getLogger("larpo_ir")


@dataclass
class IterativeResult:
    """The trained `encoder`, the `pool` of all candidates, a `summary` row per iteration (0: before training), and
    the held-out `per_query` measures of each."""

    encoder: Encoder
    pool: CandidatePool
    summary: pd.DataFrame
    per_query: list[pd.DataFrame]
    output_dir: Path


def align_retriever(
    encoder: EncoderLike,
    collection: Collection,
    config: IterativeConfig,
    *,
    train: str = "train",
    evaluate: str = "dev",
    judges: Sequence[pt.Transformer] = (),
) -> IterativeResult:
    """Train a retriever by iterative ranking on its own candidates.

    Args:
        encoder: the start; it stays as it is.
        collection: passages, and topics and qrels of the splits.
        config: see `IterativeConfig`.
        train, evaluate: splits to mine for and to measure on.
        judges: transformers of candidates, one after the other: filters of false negatives, or other grades than the
            qrels', such as `[WithoutAnswers(), CrossEncoderReranker(m)]`.

    Writes `iteration-SS/{encoder, candidates, lists, run.trec, per_query.parquet}`, `summary.csv` and the settings to
    `config.output_dir`. Running it again goes on after the last iteration that is complete; a directory that holds
    another run is refused.
    """
    if num_processes() > 1:
        raise ValueError("align_retriever works in one process; start it without accelerate or torchrun")
    directory = RunDirectory(config.output_dir)
    start = Encoder(encoder)
    passages = passages_of(collection)
    settings = {
        **dataclasses.asdict(config), "sampler": identity(config.sampler), "judges": identity(list(judges)),
        "encoder": start.fingerprint, "passages": passages.fingerprint,
        "collection": digest_of(collection, train, evaluate), "train": train, "evaluate": evaluate,
    }  # fmt: skip
    directory.claim(settings, free={"output_dir", "iterations"})
    run = _Iterations(directory, collection, passages, config, train, evaluate, judges)
    current, rows, per_query = start, [], []
    for iteration in range(config.iterations + 1):
        done = directory.iteration(iteration)
        if not (done / "per_query.parquet").exists():
            with whole_folder(done) as filling:
                if iteration:
                    current = run.trained(current, start, iteration, filling)
                run.measured(current, iteration, filling)
        elif iteration:
            current = Encoder(str(done / "encoder"))
        run.remember(iteration)
        per_query.append(pd.read_parquet(done / "per_query.parquet"))
        means = per_query[-1].mean()
        rows.append({"iteration": iteration, **means.to_dict(), "num_lists": run.num_lists(iteration)})
        logger.info(
            f"iteration {iteration}: " + ", ".join(f"{name} {means[name]:.3f}" for name in means.index[:3])
        )
    summary = pd.DataFrame(rows)
    write_atomically(directory / "summary.csv", summary.to_csv(index=False))
    return IterativeResult(current, run.pool, summary, per_query, directory.path)


class _Iterations:
    """The steps of an iteration: measure and mine with one index of the current encoder, train, remember."""

    def __init__(
        self,
        directory: RunDirectory,
        collection: Collection,
        passages: Passages,
        config: IterativeConfig,
        train: str,
        evaluate: str,
        judges: Sequence[pt.Transformer],
    ) -> None:
        self.directory, self.config, self.judges = directory, config, judges
        self.passages = passages
        self.topics, self.qrels = collection.topics(train), collection.qrels(train)
        self.held_out, self.judgements = collection.topics(evaluate), collection.qrels(evaluate)
        self.pool = CandidatePool()

    def measured(self, encoder: Encoder, iteration: int, filling: Path) -> None:
        """Index the passages with the encoder; measure it, and retrieve candidates for another iteration."""
        depth = max(self.config.depth, depth_of(self.config.measures))
        retriever = DenseRetriever(
            encoder, self.passages, self.config.index, path=filling / "index", num_results=depth
        )
        results = retriever.transform(self.held_out)
        write_run(results, filling / "run.trec", tag=f"iteration-{iteration}")
        candidates = mine(
            self.topics, self.qrels, self.passages, {f"iteration-{iteration}": retriever % self.config.depth}
        )
        for judge in self.judges:
            candidates = judge.transform(candidates)
        candidates.to_parquet(filling / "candidates.parquet")
        shutil.rmtree(filling / "index")
        per_query = evaluate_per_query(results, self.judgements, self.config.measures)
        per_query.to_parquet(filling / "per_query.parquet")
        write_atomically(filling / "measures.json", summarise(per_query).to_json(orient="index", indent=1))

    def remember(self, iteration: int) -> None:
        """Add the iteration's candidates to the pool."""
        candidates = pd.read_parquet(self.directory.iteration(iteration) / "candidates.parquet")
        self.pool.add(candidates.rename(columns={"source": "policy"}), iteration=iteration)

    def trained(self, current: Encoder, start: Encoder, iteration: int, filling: Path) -> Encoder:
        """The encoder after training on the candidates of the iteration before and, as memory says, earlier ones."""
        config = self.config
        view = self.pool.view(config.memory, iteration - 1)
        view["label"] = labels_of(view, self.qrels)
        lists = sample_lists(view, config.sampler, config.seed + iteration)
        lists.save_to_disk(str(filling / "lists"))
        reference = {"behavior": current, "initial": start, None: None}[config.reference]
        training = {"seed": config.seed + iteration, **config.training}
        trained: Encoder = train_retriever(
            current, lists, config.loss, config.temperature, reference, beta=config.beta, **training
        )
        trained.save(filling / "encoder")
        return trained

    def num_lists(self, iteration: int) -> int:
        """Number of lists on which the encoder of an iteration was trained."""
        return len(self.directory.lists(iteration)) if iteration else 0
