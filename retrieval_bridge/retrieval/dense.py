"""Dense retrieval: an encoder, and a FAISS index of the passages' vectors."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from larpo_ir.data.files import whole_file
from larpo_ir.models.distributed import from_main, is_main_process, wait_for_everyone
from retrieval_bridge.collections.collection import Collection
from retrieval_bridge.retrieval import manifest
from retrieval_bridge.retrieval.collection_passages import passages_of
from retrieval_bridge.retrieval.embeddings import Shards, digest, encode_shards, precomputed
from retrieval_bridge.retrieval.encoders import Encoder, EncoderLike
from retrieval_bridge.retrieval.faiss_index import built_index, new_index, reason_of, searched, set_parameter
from retrieval_bridge.retrieval.manifest import MANIFEST
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.retriever import Found, Retriever

if TYPE_CHECKING:
    import faiss

INDEX = "index.faiss"
TRAINING_SIZE = 300_000


class DenseRetriever(Retriever):
    """Retriever whose score is the inner product of a query's and a passage's vector.

    Args:
        encoder: anything that `Encoder` takes; None if topics bring their vectors in a column `query_vec`, float
            [dimension] each, which needs no encoder.
        collection: a `Collection`, anything that `load_collection` knows, `Passages`, or a root folder of passages.
        index: a string of FAISS's index factory: `"Flat"` (exact), `"HNSW32"`, `"IVF64,PQ8x4"`, … The metric is the
            inner product.
        path: root folder: passages in `path/passages`, the index in `path/dense-NAME`. None: the folder in which the
            passages lie, which is temporary unless they were built elsewhere.
        name: of the index's folder; by default it describes the index: the encoder's name, the beginning of its
            fingerprint and, unless it is `Flat`, the factory string, so that no index is in another's way.
        embeddings: the passages' vectors, by place, instead of encoding: an array [passages, dimension] or a `.npy`
            file. They are taken as they are, so normalise them if the score is to be a cosine.
        num_results: at most so many results per query.
        shard_size: passages that are encoded between two writes to disk; a crash costs at most so many.
        training_size: passages, drawn with a fixed seed, on which an index that must be trained (IVF, PQ) is.
        nprobe: of an IVF index, the lists that are searched. FAISS's default is 1: fast, and misses much.
        ef_search: of an HNSW index, the candidates that are kept while searching (default 16, and at least `k`).

    An index that lies there is opened if it is of these passages, this encoder, this factory string and this training
    size. One of that `name` that is of something else is refused with `ValueError`. Otherwise it is built: passages
    are encoded in shards (`dense-NAME/embeddings`, which an encoder's indexes without a name share), going on after
    those that are there already, then the index is made in memory and written whole. A search maps it from disk: the
    vectors or codes of Flat, SQ, PQ, HNSW and IVF, which processes then share and which need not fit in memory.

    `Flat` is exact. Equal scores are ordered by place; where they meet the cut, FAISS chooses.

    Raises `ValueError` for a factory string that FAISS cannot read or train on so few passages, and for
    vectors of another dimension or number, or that hold NaN.
    """

    def __init__(
        self,
        encoder: EncoderLike | None,
        collection: Collection | Passages | str | os.PathLike[str],
        index: str = "Flat",
        *,
        path: str | os.PathLike[str] | None = None,
        name: str | None = None,
        embeddings: np.ndarray | str | os.PathLike[str] | None = None,
        num_results: int = 1000,
        shard_size: int = 50_000,
        training_size: int = TRAINING_SIZE,
        nprobe: int | None = None,
        ef_search: int | None = None,
    ) -> None:
        for value, what in ((shard_size, "shard_size"), (training_size, "training_size")):
            if value < 1:
                raise ValueError(f"{what} is {value!r}; it must be at least 1")
        self.encoder = _as_encoder(encoder)
        super().__init__(passages_of(collection, path), num_results)
        self.factory = index
        vectors = None if embeddings is None else precomputed(embeddings, self.passages)
        wanted: dict[str, Any] = {
            "kind": "dense", "passages_fingerprint": self.passages.fingerprint, "factory": index,
            "training_size": _unusual(training_size, len(self.passages)),
        }  # fmt: skip
        if vectors is not None:
            wanted |= {"dimension": vectors[0].shape[1], "embeddings_fingerprint": digest(vectors)}
        root = self.passages.directory.parent if path is None else Path(path)
        if name is None:
            source = _source_name(self.encoder, wanted)
            of_source = root / f"dense-{source}"
            folder = manifest.own_folder(root / f"dense-{_name_of(source, index)}", wanted)
        else:
            of_source = folder = root / f"dense-{name}"
        self.directory, self.embeddings = map(Path, from_main((str(folder), str(of_source / "embeddings"))))
        self.name = self.directory.name.removeprefix("dense-")
        self._check_encoder(vectors)
        if not from_main(manifest.is_indexed(self.directory, wanted)):
            vectors = self._encoded(shard_size, shared=name is None) if vectors is None else vectors
            self._write(vectors, wanted, training_size)
        self.index = self._open({"nprobe": nprobe, "efSearch": ef_search})

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        encoder: EncoderLike | None,
        name: str | None = None,
        **options: Any,
    ) -> Self:
        """Open an index that was built under a root folder; `options` are the constructor's.

        Without a name: the encoder's exact index, or else the encoder's only one, or the only one there. Raises
        `FileNotFoundError` where nothing is, `ValueError` where the choice is open or the encoder another.
        """
        encoder = _as_encoder(encoder)
        there = sorted(
            folder.parent.name.removeprefix("dense-") for folder in Path(path).glob(f"dense-*/{MANIFEST}")
        )
        if name is None:
            exact = "" if encoder is None else _source_name(encoder, {})
            own = [found for found in there if exact and found.startswith(f"{exact}-")]
            choices = [exact] if exact in there else own or there
            if len(choices) > 1:
                raise ValueError(f"{path} holds several indexes; choose name from {', '.join(there)}")
            name = choices[0] if choices else exact
        folder = Path(path) / f"dense-{name}"
        described = manifest.read_manifest(folder)
        if not isinstance(described.get("factory"), str):
            raise ValueError(
                f"{folder / MANIFEST}: damaged, it names no factory; delete {folder} and index again"
            )
        options = {"training_size": described.get("training_size") or TRAINING_SIZE, **options}
        passages = Passages.load(Path(path) / "passages")
        return cls(encoder, passages, described["factory"], path=path, name=name, **options)

    def __repr__(self) -> str:
        return f"DenseRetriever({self.name!r}, {self.passages.name!r}, {self.factory!r})"

    def find(self, queries: list[str], k: int) -> Found:
        """Places and scores of each query's best passages, at most `k`, best first."""
        if self.encoder is None:
            raise ValueError(f"{self!r} has no encoder; give it one, or topics with the column query_vec")
        return self._search(self.encoder.encode_queries(queries), k)

    def find_topics(self, topics: pd.DataFrame, k: int) -> Found:
        """As `find`; where topics have the column `query_vec`, their vectors need no encoder."""
        if "query_vec" not in topics.columns:
            return super().find_topics(topics, k)
        rows = [np.asarray(vector, dtype=np.float32) for vector in topics["query_vec"]]
        for qid, row in zip(topics["qid"], rows, strict=True):
            if row.shape != (self.index.d,) or not np.isfinite(row).all():
                raise ValueError(
                    f"query_vec of topic {qid!r} must be {self.index.d} finite numbers, found shape {list(row.shape)}"
                )
        return self._search(np.stack(rows), k)

    def transform_inputs(self) -> list[list[str]]:
        """Columns that PyTerrier's pipeline checks ask for: without an encoder, topics bring their vectors."""
        return [[*self.columns, *(["query_vec"] if self.encoder is None else [])]]

    def _search(self, queries: np.ndarray, k: int) -> Found:
        places, scores = searched(self.index, queries, k)
        return list(places), list(scores)

    def _check_encoder(self, vectors: Shards | None) -> None:
        """Refuse an encoder that does not fit the vectors it is to be used with, naming both."""
        if self.encoder is None:
            return
        dimension, fingerprint = self.encoder.dimension, self.encoder.fingerprint
        mine = f"{self.encoder.name} ({dimension} dimensions, {fingerprint[:8]})"
        if vectors is not None and vectors[0].shape[1] != dimension:
            raise ValueError(f"the embeddings have {vectors[0].shape[1]} dimensions, the encoder is {mine}")
        if not (self.directory / MANIFEST).is_file():
            return
        there = manifest.read_manifest(self.directory)
        # Precomputed vectors do not say by which encoder they are.
        theirs = there.get("encoder_fingerprint") or fingerprint
        if (there.get("dimension"), theirs) != (dimension, fingerprint):
            raise ValueError(
                f"{self.directory} is an index of {there.get('encoder') or 'embeddings'} "
                f"({there.get('dimension')} dimensions, {theirs[:8]}), the encoder is {mine}; choose another path"
            )

    def _encoded(self, shard_size: int, shared: bool) -> Shards:
        if self.encoder is None:
            raise ValueError(
                f"{self.directory}: no index there, and neither encoder nor embeddings to make it"
            )
        new_index(self.factory, self.encoder.dimension)
        return encode_shards(self.encoder, self.passages, self.embeddings, shard_size, shared=shared)

    def _write(self, vectors: Shards, wanted: dict[str, Any], training_size: int) -> None:
        import faiss

        if is_main_process():
            index = built_index(vectors, self.factory, training_size)
            self.directory.mkdir(parents=True, exist_ok=True)
            with whole_file(self.directory / INDEX) as writing:
                faiss.write_index(index, str(writing))
            described = {name: value for name, value in wanted.items() if value is not None}
            described |= {"dimension": int(vectors[0].shape[1]), "passages": len(self.passages)}
            if self.encoder is not None:
                described |= {"encoder": self.encoder.name, "encoder_fingerprint": self.encoder.fingerprint}
            manifest.write_manifest(self.directory, {**described, "files": manifest.sealed(self.directory)})
        wait_for_everyone()

    def _open(self, settings: dict[str, int | None]) -> faiss.Index:
        import faiss

        try:
            manifest.check_seal(self.directory)
            index = faiss.read_index(str(self.directory / INDEX), faiss.IO_FLAG_MMAP_IFC)
            there = [index.ntotal, index.d]
            wanted = [len(self.passages), manifest.read_manifest(self.directory).get("dimension")]
            damage = "" if there == wanted else f"vectors {there} instead of {wanted}"
        except (ValueError, RuntimeError, MemoryError) as error:
            damage = reason_of(error)
        if damage:
            raise ValueError(f"{self.directory}: damaged ({damage}); delete it and index again")
        for parameter, value in settings.items():
            if value is not None:
                set_parameter(index, parameter, value, self.factory)
        return index


def _as_encoder(encoder: EncoderLike | None) -> Encoder | None:
    # An object of a subclass stays of that subclass.
    return encoder if encoder is None or isinstance(encoder, Encoder) else Encoder(encoder)


def _source_name(encoder: Encoder | None, described: dict[str, Any]) -> str:
    """Name of the source of vectors: the encoder and, if somebody else made them, their digest."""
    given = described.get("embeddings_fingerprint", "")[:8]
    if encoder is None:
        return f"embeddings-{given}"
    return "-".join(filter(None, (_safe(encoder.name), encoder.fingerprint[:8], given)))


def _name_of(source: str, factory: str) -> str:
    return source if factory == "Flat" else f"{source}-{_safe(factory)}"


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)


def _unusual(training_size: int, passages: int) -> int | None:
    """The number of passages that an index is trained on, None where it is the default's."""
    number = min(training_size, passages)
    return None if number == min(TRAINING_SIZE, passages) else number
