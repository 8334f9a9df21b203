"""Passages that tests of several files search."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from retrieval_bridge.retrieval.passages import Passages
from tests.bridge.small import PASSAGES

NUMBER, DIMENSION = 2000, 16


@pytest.fixture
def small(tmp_path):
    return Passages.build(PASSAGES, tmp_path / "passages")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Passages, their vectors (clustered, as real ones are) and topics with vectors near some of them."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(50, DIMENSION))
    vectors = centres[rng.integers(50, size=NUMBER)] + 0.3 * rng.normal(size=(NUMBER, DIMENSION))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    rows = ({"docno": f"d{n}", "title": "", "text": f"text {n}"} for n in range(NUMBER))
    passages = Passages.build(rows, tmp_path_factory.mktemp("many") / "passages")
    queries = vectors[::40] + 0.05 * rng.normal(size=(50, DIMENSION)).astype(np.float32)
    topics = pd.DataFrame({"qid": [f"q{n}" for n in range(50)], "query": "?", "query_vec": list(queries)})
    return passages, vectors, topics


def places(results: pd.DataFrame, per_query: int) -> np.ndarray:
    return results["docno"].str[1:].astype(int).to_numpy().reshape(-1, per_query)
