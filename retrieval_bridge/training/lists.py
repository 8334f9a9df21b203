"""Where training lists come from, as settings that a command line or a YAML file can give."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyterrier as pt

from larpo_ir.data.negatives import sample_lists
from retrieval_bridge.retrieval.measures import stamp_of
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.systems import made_of, system, weights_of
from retrieval_bridge.training.mining import (
    AnswerGrades,
    Listed,
    Negatives,
    OtherTopicsPassages,
    WithoutAnswers,
    WithoutNear,
    mine,
    read_negatives,
)

if TYPE_CHECKING:
    from datasets import Dataset

    from retrieval_bridge.collections.formats import Collection


@dataclass
class ListConfig:
    """From a collection to training lists: what is mined, left out, graded and chosen.

    Args:
        sources: whose passages are negatives, one from each in turn: systems (`bm25`, `minilm`, a folder, `random`,
            see `retrieval_bridge.retrieval.systems`), `in_batch` (relevant passages of other topics), `collection` (the
            negatives in DPR's and Tevatron's files), or a file of negatives (.trec, .tsv, .jsonl).
        depth: so many passages of each source are mined.
        skip: leave out the first so many, where false negatives are likely.
        num_negatives: in a list.
        hardest: the best-ranked negatives, instead of a random draw from `depth`.
        without_answers: leave out passages that hold an answer string.
        without_near: leave out passages whose score, by their source, is within this of the positive's.
        cross_encoder: with `without_near`, score by this cross-encoder; with grades `cross_encoder`, grade by it.
        grades: what lists learn from: `qrels`; `answers` (2 for judged passages, 1 for others with an answer); or
            `cross_encoder` (its scores: reranker → retriever distillation).
    """

    sources: list[str] = field(default_factory=lambda: ["bm25"])
    depth: int = 50
    skip: int = 0
    num_negatives: int = 7
    hardest: bool = False
    without_answers: bool = False
    without_near: float | None = None
    cross_encoder: str | None = None
    grades: Literal["qrels", "answers", "cross_encoder"] = "qrels"

    def __post_init__(self) -> None:
        if not self.sources or self.depth < 1:
            raise ValueError(
                f"lists need a source and a depth of at least 1, got {self.sources} and {self.depth}"
            )
        if self.grades not in GRADES:
            raise ValueError(f"unknown grades {self.grades!r}; choose one of {', '.join(GRADES)}")
        if self.grades == "cross_encoder" and self.cross_encoder is None:
            raise ValueError("grades by a cross_encoder need one: name its folder, or its name on the hub")
        self.sampler()

    def sampler(self) -> Negatives:
        """Which of the candidates make a list."""
        source = self.sources[0] if len(self.sources) == 1 else tuple(self.sources)
        return Negatives(source, self.num_negatives, skip=self.skip, depth=self.depth, hardest=self.hardest)

    def candidates(
        self,
        collection: Collection,
        passages: Passages,
        split: str = "train",
        path: str | os.PathLike[str] | None = None,
        seed: int = 0,
    ) -> pd.DataFrame:
        """Mine, leave out and grade: candidates of a split's topics."""
        topics, qrels = collection.topics(split), collection.qrels(split)
        sources: dict[str, pt.Transformer] = {}
        for name in self.sources:
            if name == "in_batch":
                sources[name] = OtherTopicsPassages(passages, qrels, self.depth, seed)
            elif name == "collection":
                sources[name] = Listed(
                    collection.negatives(split), passages, f"the negatives of {collection.name}"
                )
            elif _is_file(name):
                sources[name] = Listed(read_negatives(name), passages, name)
            else:
                options = {"number": self.depth, "seed": seed} if name == "random" else {}
                sources[name] = system(name, passages, path, options) % self.depth
        found = mine(topics, qrels, passages, sources)
        for transformer in self.judges():
            found = transformer.transform(found)
        return found

    def judges(self) -> list[pt.Transformer]:
        """Transformers of candidates that leave out and grade, in their order."""
        judges: list[pt.Transformer] = [WithoutAnswers()] if self.without_answers else []
        reranker = None
        if self.cross_encoder is not None:
            from retrieval_bridge.retrieval.reranker import CrossEncoderReranker

            reranker = CrossEncoderReranker(self.cross_encoder)
        if self.without_near is not None:
            judges.append(WithoutNear(self.without_near, reranker))
        grade = {"qrels": None, "answers": AnswerGrades(), "cross_encoder": reranker}[self.grades]
        return judges if grade is None else [*judges, grade]

    def settings(self) -> dict[str, Any]:
        """What lists depend on: the fields, and what the files, folders and models among them hold now."""
        content = {
            name: made_of(name) for name in self.sources if name not in OF_COLLECTION and not _is_file(name)
        }
        content |= {name: {name: stamp_of(name)} for name in self.sources if _is_file(name)}
        if self.cross_encoder is not None:
            content[self.cross_encoder] = {self.cross_encoder: weights_of(self.cross_encoder, reranks=True)}
        return {**asdict(self), "content": {name: parts for name, parts in content.items() if parts}}

    def lists(self, candidates: pd.DataFrame, seed: int = 0) -> Dataset:
        """Training lists of all topics, as `larpo_ir.data.negatives.sample_lists` makes them."""
        return sample_lists(candidates, self.sampler(), seed)


def _is_file(source: str) -> bool:
    """Whether a source is a file of negatives."""
    return os.path.splitext(source)[1] in (".trec", ".tsv", ".jsonl", ".run")


OF_COLLECTION = ("in_batch", "collection")
GRADES = ("qrels", "answers", "cross_encoder")
