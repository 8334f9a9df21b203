"""Files of negatives: tables, JSON Lines, TREC runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from larpo_ir.data.files import write_atomically
from larpo_ir.data.records import id_text, read_records
from larpo_ir.data.results import rank_results
from larpo_ir.data.text_files import read_lines
from larpo_ir.data.trec import read_results, write_run
from retrieval_bridge.collections.paths import bare


def read_negatives(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Negatives `qid, docno, rank, score` (score = −rank where the file has none) from

    * `.tsv`: `qid <tab> docno` on a line, or `qid <tab> docno,docno,…`;
    * `.jsonl`: `{"qid": …, "docnos": […]}`;
    * any other name: a TREC run (`larpo_ir.data.trec`);

    each maybe as `.gz`. Blank lines are skipped. Raises `ValueError` with file and line for anything else.
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
