"""Passages on disk, found by their place, to which every index refers.

A folder that `datasets` wrote (Arrow, memory-mapped), so that neither making nor reading it needs a collection to fit
in memory. Indexes know passages by their place in it, 0 to n - 1.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from larpo_ir.data.files import whole_folder, write_atomically
from larpo_ir.data.text_files import first_line
from retrieval_bridge.collections.collection import Collection
from retrieval_bridge.collections.fields import string_of
from retrieval_bridge.collections.paths import written_at

if TYPE_CHECKING:
    from datasets import Dataset

MANIFEST = "passages.json"
COLUMNS = ("docno", "title", "text")


def full_text(title: str | None, text: str) -> str:
    """Title and text, as they are indexed, encoded and reranked.

    >>> full_text("Rax", "A library."), full_text("", "A library.")
    ('Rax A library.', 'A library.')
    """
    return f"{title} {text}" if title else text


class Passages:
    """Passages by place: `len(p)`, `p.frame([3, 0])`, `p.full_texts(0, 64)`, `p.places_of(["p3"])`.

    Made by `build` and opened by `load`; `fingerprint` names the content, `empty` is how many have no text, and
    `source` is the collection's `source()` when they were written. `temporary`: nobody chose their folder.
    """

    def __init__(
        self,
        directory: Path,
        dataset: Dataset,
        name: str,
        fingerprint: str,
        empty: int = 0,
        source: Any = None,
    ) -> None:
        self.directory, self.dataset, self.name, self.fingerprint = directory, dataset, name, fingerprint
        self.empty, self.source, self.temporary = empty, source, False
        self._place_of: dict[str, int] | None = None

    @classmethod
    def build(
        cls, corpus: Collection | Iterable[Mapping[str, str]], directory: str | os.PathLike[str]
    ) -> Passages:
        """Write passages (`docno, title, text`) to a folder, streaming; a crash or an error leaves nothing there.

        A passage with neither title nor text keeps its place; a warning counts such passages. Raises `ValueError` for
        no passages at all, for nothing but empty ones, and for a docno met twice.
        """
        import xxhash
        from datasets import Dataset, Features, Value
        from datasets.arrow_writer import ArrowWriter

        rows = corpus.corpus() if hasattr(corpus, "corpus") else corpus
        source = corpus.source() if hasattr(corpus, "source") else None
        content, ids, empty = Fingerprint(), [], list[str]()
        features = Features({name: Value("large_string" if name == "text" else "string") for name in COLUMNS})
        with whole_folder(directory) as filling:
            with ArrowWriter(features=features, path=str(filling / "data.arrow")) as writer:
                for passage in map(checked, rows):
                    content.add(passage)
                    ids.append(xxhash.xxh3_64_intdigest(passage["docno"].encode()))
                    if not (passage["title"].strip() or passage["text"].strip()):
                        empty.append(passage["docno"])
                    writer.write(passage)
                writer.finalize()
            if not ids:
                raise ValueError(f"the corpus is empty: there is nothing to index in {directory}")
            if len(empty) == len(ids):
                raise ValueError(f"none of the {len(ids)} passages has a text: there is nothing to index")
            dataset = Dataset.from_file(str(filling / "data.arrow"))
            _refuse_duplicates(np.array(ids, dtype=np.uint64), dataset)
            name = getattr(corpus, "name", "")
            manifest = {
                "name": name, "passages": len(ids), "fingerprint": content.hexdigest(), "empty": len(empty),
                "source": source, "written": written_at(filling / "data.arrow"),
            }  # fmt: skip
            (filling / MANIFEST).write_text(json.dumps(manifest) + "\n", encoding="utf-8")
            del dataset
        if empty:
            warnings.warn(
                f"{name or 'the corpus'}: {len(empty)} of {len(ids)} passages have neither title nor text, such as "
                f"{empty[0]!r}; they are indexed as empty ones",
                stacklevel=2,
            )
        return cls.load(directory)

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Passages:
        """Open a folder that `build` wrote.

        Raises `FileNotFoundError` where there is nothing, and `ValueError` for damaged passages.
        """
        from datasets import Dataset

        directory = Path(directory)
        if not (directory / MANIFEST).is_file():
            raise FileNotFoundError(f"{directory}: no passages there; make them with retrieval-bridge index")
        try:
            manifest = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
            data = directory / "data.arrow"
            dataset = Dataset.from_file(str(data))
            passages = cls(
                directory, dataset, str(manifest["name"]), str(manifest["fingerprint"]), manifest.get("empty", 0),
                manifest.get("source"),
            )  # fmt: skip
            if len(dataset) != manifest["passages"]:
                raise ValueError(f"{len(dataset)} passages instead of {manifest['passages']}")
            if manifest.get("written") != written_at(data):  # copied, or damaged
                passages._verify()
                passages.note(written=written_at(data))
        except Exception as error:  # JSON's, of its content, Arrow's: damage has many names
            raise ValueError(
                f"{directory}: these passages are damaged ({first_line(error)}); delete the folder and index again"
            ) from None
        return passages

    def _verify(self) -> None:
        """Raise `ValueError` unless the fingerprint is that of the content."""
        self.dataset.data.table.validate(full=True)
        content = Fingerprint()
        for passage in self:
            content.add(passage)
        if content.hexdigest() != self.fingerprint:
            raise ValueError("their content has changed since they were written")

    def note(self, **known: Any) -> None:
        """Keep facts in the manifest, if it may be written to, that it took a pass over all passages to find out."""
        path = self.directory / MANIFEST
        manifest = {**json.loads(path.read_text(encoding="utf-8")), **known}
        with suppress(OSError):
            write_atomically(path, json.dumps(manifest) + "\n")

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[dict[str, str]]:
        return iter(self.dataset)

    def corpus(self) -> Iterator[dict[str, str]]:
        """The passages as a collection streams them."""
        return iter(self)

    def frame(self, places: Sequence[int] | np.ndarray) -> pd.DataFrame:
        """`docno, title, text` of the passages at these places, in their order; a place may come twice."""
        distinct, inverse = np.unique(np.asarray(places, dtype=np.int64), return_inverse=True)
        rows = self.dataset.select(distinct.tolist())
        return pd.DataFrame({name: np.array(rows[name][:], dtype=object)[inverse] for name in COLUMNS})

    def with_texts(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows with `title` and `text` of their docno. Raises `ValueError` for a docno that is not there."""
        texts = self.frame(self.places_of(rows["docno"])).drop(columns="docno")
        return pd.concat([rows.reset_index(drop=True), texts], axis=1)

    def full_texts(self, start: int, stop: int) -> list[str]:
        """Title and text of the passages from `start` up to `stop`."""
        part = self.dataset[start:stop]
        return [full_text(title, text) for title, text in zip(part["title"], part["text"], strict=True)]

    def places_of(self, docnos: Iterable[str]) -> np.ndarray:
        """int64 places of docnos. Raises `ValueError` naming the first that is not there.

        The first call reads all docnos into memory (about 100 bytes each).
        """
        if self._place_of is None:
            self._place_of = {docno: place for place, docno in enumerate(self.dataset["docno"][:])}
        wanted = [str(docno) for docno in docnos]
        unknown = next((docno for docno in wanted if docno not in self._place_of), None)
        if unknown is not None:
            raise ValueError(
                f"document {unknown!r} is not among the {len(self)} passages of {self.directory}"
            )
        return np.array([self._place_of[docno] for docno in wanted], dtype=np.int64)


