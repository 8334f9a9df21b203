"""Systems by name, for the command line and configuration files: `bm25 % 100 >> runs/nq/cross-encoder`.

A system is a retriever, maybe cut (`% k`), maybe followed by cross-encoders (`>>`), in PyTerrier's notation:

    bm25, pyserini                  BM25, by bm25s or by Lucene
    random                          passages at random
    anything else                   an encoder: minilm, static-minilm, a folder, a name on the hub
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pyterrier as pt

from larpo_ir.data.digests import digest
from larpo_ir.provenance.identity import identity
from retrieval_bridge.retrieval.measures import stamp_of
from retrieval_bridge.retrieval.passages import Passages

CUT = 100  # results of a retriever that a cross-encoder reads, where no cut is given


def system(
    expression: str,
    passages: Passages,
    path: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> pt.Transformer:
    """The pipeline that an expression names, over those passages.

    Args:
        expression: see above.
        passages: what is searched.
        path: root folder of the indexes; None: beside the passages.
        options: arguments of `BM25` (k1, b), `Encoder` (query_prefix, …) and `DenseRetriever` (index, …).

    Raises `ValueError` for an expression that is none, naming the part.
    """
    first, *rest = (part.strip() for part in expression.split(">>"))
    name, cut = _cut(first, expression)
    pipeline = _retriever(name, passages, path, dict(options or {}))
    if cut is None and rest:
        cut = CUT
    pipeline = pipeline if cut is None else pipeline % cut
    for part in rest:
        from retrieval_bridge.retrieval.reranker import CrossEncoderReranker

        model, cut = _cut(part, expression)
        pipeline = pipeline >> CrossEncoderReranker(model)
        pipeline = pipeline if cut is None else pipeline % cut
    return pipeline


def made_of(expression: str) -> dict[str, str]:
    """What the names of encoders and cross-encoders in an expression stand for now: hashes of weights or of files."""
    names = [_cut(part, expression)[0] for part in expression.split(">>")]
    return {
        name: weights_of(name, reranks=place > 0) for place, name in enumerate(names) if name not in NAMED
    }


def weights_of(name: str, reranks: bool = False) -> str:
    """A hash of the model that a name stands for: of a folder's files, or of what is loaded by that name."""
    if os.path.exists(name):
        return stamp_of(name)
    from retrieval_bridge.retrieval.encoders import Encoder, minilm_folder

    if not reranks:
        return Encoder(name).fingerprint
    if name == "minilm":  # whose head is drawn at random
        return stamp_of(minilm_folder())
    from retrieval_bridge.retrieval.reranker import CrossEncoderReranker

    return digest(identity(CrossEncoderReranker(name)))


def _cut(part: str, expression: str) -> tuple[str, int | None]:
    name, _, number = (piece.strip() for piece in part.partition("%"))
    if not name or (number and not number.isdigit()):
        raise ValueError(f"cannot read the system {expression!r}: {part!r} is no `name` or `name % number`")
    return name, int(number) if number else None


def _retriever(name: str, passages: Passages, path: Any, options: dict[str, Any]) -> pt.Transformer:
    if name == "random":
        from retrieval_bridge.training.mining import RandomPassages

        return RandomPassages(passages, **options)
    if name in SPARSE:
        from retrieval_bridge.retrieval.sparse import BM25

        return BM25(passages, backend=SPARSE[name], path=path, **options)
    from retrieval_bridge.retrieval.dense import DenseRetriever
    from retrieval_bridge.retrieval.encoders import Encoder

    of_encoder = {key: options.pop(key) for key in ENCODER_OPTIONS if key in options}
    try:
        encoder = Encoder(name, **of_encoder)
    except ValueError as error:
        raise ValueError(f"{error}; systems without an encoder are {', '.join(SPARSE)}, random") from None
    return DenseRetriever(encoder, passages, path=path, **options)


SPARSE = {"bm25": "bm25s", "bm25s": "bm25s", "pyserini": "pyserini"}
NAMED = (*SPARSE, "random")
ENCODER_OPTIONS = ("query_prefix", "passage_prefix", "batch_size", "max_length")
