"""Systems by name, for the command line and configuration files: `bm25 % 100 >> runs/nq/cross-encoder`.

A system is a retriever, maybe cut (`% k`), maybe followed by cross-encoders (`>>`), in PyTerrier's notation:

    bm25, pyserini                  BM25, by bm25s or by Lucene
    random                          passages at random
    anything else                   an encoder: minilm, static-minilm, a folder, a name on the hub
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyterrier as pt

from larpo_ir.data.digests import digest, digest_files
from larpo_ir.provenance.identity import identity
from retrieval_bridge.retrieval.passages import Passages

CUT = 100  # results of a retriever that a cross-encoder reads, if no cut is given
SPARSE = {"bm25": "bm25s", "bm25s": "bm25s", "pyserini": "pyserini"}
NAMED = (*SPARSE, "random")
ENCODER_OPTIONS = ("query_prefix", "passage_prefix", "batch_size", "max_length")


def system(
    expression: str,
    passages: Passages,
    path: str | os.PathLike[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> pt.Transformer:
    """The pipeline that an expression names, over those passages.

    Args:
        expression: see above.
        passages: the passages that are searched.
        path: root folder of the indexes; None: beside the passages.
        options: arguments of `BM25` (k1, b), `Encoder` (query_prefix, …) and `DenseRetriever` (index, …).

    Raises `ValueError` for an expression that is none, naming the part.
    """
    (name, cut), *rerankers = _parts(expression)
    pipeline = _retriever(name, passages, path, dict(options or {}))
    if cut is None and rerankers:
        cut = CUT
    pipeline = pipeline if cut is None else pipeline % cut
    for model, cut in rerankers:
        from retrieval_bridge.retrieval.reranker import CrossEncoderReranker

        pipeline = pipeline >> CrossEncoderReranker(model)
        pipeline = pipeline if cut is None else pipeline % cut
    return pipeline


def made_of(expression: str) -> dict[str, str]:
    """Hashes of the weights or files behind the names of encoders and cross-encoders in an expression."""
    return {
        name: weights_of(name, reranks=place > 0)
        for place, (name, _) in enumerate(_parts(expression))
        if name not in NAMED
    }


def reads_files(expression: str) -> bool:
    """Whether a name in an expression is a file or a folder, whose content may change."""
    return any(Path(part.split("%")[0].strip()).exists() for part in expression.split(">>"))


def weights_of(name: str, reranks: bool = False) -> str:
    """A hash of the model behind a name: of a folder's files, or of the weights that are loaded by that name."""
    if os.path.exists(name):
        return digest_files(name)
    from retrieval_bridge.retrieval.encoders import Encoder, minilm_folder

    if not reranks:
        return Encoder(name).fingerprint
    if name == "minilm":  # the head is drawn at random
        return digest_files(minilm_folder())
    from retrieval_bridge.retrieval.reranker import CrossEncoderReranker

    return digest(identity(CrossEncoderReranker(name)))


def tag_of(name: str) -> str:
    """The tag of a system's TREC run: the last part of its name, in letters, digits and hyphens.

    >>> tag_of("runs/nq/cross_encoder"), tag_of("bm25 % 100")
    ('cross-encoder', 'bm25---100')
    """
    return "".join(character if character.isalnum() else "-" for character in Path(name).name) or "run"


def _parts(expression: str) -> list[tuple[str, int | None]]:
    """Name and cut of each part of a pipeline."""
    return [_cut(part.strip(), expression) for part in expression.split(">>")]


def _cut(part: str, expression: str) -> tuple[str, int | None]:
    name, _, number = (piece.strip() for piece in part.partition("%"))
    if not name or (number and not number.isdigit()):
        raise ValueError(f"cannot read the system {expression!r}: {part!r} is no `name` or `name % number`")
    return name, int(number) if number else None


def _retriever(
    name: str, passages: Passages, path: str | os.PathLike[str] | None, options: dict[str, Any]
) -> pt.Transformer:
    if name == "random":
        from retrieval_bridge.retrieval.random_passages import RandomPassages

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
