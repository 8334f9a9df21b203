"""Studies of trainings: one encoder to start from, several conditions; each is trained, searched with, measured.

Conditions are those of `larpo_ir.evaluation.studies`, so that a study of retrievers has the table, the figure and the
files of a study of policies.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyterrier as pt

from larpo_ir.data.digests import digest_rows
from larpo_ir.data.trec import write_run
from larpo_ir.evaluation.measures import evaluate_per_query
from larpo_ir.evaluation.studies import Condition
from retrieval_bridge.collections.collection import Collection, digest_of
from retrieval_bridge.retrieval.dense import DenseRetriever
from retrieval_bridge.retrieval.encoders import Encoder
from retrieval_bridge.retrieval.measures import MEASURES, depth_of
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.training.bi_encoder import train_retriever
from retrieval_bridge.training.lists import ListConfig

if TYPE_CHECKING:
    from datasets import Dataset

START = "start"  # the condition without training


@dataclass
class TrainingSetup:
    """The setup that the conditions of a study share.

    Every training starts from `encoder`; `train` is the split that is learnt from and `split` the one that is
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
        """Everything that the results depend on."""
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
    """A digest of the candidates from which lists are chosen, without the passages' texts."""
    return digest_rows(candidates, ["qid", "docno", "score", "label", "source", "source_rank"])


def lists_per_seed(candidates: pd.DataFrame, config: ListConfig) -> Callable[[int], Dataset]:
    """The training lists of a seed, the same for every condition that asks."""

    @cache
    def lists(seed: int) -> Dataset:
        return config.lists(candidates, seed)

    return lists
