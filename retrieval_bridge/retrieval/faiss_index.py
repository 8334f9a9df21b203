"""FAISS indexes of vectors for inner products: made, trained, searched, tuned."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from retrieval_bridge.retrieval.embeddings import Shards, blocks, sample

if TYPE_CHECKING:
    import faiss

TRAINING_SEED = 0


def new_index(factory: str, dimension: int) -> faiss.Index:
    """An empty index for inner products. Raises `ValueError` for a string that FAISS cannot make an index of."""
    import faiss

    try:
        return faiss.index_factory(dimension, factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        raise ValueError(
            f"FAISS cannot make the index {factory!r} for {dimension} dimensions ({reason_of(error)}); choose Flat, "
            "HNSW32, IVF64,Flat or another string of its index factory"
        ) from None


def built_index(shards: Shards, factory: str, training_size: int) -> faiss.Index:
    """An index of all vectors, trained where it has to be. Raises `ValueError` where FAISS cannot."""
    index = new_index(factory, shards[0].shape[1])
    try:
        with _faiss_settings():
            if not index.is_trained:
                index.train(sample(shards, training_size, TRAINING_SEED))
            for block in blocks(shards):
                index.add(block)
    except RuntimeError as error:
        few = re.search(r"Number of training points \((\d+)\).*number of clusters \((\d+)\)", str(error))
        reason = f"{few[1]} are fewer than the {few[2]} it needs for training" if few else reason_of(error)
        passages = sum(len(shard) for shard in shards)
        raise ValueError(
            f"FAISS cannot make the index {factory!r} of {passages} passages: {reason}; choose a smaller one, or Flat"
        ) from None
    return index


def searched(index: faiss.Index, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and scores [queries, k], best first; equal scores are ordered by place."""
    with _faiss_settings():
        scores, places = index.search(np.ascontiguousarray(queries), k)
    order = np.lexsort((places, -scores))
    return np.take_along_axis(places, order, 1), np.take_along_axis(scores, order, 1)


def set_parameter(index: faiss.Index, parameter: str, value: int, factory: str) -> None:
    """Set a parameter of the search. Raises `ValueError` for an index that has no such parameter."""
    import faiss

    try:
        faiss.ParameterSpace().set_index_parameter(index, parameter, value)
    except RuntimeError:
        raise ValueError(f"an index {factory!r} has no {parameter}; leave it out") from None


def reason_of(error: Exception) -> str:
    """The message of an error of FAISS, without its place in the source."""
    return " ".join(re.sub(r"^Error in .* at \S+:\d+: ", "", str(error), flags=re.DOTALL).split())


@contextmanager
def _faiss_settings() -> Iterator[None]:
    """FAISS on as many threads as torch, and through BLAS from the size on at which that is faster.

    FAISS 1.15 begins to at queries · dimensions = 128,000, which suits dozens of threads: on two, its own loop is ten
    times slower there. The crossover is near 800 per thread (facebookresearch/faiss#5109).
    """
    import faiss
    import torch

    threads, threshold = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold
    faiss.omp_set_num_threads(torch.get_num_threads())
    faiss.cvar.distance_compute_blas_threshold = min(threshold, 800 * torch.get_num_threads())
    try:
        yield
    finally:
        faiss.omp_set_num_threads(threads)
        faiss.cvar.distance_compute_blas_threshold = threshold
