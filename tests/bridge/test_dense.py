"""Dense retrieval: exact search, approximate search, and what is refused."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pandas as pd
import pytest
from ir_measures import R, calc_aggregate, nDCG
from sentence_transformers.util import semantic_search

from retrieval_bridge.collections.formats import load_collection
from retrieval_bridge.retrieval.dense import DenseRetriever
from retrieval_bridge.retrieval.encoders import Encoder
from retrieval_bridge.retrieval.passages import Passages
from tests.bridge.conftest import places
from tests.bridge.small import PASSAGES, TOPICS, WORDS, make_encoder

ROOT = Path(__file__).parents[2]


NQ = ROOT.parent / "shared" / "data" / "nq"


@pytest.mark.parametrize("queries", [1, 19, 50])
def test_flat_is_exact(many, tmp_path, queries):
    """Whether FAISS is given few queries or so many (from 20) that it would use BLAS."""
    passages, vectors, topics = many
    results = DenseRetriever(None, passages, path=tmp_path, embeddings=vectors, num_results=10)(
        topics[:queries]
    )
    similarities = np.stack(topics["query_vec"][:queries].to_list()) @ vectors.T
    best = np.argsort(-similarities, axis=1, kind="stable")[:, :10]
    assert (places(results, 10) == best).all()
    expected = np.take_along_axis(similarities, best, 1)
    np.testing.assert_allclose(results["score"].to_numpy().reshape(-1, 10), expected, atol=1e-6)


def test_equal_scores_are_ordered_by_place(small, tmp_path):
    vectors = np.array([[1, 0], [2, 0], [1, 5], [3, 0], [2, 1], [1, 0]], dtype=np.float32)
    topics = TOPICS[:1].assign(query_vec=[np.array([1.0, 0.0])])
    results = DenseRetriever(None, small, embeddings=vectors)(topics)
    assert list(results["docno"]) == ["p3", "p1", "p4", "p0", "p2", "p5"]
    assert list(results["score"]) == [3, 2, 2, 1, 1, 1]


@pytest.mark.parametrize(
    ("factory", "options", "least"),
    [
        ("HNSW32", {"ef_search": 64}, 0.99),
        ("IVF32,Flat", {"nprobe": 8}, 0.95),
        ("IVF32,Flat", {"nprobe": 32}, 1.0),
        ("IVF16,PQ8x4", {"nprobe": 16}, 0.4),
        ("PCA12,Flat", {}, 0.5),
        ("SQ8", {}, 0.9),
        ("HNSW16_SQ8", {"ef_search": 64}, 0.9),
    ],
)
def test_approximate_search_finds_most_of_what_exact_search_finds(many, tmp_path, factory, options, least):
    passages, vectors, topics = many
    exact = places(
        DenseRetriever(None, passages, path=tmp_path, embeddings=vectors, name="flat")(topics), 1000
    )
    retriever = DenseRetriever(None, passages, factory, path=tmp_path, embeddings=vectors, **options) % 10
    results = retriever(topics)
    found = [set(rows["docno"].str[1:].astype(int)) for _, rows in results.groupby("qid", sort=False)]
    recall = np.mean([len(mine & set(best[:10])) / 10 for mine, best in zip(found, exact, strict=True)])
    assert recall >= least


def test_more_lists_are_searched_when_told(many, tmp_path):
    passages, vectors, topics = many
    options = {"path": tmp_path, "embeddings": vectors, "num_results": 100}
    one = DenseRetriever(None, passages, "IVF32,Flat", **options)(topics)
    all_lists = DenseRetriever(None, passages, "IVF32,Flat", nprobe=32, **options)(topics)
    assert len(all_lists) == 50 * 100
    assert len(one) < len(all_lists)


def test_scores_are_those_of_semantic_search(small):
    encoder = make_encoder()
    results = DenseRetriever(encoder, small)(TOPICS)
    corpus = encoder.model.encode_document(small.full_texts(0, 6), convert_to_tensor=True)
    expected = semantic_search(
        encoder.model.encode_query(list(TOPICS["query"]), convert_to_tensor=True), corpus
    )
    for (_, rows), hits in zip(results.groupby("qid", sort=False), expected, strict=True):
        assert list(rows["docno"]) == [f"p{hit['corpus_id']}" for hit in hits]
        np.testing.assert_allclose(rows["score"], [hit["score"] for hit in hits], atol=1e-6)


def test_vectors_of_topics_need_no_encoder(small):
    encoder = make_encoder()
    retriever = DenseRetriever(encoder, small)
    topics = TOPICS.assign(query_vec=list(encoder.encode_queries(list(TOPICS["query"]))))
    alone = DenseRetriever.load(small.directory.parent, None)
    columns = ["qid", "docno", "score", "rank"]
    pd.testing.assert_frame_equal(alone(topics)[columns], retriever(TOPICS)[columns])
    with pytest.raises(ValueError, match="has no encoder; give it one, or topics with the column query_vec"):
        alone(TOPICS)
    bad = topics.assign(query_vec=[topics["query_vec"][0], np.ones(3), np.ones(8)])
    with pytest.raises(
        ValueError, match=r"query_vec of topic 'q1' must be 8 finite numbers, found shape \[3\]"
    ):
        alone(bad)


def test_embeddings_give_what_encoding_gives(small, tmp_path):
    encoder = make_encoder()
    vectors = encoder.encode_passages(small.full_texts(0, 6))
    np.save(tmp_path / "vectors.npy", vectors)
    expected = DenseRetriever(encoder, small)(TOPICS)
    given = DenseRetriever(encoder, small, name="given", embeddings=vectors)
    of_file = DenseRetriever(encoder, small, name="file", embeddings=tmp_path / "vectors.npy")
    pd.testing.assert_frame_equal(given(TOPICS), expected)
    pd.testing.assert_frame_equal(of_file(TOPICS), expected)
    assert not (given.directory / "embeddings").exists()


def test_a_cutoff_is_part_of_the_retriever(small):
    retriever = DenseRetriever(make_encoder(), small) % 2
    assert retriever.num_results == 2
    assert retriever(TOPICS).groupby("qid").size().tolist() == [2, 2, 2]


def test_empty_passages_have_vectors_and_are_found_last(tmp_path):
    rows = [*PASSAGES, {"docno": "none", "text": ""}, {"docno": "blank", "text": " \n"}]
    with pytest.warns(UserWarning, match="2 of 8 passages have neither title nor text"):
        passages = Passages.build(rows, tmp_path / "passages")
    for encoder in (make_encoder(), Encoder("static-minilm")):
        results = DenseRetriever(encoder, passages, path=tmp_path)(TOPICS)
        assert results.groupby("qid").size().tolist() == [8, 8, 8]
        assert np.isfinite(results["score"]).all()
        assert results[results["docno"].isin(["none", "blank"])]["score"].tolist() == [0.0] * 6


def test_settings_of_faiss_are_put_back(small):
    before = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold
    DenseRetriever(make_encoder(), small)(TOPICS)
    assert (faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold) == before


@pytest.mark.parametrize("factory", ["Flatt", "", "PQ3", "IDMap,Flat", "LSH"])
def test_a_factory_string_that_faiss_cannot_read(small, factory):
    with pytest.raises(ValueError, match=rf"FAISS cannot make the index '{factory}' [^\n]*; choose"):
        DenseRetriever(make_encoder(), small, factory)


def test_too_few_passages_to_train(small):
    with pytest.raises(ValueError, match="'IVF64,Flat' of 6 passages: 6 are fewer than the 64 it needs"):
        DenseRetriever(make_encoder(), small, "IVF64,Flat")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nprobe": 4}, "an index 'Flat' has no nprobe; leave it out"),
        ({"ef_search": 4}, "an index 'Flat' has no efSearch; leave it out"),
        ({"shard_size": 0}, "shard_size is 0; it must be at least 1"),
        ({"embeddings": np.ones((5, 8))}, "embeddings: 5 vectors for 6 passages; give one for each"),
        (
            {"embeddings": np.ones(6)},
            r"embeddings: expected floats \[passages, dimension\], found float64 \[6\]",
        ),
        ({"embeddings": np.ones((6, 4))}, "the embeddings have 4 dimensions, the encoder is .*8 dimensions"),
        (
            {"embeddings": np.full((6, 8), np.nan)},
            "embeddings: the vector of passage 0 holds NaN or infinity",
        ),
        ({"embeddings": __file__}, r"test_dense.py: no .npy file of embeddings"),
    ],
)
def test_bad_arguments(small, options, message):
    with pytest.raises(ValueError, match=message):
        DenseRetriever(make_encoder(), small, **options)


def test_neither_encoder_nor_embeddings(small):
    with pytest.raises(ValueError, match="no index there, and neither encoder nor embeddings to make it"):
        DenseRetriever(None, small)
    with pytest.raises(FileNotFoundError, match=r"nowhere.npy: no such file of embeddings"):
        DenseRetriever(None, small, embeddings="nowhere.npy")


def test_an_encoder_that_gives_nan(small):
    encoder = make_encoder()
    encoder.model[0].embedding.weight.data[WORDS.index("grass")] = float("nan")
    with pytest.raises(ValueError, match=r"encoder .*: the vector of passage 5 holds NaN or infinity"):
        DenseRetriever(encoder, small)


# Natural Questions


def measured(encoder: str, root: Path) -> dict[str, float]:
    nq = load_collection(NQ)
    run = (DenseRetriever(encoder, nq, path=root) % 100)(nq.topics("dev"))
    run = run.rename(columns={"qid": "query_id", "docno": "doc_id"})
    names = {"qid": "query_id", "docno": "doc_id", "label": "relevance"}
    found = calc_aggregate([nDCG @ 10, R @ 1], nq.qrels("dev").rename(columns=names), run)
    return {str(measure): value for measure, value in found.items()}


needs_nq = pytest.mark.skipif(not NQ.exists(), reason="needs the data beside a development checkout")


@needs_nq
def test_static_minilm_on_nq(tmp_path):
    assert measured("static-minilm", tmp_path) == pytest.approx({"nDCG@10": 0.658, "R@1": 0.525}, abs=0.01)


@needs_nq
@pytest.mark.slow
def test_minilm_on_nq(tmp_path):
    assert measured("minilm", tmp_path) == pytest.approx({"nDCG@10": 0.950, "R@1": 0.893}, abs=0.01)
