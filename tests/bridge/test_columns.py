"""Every transformer of passages tells PyTerrier the truth about its columns before anything runs."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyterrier as pt
import pytest

import retrieval_bridge
from larpo_ir.rewards import VerifiableReward
from retrieval_bridge.retrieval import (
    BM25,
    CrossEncoderReranker,
    DenseRetriever,
    Passages,
    RandomPassages,
    passages_of,
)
from retrieval_bridge.training import AnswerGrades, Listed, OtherTopicsPassages, WithoutAnswers, WithoutNear
from tests.bridge.small import QRELS, TOPICS, SmallCollection, make_cross_encoder, make_encoder

ASKED = ["qid", "query"]
CANDIDATES = [*ASKED, "docno", "text", "score", "label", "source", "source_rank", "source_score"]
# Every column that one of them may need, for a positive and a negative of each topic.
ROWS = pd.DataFrame(
    [
        {"docno": docno, "title": "", "text": text, "label": label, "score": float(label), "rank": rank,
         "source": "bm25", "source_rank": rank, "source_score": -float(rank), "colour": "red"}
        for rank, (docno, text, label) in enumerate([("p0", "the apple is red", 1), ("p3", "the sky is blue", 0)])
    ]
).merge(TOPICS, how="cross").sort_values("qid", kind="stable", ignore_index=True)  # fmt: skip
VECTORS = np.eye(6, 8, dtype=np.float32)
ROWS["query_vec"] = [VECTORS[0]] * len(ROWS)

Make = Callable[[Passages, Path], pt.Transformer]
# A transformer, and alternatives of the columns that it needs.
CASES: dict[type[pt.Transformer], list[tuple[Make, list[list[str]]]]] = {
    BM25: [(lambda passages, _: BM25(passages), [ASKED])],
    DenseRetriever: [
        (lambda passages, _: DenseRetriever(make_encoder(), passages), [ASKED]),
        (
            lambda passages, _: DenseRetriever(None, passages, embeddings=VECTORS),
            [[*ASKED, "query_vec"]],
        ),
    ],
    RandomPassages: [(lambda passages, _: RandomPassages(passages, 3), [ASKED])],
    OtherTopicsPassages: [(lambda passages, _: OtherTopicsPassages(passages, QRELS), [ASKED])],
    Listed: [(lambda passages, _: Listed(QRELS, passages), [ASKED])],
    CrossEncoderReranker: [
        (lambda _, folder: CrossEncoderReranker(make_cross_encoder(folder)), [[*ASKED, "docno", "text"]])
    ],
    AnswerGrades: [(lambda *_: AnswerGrades(), [["qid", "docno", "text", "answers", "label"]])],
    WithoutAnswers: [(lambda *_: WithoutAnswers(), [["text", "label", "answers"]])],
    WithoutNear: [
        (lambda *_: WithoutNear(0.5), [CANDIDATES]),
        (lambda *_: WithoutNear(0.5, AnswerGrades()), [[*CANDIDATES, "answers"]]),
        (
            lambda *_: WithoutNear(0.5, VerifiableReward(lambda text, colour: colour in text)),
            [[*CANDIDATES, "colour"]],
        ),
    ],
}


@pytest.fixture(scope="module")
def passages() -> Passages:
    return passages_of(SmallCollection())


@pytest.mark.parametrize(
    ("make", "needs"),
    [
        pytest.param(*case, id=f"{kind.__name__}-{number}")
        for kind, cases in CASES.items()
        for number, case in enumerate(cases)
    ],
)
def test_declared_columns_are_the_real_ones(
    make: Make, needs: list[list[str]], passages: Passages, tmp_path: Path
) -> None:
    transformer = make(passages, tmp_path)
    rows = ROWS if "text" in needs[0] else ROWS.drop_duplicates("qid", ignore_index=True)
    of_note = pd.Series("of " + rows["qid"])
    assert sorted(map(sorted, pt.inspect.transformer_inputs(transformer))) == sorted(map(sorted, needs))
    for columns in (*needs, list(rows.columns)):
        frame = rows[columns].assign(note=of_note)
        promised = pt.inspect.transformer_outputs(transformer, list(frame.columns))
        results = transformer.transform(frame)
        assert len(results) >= 2
        if "qid" in columns:
            assert (results["note"] == "of " + results["qid"]).all()
        assert sorted(results.columns) == sorted(promised)
        for empty in (frame.iloc[:0], pd.DataFrame(columns=frame.columns)):
            assert transformer.transform(empty).empty
            assert sorted(transformer.transform(empty).columns) == sorted(promised)
    for columns in needs:
        for column in columns:
            lacking = [name for name in columns if name != column]
            with pytest.raises(pt.validate.InputValidationError):
                pt.inspect.transformer_outputs(transformer, lacking)
            with pytest.raises(ValueError, match=column):
                transformer.transform(rows[lacking])


def subclasses(kind: type) -> Iterator[type]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from subclasses(subclass)


def test_no_transformer_is_missing_above() -> None:
    for module in pkgutil.walk_packages(retrieval_bridge.__path__, "retrieval_bridge."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    ours = {kind for kind in subclasses(pt.Transformer) if kind.__module__.startswith("retrieval_bridge.")}
    assert {kind for kind in ours if not inspect.isabstract(kind)} == CASES.keys()
