"""Data sets of the `ir_datasets` catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from larpo_ir.data.records import Located
from retrieval_bridge.collections.collection import Collection
from retrieval_bridge.collections.fields import Passage, passage_of
from retrieval_bridge.collections.frames import judgements, topics_frame
from retrieval_bridge.collections.paths import stamps_of


class IRDatasetsCollection(Collection):
    """A data set of the `ir_datasets` catalogue, which downloads its files when it is first read.

    Its only split is the data set itself if it has queries and qrels; otherwise its splits are the data sets below
    it that have queries, or itself if there are none.
    """

    def __init__(self, id: str) -> None:
        import ir_datasets

        registry = ir_datasets.registry
        try:
            self.dataset = registry[id]
        except KeyError:
            raise ValueError(f"{id!r}: no such file or folder, and no such ir_datasets id") from None
        self.name = id
        below = [key for key in registry if key.startswith(f"{id}/") and registry[key].has_queries()]
        if not below or (self.dataset.has_queries() and self.dataset.has_qrels()):
            below = [id] if self.dataset.has_queries() else []
        own = id.rpartition("/")[2]
        self._below = {own if key == id else key.removeprefix(f"{id}/"): key for key in below}
        self.splits = list(self._below)

    def _dataset(self, split: str) -> Any:
        import ir_datasets

        return ir_datasets.load(self._below[split])

    def corpus(self) -> Iterator[Passage]:
        if not self.dataset.has_docs():
            raise ValueError(f"{self.name} has no documents; name a data set that has some")
        for document in self.dataset.docs_iter():
            row = {"title": getattr(document, "title", ""), "_id": document.doc_id}
            text = getattr(document, "text", None) or getattr(document, "body", None)
            if text is None:
                row["title"], text = "", document.default_text()
            yield passage_of({**row, "text": text}, f"{self.name}: document {document.doc_id!r}")

    def source(self) -> dict[str, Any] | None:
        try:
            return stamps_of([Path(self.dataset.docs_path())])
        except Exception:  # of a data set that is made of others, or by a program
            return None

    def _topics(self, split: str) -> pd.DataFrame:
        def topic(query: Any) -> Located:
            where = f"{self._below[split]}: query {query.query_id!r}"
            answers = getattr(query, "answers", None)
            row = {"qid": query.query_id, "query": query.default_text()}
            return where, {**row, "answers": None if answers is None else list(answers)}

        return topics_frame(map(topic, self._dataset(split).queries_iter()), self._below[split])

    def _qrels(self, split: str) -> pd.DataFrame:
        dataset = self._dataset(split)
        if not dataset.has_qrels():
            self._no_qrels(split)
        rows = ((row.query_id, row.doc_id, row.relevance) for row in dataset.qrels_iter())
        return judgements(rows, self._below[split])
