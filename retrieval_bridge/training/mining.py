"""Mining negatives: what retrievers bring, as candidates for the samplers of `larpo_ir`.

    candidates = mine(topics, qrels, passages, {"bm25": BM25(c) % 50, "dense": DenseRetriever(encoder, c) % 50})
    candidates = (WithoutAnswers() >> WithoutNear(0.05))(candidates)          # probably false negatives
    lists = sample_lists(candidates, Negatives("bm25", num_negatives=7))      # larpo_ir.data.negatives

Candidates are a results frame: `text` is title and text; `label` what the qrels say, 0 where they say nothing;
`score` the relevance to learn from (as a reward is for responses), at first the label; `source` the retriever that
brought the row, `source_rank` and `source_score` what it was there. A passage that two retrievers bring is two rows
of one docno; judged passages are rows with the source `judged`. Every sampler of `larpo_ir.data.negatives` reads such a
frame, and a reranker grades it: after `CrossEncoderReranker(m)(candidates)` a retriever learns from a cross-encoder.

How hard the negatives are, easiest first (`LADDER`): passages drawn at random, other questions' passages, BM25's, and
those of the dense retriever that is being trained. For responses the ladder is that of `larpo_ir.data.negatives`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyterrier as pt

from larpo_ir.data.files import write_atomically
from larpo_ir.data.negatives import rng_of
from larpo_ir.data.records import id_text, read_records
from larpo_ir.data.results import rank_results, require_columns
from larpo_ir.data.sampling import Choice, Chooser, Columns, ranking_of
from larpo_ir.data.text_files import read_lines
from larpo_ir.data.trec import read_results, write_run
from larpo_ir.rewards.reranker import Reranker
from retrieval_bridge.collections.answers import holds_answer
from retrieval_bridge.collections.formats import Collection
from retrieval_bridge.collections.rows import bare
from retrieval_bridge.retrieval.passages import Passages, full_text, passages_of, results_frame

JUDGED = "judged"
LADDER = ("random", "in_batch", "bm25", "dense")
CANDIDATES = ["qid", "query", "docno", "text", "score", "label", "source", "source_rank", "source_score"]


def mine(
    topics: pd.DataFrame,
    qrels: pd.DataFrame,
    collection: Collection | Passages | str | os.PathLike[str],
    sources: Mapping[str, pt.Transformer],
) -> pd.DataFrame:
    """Candidates of every topic that has a relevant passage: its judged passages, and what each source retrieves.

    Args:
        topics: `qid, query` and maybe `answers`, which are kept.
        qrels: `qid, docno, label`; what is not judged has relevance 0.
        collection: where the texts are (what `passages_of` takes).
        sources: retrievers by name, cut to the depth that is wanted (`BM25(c) % 50`).

    Raises `ValueError` for empty qrels, qrels and topics without a common query, a judged passage that is not there.
    """
    passages = passages_of(collection)
    twice = qrels[qrels.duplicated(["qid", "docno"])]
    if len(twice):
        raise ValueError(
            f"the qrels judge {twice['docno'].iloc[0]!r} twice for query {twice['qid'].iloc[0]!r}"
        )
    if qrels.empty:
        raise ValueError("the qrels are empty: no topic has a relevant passage to learn from")
    relevant = set(qrels.loc[qrels["label"] > 0, "qid"])
    asked = topics[topics["qid"].isin(relevant)]
    if asked.empty:
        raise ValueError(
            f"no topic has a relevant passage: topics have query ids like {topics['qid'].iloc[0]!r}, "
            f"qrels like {qrels['qid'].iloc[0]!r}"
        )
    judged = qrels[qrels["qid"].isin(set(asked["qid"]))]
    results = {JUDGED: _judged(asked, judged, passages)}
    results |= {name: source.transform(asked) for name, source in sources.items()}
    return candidates_of(results, judged)


def candidates_of(results: Mapping[str, pd.DataFrame], qrels: pd.DataFrame) -> pd.DataFrame:
    """Candidates from results frames by source: texts joined with their titles, relevance from the qrels (else 0)."""
    frames = []
    for source, frame in results.items():
        require_columns(frame, ["qid", "query", "docno", "text", "score"], f"results of {source}")
        ranked = rank_results(frame)
        titles = ranked["title"] if "title" in ranked.columns else [""] * len(ranked)
        texts = [full_text(title, text) for title, text in zip(titles, ranked["text"], strict=True)]
        ranked = ranked.rename(columns={"rank": "source_rank", "score": "source_score"})
        frames.append(ranked.assign(text=texts, source=source))
    labels = qrels.set_index(["qid", "docno"])["label"]
    together = pd.concat(frames, ignore_index=True).drop(columns="title", errors="ignore")
    pairs = pd.MultiIndex.from_frame(together[["qid", "docno"]])
    together["label"] = together["score"] = labels.reindex(pairs).fillna(0).to_numpy(float)
    order = np.argsort(pd.factorize(together["qid"])[0], kind="stable")
    together = together.iloc[order].reset_index(drop=True)
    return together[[*CANDIDATES, *(name for name in together.columns if name not in CANDIDATES)]]


def _judged(topics: pd.DataFrame, qrels: pd.DataFrame, passages: Passages) -> pd.DataFrame:
    rows = qrels[["qid", "docno", "label"]].merge(topics, on="qid")
    texts = passages.frame(passages.places_of(rows["docno"])).drop(columns="docno")
    return pd.concat([rows.drop(columns="label"), texts], axis=1).assign(score=rows["label"].astype(float))


# Sources besides retrievers


class RandomPassages(pt.Transformer):
    """Passages drawn at random, without replacement: a retriever that knows nothing. One stream per seed and qid."""

    def __init__(self, passages: Passages, number: int = 1000, seed: int = 0) -> None:
        self.passages, self.number, self.seed = passages, number, seed

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        number = min(self.number, len(self.passages))
        places = [
            rng_of(self.seed, qid).choice(len(self.passages), number, replace=False) for qid in inp["qid"]
        ]
        scores = [-np.arange(number, dtype=float)] * len(inp)
        return results_frame(inp, places, scores, self.passages)


class OtherTopicsPassages(pt.Transformer):
    """Relevant passages of other topics, at random: what a topic meets as in-batch negatives (Karpukhin et al. 2020).

    Mined, so that lists of one length differ in nothing but their negatives. (`train_retriever(..., in_batch=True)`
    takes all passages of the batch.)
    """

    def __init__(self, passages: Passages, qrels: pd.DataFrame, number: int = 50, seed: int = 0) -> None:
        self.passages, self.number, self.seed = passages, number, seed
        relevant = qrels[qrels["label"] > 0]
        self._own = {qid: set(docnos) for qid, docnos in relevant.groupby("qid")["docno"]}
        self._pool = relevant["docno"].drop_duplicates().to_numpy()

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        drawn = [self._draw(qid) for qid in inp["qid"]]
        scores = [-np.arange(len(places), dtype=float) for places in drawn]
        return results_frame(inp, drawn, scores, self.passages)

    def _draw(self, qid: str) -> np.ndarray:
        own = self._own.get(qid, set())
        rng, wanted = rng_of(self.seed, qid), min(self.number + len(own), len(self._pool))
        docnos = [docno for docno in rng.choice(self._pool, wanted, replace=False) if docno not in own]
        return self.passages.places_of(docnos[: self.number])


# From candidates to lists


@dataclass(frozen=True)
class Negatives(Chooser):
    """The best judged passage against negatives from one source, or from several in turn.

    Args:
        source: a name, or several (a mixture: one from each in turn); None takes from all together.
        num_negatives: so many, or as many as there are.
        num_positives: so many of the most relevant passages.
        skip, depth: take negatives from the ranks `skip` (from 0) up to `depth` of their source.
        hardest: the best-ranked ones instead of a random draw.
        by: the column that tells positives from negatives: `label`, or `score`, which a candidate pool has.
        threshold: passages with at least this much there are positives.

    Nothing to learn where a topic has no positive or no negative.
    """

    source: str | Sequence[str] | None = None
    num_negatives: int = 7
    num_positives: int = 1
    skip: int = 0
    depth: int | None = None
    hardest: bool = False
    by: str = "label"
    threshold: float = 1.0

    def __post_init__(self) -> None:
        for name in ("num_negatives", "num_positives"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be at least 1")
        if self.skip < 0 or (self.depth is not None and self.depth <= self.skip):
            raise ValueError(f"negatives from rank {self.skip} up to {self.depth}: there are none")

    @property
    def reads(self) -> tuple[str, ...]:
        by_rank = ("source_rank",) if self.hardest or self.skip or self.depth is not None else ()
        return ("docno", "score", self.by, *(("source",) if self.source is not None else ()), *by_rank)

    def choose(self, group: Columns, rng: np.random.Generator) -> Choice | None:
        ranking = ranking_of(group, rng)
        relevant = ranking.rows[group[self.by][ranking.rows] >= self.threshold]
        left = (
            (group[self.by] < self.threshold)
            & np.isfinite(group["score"])
            & ~np.isin(group["docno"], group["docno"][relevant])
        )
        if self.skip or self.depth is not None:
            ranks = group["source_rank"]
            left &= (ranks >= self.skip) & (ranks < (np.inf if self.depth is None else self.depth))
        sources = [self.source] if isinstance(self.source, str | None) else self.source
        piles = [
            self._pile(group, left if source is None else left & (group["source"] == source), rng)
            for source in sources
        ]
        chosen: dict[Any, int] = {}
        for row in (row for turn in zip_longest(*piles) for row in turn if row is not None):
            if len(chosen) < self.num_negatives:
                chosen.setdefault(group["docno"][row], row)
        if not len(relevant) or not chosen:
            return None
        negatives = np.array(list(chosen.values()))
        negatives = negatives[np.argsort(-group["score"][negatives], kind="stable")]
        return Choice(np.concatenate([relevant[: self.num_positives], negatives]))

    def _pile(self, group: Columns, where: np.ndarray, rng: np.random.Generator) -> list[int]:
        """Rows of a source in the order in which they are taken."""
        rows = rng.permutation(np.flatnonzero(where))
        if self.hardest:
            rows = rows[np.argsort(group["source_rank"][rows], kind="stable")]
        return [int(row) for row in rows]


# Probably false negatives: transformers of candidates


class WithoutAnswers(pt.Transformer):
    """Drops passages with a label below `threshold` that hold one of the topic's `answers`."""

    def __init__(self, threshold: float = 1.0) -> None:
        self.threshold = threshold

    def __repr__(self) -> str:
        return f"WithoutAnswers({self.threshold})"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        require_columns(inp, ["text", "label", "answers"], "the filter by answers")
        negative = (inp["label"] < self.threshold).to_numpy()
        right = np.zeros(len(inp), dtype=bool)
        rows = inp.loc[negative, ["text", "answers"]]
        right[negative] = [
            holds_answer(text, answers) for text, answers in zip(rows["text"], rows["answers"], strict=True)
        ]
        return inp[~right].reset_index(drop=True)


