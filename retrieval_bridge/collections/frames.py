"""Topics and qrels as frames, from the checked rows of a file."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from larpo_ir.data.records import Located, Row, id_text
from larpo_ir.data.trec import judged_once
from retrieval_bridge.collections.fields import string_of


def topics_frame(rows: Iterable[tuple[str, Row]], source: object) -> pd.DataFrame:
    """Rows of `qid, query, answers` (None: unknown), checked, as a frame."""
    topics: dict[str, Row] = {}
    for where, row in rows:
        if id_text(row["qid"], "qid", where) in topics:
            raise ValueError(f"{where}: the query id {row['qid']!r} occurs twice; ids must be unique")
        if not string_of(row["query"], "the query", where).strip():
            raise ValueError(f"{where}: the query {row['qid']!r} is empty; give it a text or take it out")
        topics[row["qid"]] = row
    if not topics:
        raise ValueError(f"{source}: no topics; it needs at least one query")
    frame = pd.DataFrame(topics.values(), columns=["qid", "query", "answers"])
    if frame["answers"].isna().all():
        return frame.drop(columns="answers")
    frame["answers"] = [answers or [] for answers in (row.get("answers") for row in topics.values())]
    return frame


def judgements(rows: Iterable[tuple[str, str, int]], source: object = None) -> pd.DataFrame:
    """Judgements as a frame; of several of one pair the first counts. `source`, a file, must hold at least one."""
    frame = pd.DataFrame(rows, columns=["qid", "docno", "label"])
    if frame.empty and source is not None:
        raise ValueError(f"{source}: empty qrels; they need at least one judgement")
    return frame.drop_duplicates(["qid", "docno"], ignore_index=True).astype({"label": int})


def qrels_frame(rows: Iterable[Located], known: pd.Series, queries: object, source: object) -> pd.DataFrame:
    """Rows of `qid, docno, label` as strings, checked against the ids of the queries there are.

    A judgement that occurs twice counts once; `ValueError` for one that contradicts an earlier one.
    """
    qids = set(known)

    def judgement(where: str, row: Row) -> tuple[str, tuple[str, str, str]]:
        if row["qid"] not in qids:
            raise ValueError(f"{where}: unknown query id {row['qid']!r}; {queries} has no such query")
        return where, (row["qid"], row["docno"], row["label"])

    labels = judged_once(judgement(where, row) for where, row in rows)
    return judgements(((*pair, label) for pair, label in labels.items()), source)
