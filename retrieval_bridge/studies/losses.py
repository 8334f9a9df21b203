"""Experiments on retrievers: train from one encoder under several conditions, search, measure per query.

Conditions are `larpo_ir.evaluation.studies.Condition`s, so that a study of retrievers has the table, the figure and the files of
a study of policies.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyterrier as pt

from larpo_ir.data.digests import digest_rows
from larpo_ir.data.files import write_atomically
from larpo_ir.data.trec import read_run, write_run
from larpo_ir.evaluation.measures import evaluate_per_query
from larpo_ir.evaluation.studies import Condition, Study, study
from larpo_ir.evaluation.tables import count
from larpo_ir.losses import get_loss
from retrieval_bridge.collections.formats import Collection
from retrieval_bridge.retrieval.dense import DenseRetriever
from retrieval_bridge.retrieval.encoders import Encoder
from retrieval_bridge.retrieval.measures import MEASURES, depth_of, digest_of
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.training.bi_encoder import train_retriever
from retrieval_bridge.training.lists import ListConfig

if TYPE_CHECKING:
    from datasets import Dataset

START = "start"  # the condition without training


@dataclass
class Experiment:
    """What the conditions of a study share.

    `encoder` is where every training starts, `train` the split that is learnt from and `split` the one that is
    measured, `temperature` τ, `training` arguments of `train_retriever`, `measures` as `ir_measures` names them.
    """

    collection: Collection
    passages: Passages
    encoder: Encoder
    train: str = "train"
    split: str = "dev"
    temperature: float = 0.05
    training: dict[str, Any] = field(default_factory=dict)
    measures: Sequence[str] = MEASURES

    @cached_property
    def topics(self) -> pd.DataFrame:
        return self.collection.topics(self.split)

    @cached_property
    def qrels(self) -> pd.DataFrame:
        return self.collection.qrels(self.split)

    def settings(self, **more: Any) -> dict[str, Any]:
        """What the results depend on."""
        return {
            "passages": self.passages.fingerprint, "topics": digest_of(self.collection, self.train, self.split),
            "encoder": self.encoder.fingerprint, "train": self.train,
            "split": self.split, "temperature": self.temperature, "training": self.training,
            "measures": list(self.measures), **more,
        }  # fmt: skip

    def measured(self, retriever: pt.Transformer, folder: Path) -> pd.DataFrame:
        """Per-query measures of a retriever, whose run is written to the folder."""
        results = (retriever % depth_of(self.measures)).transform(self.topics)
        write_run(results, folder / "run.trec", tag=folder.parent.name)
        return evaluate_per_query(results, self.qrels, self.measures)

    def measured_encoder(self, encoder: Encoder, folder: Path) -> pd.DataFrame:
        """The same of an encoder, by exact search."""
        with tempfile.TemporaryDirectory() as scratch:
            return self.measured(DenseRetriever(encoder, self.passages, path=scratch), folder)

    def start(self) -> Condition:
        """The encoder before any training."""
        return lambda seed, folder: self.measured_encoder(self.encoder, folder)

    def trained(self, lists: Callable[[int], Dataset], loss: str, **options: Any) -> Condition:
        """The encoder after training on the lists of a seed; `options` are further arguments of `train_retriever`."""

        if "seed" in self.training:
            raise ValueError("training has a seed of its own; a study's seeds are 0 to seeds - 1")

        def condition(seed: int, folder: Path) -> pd.DataFrame:
            arguments = {
                "disable_tqdm": True,
                "logging_strategy": "no",
                **self.training,
                "seed": seed,
                **options,
            }
            encoder = train_retriever(self.encoder, lists(seed), loss, self.temperature, **arguments)
            return self.measured_encoder(encoder, folder)

        return condition


def digest_of_candidates(candidates: pd.DataFrame) -> str:
    """What lists are chosen from, beside the passages' texts."""
    return digest_rows(candidates, ["qid", "docno", "score", "label", "source", "source_rank"])


def lists_per_seed(candidates: pd.DataFrame, config: ListConfig) -> Callable[[int], Dataset]:
    """The training lists of a seed, the same for every condition that asks."""
    made: dict[int, Dataset] = {}

    def lists(seed: int) -> Dataset:
        if seed not in made:
            made[seed] = config.lists(candidates, seed)
        return made[seed]

    return lists


def compare_losses(
    experiment: Experiment,
    losses: Iterable[str],
    config: ListConfig,
    output: str | Path,
    *,
    seeds: int = 3,
    path: str | Path | None = None,
    **options: Any,
) -> Study:
    """Train with every loss, from the same encoder, on the same lists, for as many steps.

    Writes the study (`larpo_ir.evaluation.studies`), a TREC run for every loss and seed, and `experiment.csv`: `pt.Experiment`
    on these runs, each seed's against the untrained encoder, paired t-tests with Holm's correction.
    """
    names = [get_loss(loss).name for loss in losses]
    candidates = config.candidates(experiment.collection, experiment.passages, experiment.train, path)
    lists = lists_per_seed(candidates, config)
    conditions = {START: experiment.start()}
    conditions |= {name: experiment.trained(lists, name, **options) for name in names}
    known = {"reference": None, "beta": 1.0, "in_batch": False, **options}
    if known["reference"] not in (None, "start"):
        known["reference_weights"] = Encoder(known["reference"]).fingerprint
    result = study(
        "loss", conditions, output, seeds=seeds, baseline=START, fixed=[START],
        settings=experiment.settings(lists=config.settings(), candidates=digest_of_candidates(candidates), **known),
        note=f"{len(lists(0))} lists of {1 + config.num_negatives} passages, {count(seeds, 'seed')}, measured on "
        f"{len(experiment.topics)} topics of {experiment.split}.\n",
    )  # fmt: skip
    write_atomically(
        Path(output) / "experiment.csv", significance(experiment, names, output, seeds).to_csv(index=False)
    )
    return result


def significance(
    experiment: Experiment, names: Sequence[str], output: str | Path, seeds: int
) -> pd.DataFrame:
    """`pt.Experiment` on the runs of a study, seed by seed: the first system is the untrained encoder."""
    tables = []
    for seed in range(seeds):
        folders = {START: "seed-0", **dict.fromkeys(names, f"seed-{seed}")}
        runs = [
            _run(Path(output) / name / folder / "run.trec", experiment.topics)
            for name, folder in folders.items()
        ]
        table = pt.Experiment(
            runs, experiment.topics, experiment.qrels, list(_measures(experiment.measures)),
            names=list(folders), baseline=0, correction="holm",
        )  # fmt: skip
        tables.append(table.assign(seed=seed))
    return pd.concat(tables, ignore_index=True)


def _run(path: Path, topics: pd.DataFrame) -> pd.DataFrame:
    if not path.stat().st_size:  # nothing was found
        return pd.DataFrame({name: [] for name in ("qid", "docno", "score", "rank", "query")})
    return read_run(path).merge(topics[["qid", "query"]], on="qid")


def _measures(names: Iterable[str]) -> Mapping[Any, None]:
    import ir_measures

    return dict.fromkeys(ir_measures.parse_measure(name) for name in names)
