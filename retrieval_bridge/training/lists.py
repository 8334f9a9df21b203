"""Settings that lead from a collection to training lists, for a command line or a YAML file."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
import pyterrier as pt

from larpo_ir.data.digests import digest_files
from larpo_ir.data.negatives import sample_lists
from larpo_ir.data.settings import described, documented
from retrieval_bridge.collections.collection import Collection
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.systems import made_of, system, weights_of
from retrieval_bridge.training.mining import mine
from retrieval_bridge.training.negative_files import read_negatives
from retrieval_bridge.training.negatives import Negatives
from retrieval_bridge.training.sources import Listed, OtherTopicsPassages

if TYPE_CHECKING:
    from datasets import Dataset

OF_COLLECTION = ("in_batch", "collection")
GRADES = ("qrels", "answers", "cross_encoder")


@documented
@dataclass
class ListConfig:
    """From a collection to training lists: sources of negatives, filters, grades, and the choice of a list.

    Raises `ValueError` for unknown names (listing the choices) and numbers out of range.
    """

    sources: list[str] = field(
        default_factory=lambda: ["bm25"],
        metadata=described(
            "Mining",
            "sources of negatives, one negative from each in turn: systems (bm25, minilm, a folder, random, see"
            " retrieval_bridge.retrieval.systems), in_batch (relevant passages of other topics), collection (the"
            " negatives in DPR's and Tevatron's files), or a file of negatives (.trec, .tsv, .jsonl)",
        ),
    )
    depth: int = field(
        default=50, metadata=described("Mining", "number of passages mined per topic and source")
    )
    skip: int = field(
        default=0,
        metadata=described(
            "Mining",
            "number of best passages of each source that are left out; false negatives are likely there",
        ),
    )
    num_negatives: int = field(default=7, metadata=described("Lists", "number of negatives in a list"))
    hardest: bool = field(
        default=False,
        metadata=described("Lists", "take the best-ranked negatives, instead of a random draw from depth"),
    )
    without_answers: bool = field(
        default=False, metadata=described("Filters", "leave out negatives that hold an answer string")
    )
    without_near: float | None = field(
        default=None,
        metadata=described(
            "Filters",
            "leave out negatives whose score, by their source, is within this margin of the positive's; by default"
            " none",
        ),
    )
    cross_encoder: str | None = field(
        default=None,
        metadata=described(
            "Filters",
            "cross-encoder, a folder or a name on the hub, that scores for without_near or for grades=cross_encoder",
        ),
    )
    grades: Literal["qrels", "answers", "cross_encoder"] = field(
        default="qrels",
        metadata=described(
            "Lists",
            "grades that lists learn from: qrels; answers (2 for judged passages, 1 for others with an answer); or"
            " cross_encoder (its scores: distillation from a reranker to a retriever)",
        ),
    )

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
        """The sampler that chooses a list from candidates."""
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
        sources = {name: self._source(name, collection, passages, split, path, seed) for name in self.sources}
        found = mine(topics, qrels, passages, sources)
        for transformer in self.judges():
            found = transformer.transform(found)
        return found

    def _source(
        self,
        name: str,
        collection: Collection,
        passages: Passages,
        split: str,
        path: str | os.PathLike[str] | None,
        seed: int,
    ) -> pt.Transformer:
        if name == "in_batch":
            return OtherTopicsPassages(passages, collection.qrels(split), self.depth, seed)
        if name == "collection":
            return Listed(collection.negatives(split), passages, f"the negatives of {collection.name}")
        if _is_file(name):
            return Listed(read_negatives(name), passages, name)
        options = {"number": self.depth, "seed": seed} if name == "random" else {}
        return system(name, passages, path, options) % self.depth

    def judges(self) -> list[pt.Transformer]:
        """Transformers of candidates that leave out and grade, in their order."""
        from retrieval_bridge.training.filters import WithoutAnswers, WithoutNear
        from retrieval_bridge.training.grades import AnswerGrades

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
        """Everything that lists depend on: the fields, and hashes of the files, folders and models among them."""
        content = {
            name: made_of(name) for name in self.sources if name not in OF_COLLECTION and not _is_file(name)
        }
        content |= {name: {name: digest_files(name)} for name in self.sources if _is_file(name)}
        if self.cross_encoder is not None:
            content[self.cross_encoder] = {self.cross_encoder: weights_of(self.cross_encoder, reranks=True)}
        return {**asdict(self), "content": {name: parts for name, parts in content.items() if parts}}

    def lists(self, candidates: pd.DataFrame, seed: int = 0) -> Dataset:
        """Training lists of all topics, as `larpo_ir.data.negatives.sample_lists` makes them."""
        return sample_lists(candidates, self.sampler(), seed)


def _is_file(source: str) -> bool:
    """Whether a source is a file of negatives."""
    return os.path.splitext(source)[1] in (".trec", ".tsv", ".jsonl", ".run")
