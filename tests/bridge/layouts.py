"""The same small collection in every layout, as files."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas as pd

from retrieval_bridge.collections.formats import load_collection

CORPUS = [
    {"docno": "p1", "title": "Physics", "text": "Bardeen won twice. He was American."},
    {"docno": "p2", "title": "", "text": 'The "Nobel" prize.'},
    {"docno": "p3", "title": "Deadpool", "text": "A film."},
]


TOPICS = [
    {"qid": "q1", "query": "who won twice", "answers": ["John Bardeen", "Bardeen"]},
    {"qid": "q2", "query": "which prize", "answers": ["Nobel"]},
]


QRELS = [("q1", "p1", 1), ("q2", "p2", 1)]


NEGATIVES = [("q1", "p3", 0), ("q2", "p3", 0), ("q2", "p1", 0)]


def jsonl(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def context(number: int, key: str) -> dict[str, str]:
    passage = CORPUS[number - 1]
    return {key: passage["docno"], "title": passage["title"], "text": passage["text"]}


def beir(folder: Path, end: str = "") -> Path:
    jsonl(folder / f"corpus.jsonl{end}", *({"_id": p["docno"], **p} for p in CORPUS))
    queries = ({"_id": t["qid"], "text": t["query"], "metadata": {"answers": t["answers"]}} for t in TOPICS)
    jsonl(folder / f"queries.jsonl{end}", *queries)
    text(folder / "qrels" / "dev.tsv", "query-id\tcorpus-id\tscore\nq1\tp1\t1\nq2\tp2\t1\n")
    return folder


def tevatron_legacy(folder: Path) -> Path:
    positives, negatives = ([1], [2]), ([3], [3, 1])
    rows = (
        {
            "query_id": topic["qid"],
            "query": topic["query"],
            "answers": topic["answers"],
            "positive_passages": [context(n, "docid") for n in good],
            "negative_passages": [context(n, "docid") for n in bad],
        }
        for topic, good, bad in zip(TOPICS, positives, negatives, strict=True)
    )
    jsonl(folder / "dev.jsonl", *rows)
    return folder


def tevatron(folder: Path) -> Path:
    jsonl(folder / "corpus.jsonl", *({"docid": p["docno"], **p} for p in CORPUS))
    rows = (
        {
            "query_id": topic["qid"],
            "query_text": topic["query"],
            "query_image": None,
            "answers": topic["answers"],
            "positive_document_ids": [docno for qid, docno, _ in QRELS if qid == topic["qid"]],
            "negative_document_ids": [docno for qid, docno, _ in NEGATIVES if qid == topic["qid"]],
        }
        for topic in TOPICS
    )
    jsonl(folder / "dev.jsonl", *rows)
    return folder


def dpr(folder: Path, key: str = "passage_id") -> Path:
    contexts: tuple[tuple[list[int], ...], ...] = (([1], [3], []), ([2], [3], [1]))
    rows = [
        {
            "dataset": "nq",
            "question": topic["query"],
            "answers": topic["answers"],
            "positive_ctxs": [context(n, key) for n in good],
            "hard_negative_ctxs": [context(n, key) for n in hard],
            "negative_ctxs": [context(n, key) for n in other],
        }
        for topic, (good, hard, other) in zip(TOPICS, contexts, strict=True)
    ]
    text(folder / "biencoder-nq-dev.json", json.dumps(rows, indent=4))
    return folder


def trec(folder: Path) -> Path:
    jsonl(folder / "corpus.jsonl", *CORPUS)
    text(folder / "topics.dev.tsv", "".join(f"{t['qid']}\t{t['query']}\n" for t in TOPICS))
    text(folder / "qrels.dev.txt", "".join(f"{qid} 0 {docno} {label}\n" for qid, docno, label in QRELS))
    return folder


def triples(frame: pd.DataFrame) -> list[tuple[str, str, int]]:
    assert list(frame.columns) == ["qid", "docno", "label"]
    assert pd.api.types.is_integer_dtype(frame["label"])
    return list(frame.itertuples(index=False, name=None))


HEADER = "query-id\tcorpus-id\tscore\n"


ROW = {"question": "who", "answers": ["me"], "positive_ctxs": [{"passage_id": "1", "text": "a", "title": ""}]}


EMPTY = {"docno": "none", "title": "", "text": ""}


def beir_with_empty(folder: Path) -> Any:
    jsonl(
        beir(folder) / "corpus.jsonl",
        {"_id": "none", "title": None, "text": None},
        *({"_id": p["docno"], **p} for p in CORPUS),
    )
    return load_collection(folder)