class WithoutNear(pt.Transformer):
    """Drops passages whose score comes within `margin` of the topic's best positive: they may be relevant, too.

    Args:
        margin: a negative stays where its score is less than positive − margin, or, if `relative`, less than
            positive · (1 − margin), the rule of Moreira et al. 2024 (arXiv:2407.15831).
        scorer: what scores, such as `CrossEncoderReranker(m)` (Qu et al. 2021, arXiv:2010.08191); None: each source
            by its own `source_score`, where it has retrieved the positive, and not at all where it has not.
        threshold: label from which on a passage is a positive.

    The frame's `score` stays the relevance.
    """

    def __init__(
        self, margin: float, scorer: Reranker | None = None, relative: bool = False, threshold: float = 1.0
    ) -> None:
        if margin < 0:
            raise ValueError(f"margin is {margin!r}; it must not be negative")
        self.margin, self.scorer, self.relative, self.threshold = margin, scorer, relative, threshold

    def __repr__(self) -> str:
        return f"WithoutNear({self.margin}, {self.scorer!r}, {self.relative}, {self.threshold})"

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        require_columns(inp, CANDIDATES, "the filter by margin")
        if inp.empty:
            return inp
        if self.scorer is None:
            scores, by = inp["source_score"].to_numpy(float), ["qid", "source"]
        else:
            scores, by = np.asarray(self.scorer.score(inp), dtype=float), ["qid"]
        positive = (inp["label"] >= self.threshold).to_numpy()
        best = pd.Series(np.where(positive, scores, np.nan), index=inp.index)
        best = best.groupby([inp[name] for name in by], sort=False).transform("max").to_numpy()
        limit = best - (np.abs(best) * self.margin if self.relative else self.margin)
        return inp[positive | ~(scores >= limit)].reset_index(drop=True)