class Fingerprint:
    """32 hexadecimal digits that name the content of passages, in their order."""

    def __init__(self) -> None:
        import xxhash

        self._digest = xxhash.xxh3_128()

    def add(self, passage: Mapping[str, str]) -> None:
        docno, title, text = (passage[name] for name in COLUMNS)
        self._digest.update(f"{len(docno)} {docno}{len(title)} {title}{len(text)} {text}".encode())

    def hexdigest(self) -> str:
        return str(self._digest.hexdigest())


def checked(row: Mapping[str, Any]) -> dict[str, str]:
    """A passage as it is written. Raises `ValueError` for text that is none."""
    passage = {"docno": str(row["docno"]), "title": row.get("title") or "", "text": row["text"] or ""}
    for name, value in passage.items():
        string_of(value, name, f"passage {passage['docno']!r:.60}")
    return passage


def _refuse_duplicates(ids: np.ndarray, dataset: Dataset) -> None:
    """Raise for a docno met twice, from 64-bit hashes: 8 bytes a passage, where the names would take 100."""
    order = np.argsort(ids, kind="stable")
    same = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    for first, second in zip(order[same].tolist(), order[same + 1].tolist(), strict=True):
        docno = dataset[first]["docno"]
        if docno == dataset[second]["docno"]:
            raise ValueError(
                f"docno {docno!r} occurs twice in the corpus (passages {first + 1} and {second + 1}); make it unique"
            )