class AnswerGrades(Reranker):
    """Graded relevance from answer strings: 2 for passages judged relevant, 1 for others with an answer, or 0."""

    columns = ("qid", "docno", "text", "answers", "label")

    def score(self, results: pd.DataFrame) -> np.ndarray:
        right = [
            holds_answer(text, answers)
            for text, answers in zip(results["text"], results["answers"], strict=True)
        ]
        return np.where(results["label"] >= 1, 2.0, np.array(right, dtype=float))


# Files


def read_negatives(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Negatives `qid, docno, rank, score` (score = −rank where the file has none) from

    * `.tsv`: `qid <tab> docno` on a line, or `qid <tab> docno,docno,…`;
    * `.jsonl`: `{"qid": …, "docnos": […]}`;
    * any other name: a TREC run (`larpo_ir.data.trec`);

    each maybe as `.gz`. Blank lines are skipped. Raises `ValueError` with file and line for what is none of them.
    """
    path = Path(path)
    if bare(path).suffix not in LISTED:
        return rank_results(read_results(path))[["qid", "docno", "rank", "score"]]
    listed: dict[str, list[str]] = {}
    for place, qid, docnos in LISTED[bare(path).suffix](path):
        if not docnos:
            raise ValueError(f"{place}: query {qid!r} has no negatives")
        listed.setdefault(qid, []).extend(docnos)
    rows = [
        (qid, docno, rank, -float(rank)) for qid, names in listed.items() for rank, docno in enumerate(names)
    ]
    if not rows:
        raise ValueError(f"{path} is empty: no negatives to read")
    return pd.DataFrame(rows, columns=["qid", "docno", "rank", "score"])


def _tsv(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    for number, line in read_lines(path):
        cells = line.strip("\r\n").split("\t")
        if not line.strip():
            continue
        if len(cells) != 2 or not cells[0].strip():
            raise ValueError(f"{path}:{number}: expected qid<tab>docno or qid<tab>docno,docno,…")
        docnos = (docno.strip() for docno in cells[1].split(","))
        yield f"{path}:{number}", cells[0].strip(), [docno for docno in docnos if docno]


def _jsonl(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    for place, row in read_records(path):
        qid, docnos = row.get("qid", row.get("query_id")), row.get("docnos", row.get("negatives"))
        if qid is None or not isinstance(docnos, list):
            raise ValueError(f'{place}: expected {{"qid": …, "docnos": […]}}')
        yield place, id_text(qid, "qid", place), [id_text(docno, "docno", place) for docno in docnos]


LISTED = {".tsv": _tsv, ".jsonl": _jsonl}


def write_negatives(negatives: pd.DataFrame, path: str | os.PathLike[str], tag: str = "negatives") -> Path:
    """Write `qid, docno, score` as `.tsv` (`qid <tab> docno,docno,…`), `.jsonl` or, named otherwise, a TREC run."""
    ranked = rank_results(negatives).drop_duplicates(["qid", "docno"])
    by_query = [(qid, names.tolist()) for qid, names in ranked.groupby("qid", sort=False)["docno"]]
    suffix = Path(path).suffix
    if suffix == ".tsv":
        if ranked["docno"].str.contains("[,\t]").any():
            raise ValueError(f"{path}: docnos with commas or tabs do not go into a .tsv; write a .jsonl")
        return write_atomically(path, "".join(f"{qid}\t{','.join(names)}\n" for qid, names in by_query))
    if suffix == ".jsonl":
        lines = (json.dumps({"qid": qid, "docnos": names}, ensure_ascii=False) for qid, names in by_query)
        return write_atomically(path, "".join(f"{line}\n" for line in lines))
    return write_run(ranked, path, tag)


class Listed(pt.Transformer):
    """Passages that are listed (`qid, docno`, maybe `rank` and `score`) as a source: what somebody else has mined.

    `read_negatives(file)` and `Collection.negatives(split)` are such lists; `name` is for messages. Raises
    `ValueError` where no topic has any.
    """

    def __init__(self, listed: pd.DataFrame, passages: Passages, name: str = "the list of negatives") -> None:
        self.name, self.passages = name, passages
        self.listed = listed.drop(columns="label", errors="ignore")
        if "score" not in self.listed:
            self.listed["score"] = -self.listed.groupby("qid", sort=False).cumcount().astype(float)

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        rows = inp.drop(columns=["score", "rank"], errors="ignore").merge(self.listed, on="qid")
        if rows.empty:
            listed = f"it lists {self.listed['qid'].iloc[0]!r}" if len(self.listed) else "it is empty"
            raise ValueError(f"{self.name} has nothing for topics like {inp['qid'].iloc[0]!r}: {listed}")
        texts = self.passages.frame(self.passages.places_of(rows["docno"]))
        return rank_results(pd.concat([rows, texts.drop(columns="docno")], axis=1))
