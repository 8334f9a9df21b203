"""Dense retrieval: exact search, approximate search, what lies on disk, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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
from tests.bridge.small import PASSAGES, TOPICS, WORDS, SmallCollection, make_encoder, make_static

ROOT = Path(__file__).parents[2]
NQ = ROOT.parent / "shared" / "data" / "nq"
NUMBER, DIMENSION = 2000, 16


class CountingEncoder(Encoder):
    """Notes how many passages it has encoded, and stops when told so."""

    def __init__(self, *args, stop_after: int | None = None, **options) -> None:
        super().__init__(*args, **options)
        self.encoded, self.stop_after = 0, stop_after

    def encode_passages(self, texts, progress=False):
        if self.stop_after is not None and self.encoded + len(texts) > self.stop_after:
            raise KeyboardInterrupt
        self.encoded += len(texts)
        return super().encode_passages(texts, progress)


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


# On disk


def test_shards_are_encoded_once(small):
    encoder = CountingEncoder(make_static())
    first = DenseRetriever(encoder, small, shard_size=4)
    shards = first.directory / "embeddings"
    assert encoder.encoded == 6
    assert [np.load(path).shape for path in sorted(shards.glob("*.npy"))] == [(4, 8), (2, 8)]
    assert sorted(path.name for path in first.directory.iterdir()) == [
        "embeddings",
        "index.faiss",
        "index.json",
    ]
    again = CountingEncoder(encoder)
    pd.testing.assert_frame_equal(DenseRetriever(again, small, shard_size=4)(TOPICS), first(TOPICS))
    assert again.encoded == 0


def test_encoding_goes_on_where_it_stopped(small):
    static = make_static()
    expected = DenseRetriever(static, small, name="whole")(TOPICS)
    with pytest.raises(KeyboardInterrupt):
        DenseRetriever(CountingEncoder(static, stop_after=5), small, name="parts", shard_size=2)
    folder = small.directory.parent / "dense-parts"
    assert sorted(path.name for path in folder.rglob("*.*")) == ["00000.npy", "00001.npy", "index.json"]
    with pytest.raises(FileNotFoundError, match="no index there"):
        DenseRetriever.load(small.directory.parent, static, "parts")
    (folder / "embeddings" / "00001.npy").write_bytes(b"cut short")
    encoder = CountingEncoder(static)
    pd.testing.assert_frame_equal(
        DenseRetriever(encoder, small, name="parts", shard_size=2)(TOPICS), expected
    )
    assert encoder.encoded == 4


def test_the_manifest_says_what_the_index_is(small):
    encoder = make_encoder()
    retriever = DenseRetriever(encoder, small, name="mine")
    manifest = json.loads((retriever.directory / "index.json").read_text())
    assert manifest.pop("files").keys() == {"index.faiss"}
    assert manifest == {
        "kind": "dense", "factory": "Flat", "dimension": 8, "passages": 6, "encoder": encoder.name,
        "encoder_fingerprint": encoder.fingerprint, "passages_fingerprint": small.fingerprint,
    }  # fmt: skip


def test_an_index_is_opened_by_its_encoder_or_its_name(small):
    root = small.directory.parent
    one, two = make_encoder(seed=0), make_encoder(seed=1)
    first, second = DenseRetriever(one, small), DenseRetriever(two, small, "HNSW8", name="two")
    assert first.directory != second.directory
    assert DenseRetriever.load(root, one).directory == first.directory
    opened = DenseRetriever.load(root, two, "two", num_results=3)
    assert (opened.factory, opened.num_results) == ("HNSW8", 3)
    pd.testing.assert_frame_equal(opened(TOPICS), (second % 3)(TOPICS))
    with pytest.raises(ValueError, match=r"holds several indexes; choose name from .*two"):
        DenseRetriever.load(root, None)


def test_a_retrained_encoder_has_an_index_of_its_own(small):
    encoder = make_encoder()
    before = DenseRetriever(encoder, small)
    encoder.model[0].embedding.weight.data.neg_()
    after = DenseRetriever(encoder, small)
    assert after.directory != before.directory


def test_without_a_path_the_index_lies_beside_the_passages():
    collection = SmallCollection()
    retriever = DenseRetriever(make_encoder(), collection)
    assert retriever.directory.parent == retriever.passages.directory.parent
    assert DenseRetriever(make_encoder(seed=1), collection).directory.parent == retriever.directory.parent


FACTORIES = ("Flat", "IVF16,Flat", "HNSW32", "IVF8,SQ8", "SQ8", "PCA12,Flat")


@pytest.mark.parametrize("in_folder", [True, False], ids=["in one folder", "in none"])
def test_factories_over_the_same_vectors_stand_side_by_side(many, in_folder, tmp_path):
    passages, vectors, topics = many
    options = {"path": tmp_path} if in_folder else {}
    made = {factory: DenseRetriever(None, passages, factory, embeddings=vectors, num_results=20, **options)
            for factory in FACTORIES}  # fmt: skip
    assert len({retriever.directory for retriever in made.values()}) == len(FACTORIES)
    for factory, retriever in made.items():
        assert json.loads((retriever.directory / "index.json").read_text())["factory"] == factory
        again = DenseRetriever(None, passages, factory, embeddings=vectors, num_results=20, **options)
        assert again.directory == retriever.directory
        pd.testing.assert_frame_equal(again(topics[:5]), retriever(topics[:5]))
    nearest = places(made["Flat"](topics), 20)[:, 0]
    assert (nearest == (np.stack(topics["query_vec"].to_list()) @ vectors.T).argmax(1)).all()


def test_factories_share_what_an_encoder_has_encoded():
    collection, encoder = SmallCollection(), CountingEncoder(make_static())
    expected = DenseRetriever(encoder, collection)(TOPICS)
    for factory in ("HNSW32", "IVF2,Flat"):
        options = {"nprobe": 2} if factory.startswith("IVF") else {}
        retriever = DenseRetriever(encoder, collection, factory, **options)
        assert retriever(TOPICS)["docno"].tolist() == expected["docno"].tolist()
    assert encoder.encoded == 6


def test_a_retriever_without_a_folder_refuses_no_other(many):
    """Of one collection in one program: encoders, vectors, factories, shards, training sizes."""
    collection, static = SmallCollection(), make_static()
    vectors = make_encoder(seed=3).encode_passages([row["text"] for row in PASSAGES])
    made = [
        DenseRetriever(encoder, collection, factory, **options)
        for encoder in (static, make_encoder(seed=1), make_encoder(12))
        for factory, options in (("Flat", {"shard_size": 4}), ("HNSW8", {"shard_size": 3}), ("IVF2,Flat", {}),
                                 ("IVF2,Flat", {"training_size": 4}))
    ]  # fmt: skip
    made += [DenseRetriever(static, collection, embeddings=given) for given in (vectors, -vectors)]
    made += [DenseRetriever(None, collection, embeddings=given) for given in (vectors, -vectors)]
    assert len({retriever.directory for retriever in made}) == len(made)
    assert len({retriever.directory.parent for retriever in made}) == 1
    first, second = (retriever(TOPICS) for retriever in made[12:14])
    assert first["docno"].tolist() != second["docno"].tolist()


def test_an_index_of_another_training_size_is_another_index(many, tmp_path):
    passages, vectors, _ = many
    options = {"path": tmp_path, "embeddings": vectors, "name": "one"}
    DenseRetriever(None, passages, "IVF8,Flat", training_size=1000, **options)
    with pytest.raises(ValueError, match="its training_size is 1000, not None"):
        DenseRetriever(None, passages, "IVF8,Flat", **options)
    passages_beside = Passages.build(({"docno": row["docno"], "text": row["text"]} for row in passages),
                                     tmp_path / "passages")  # fmt: skip
    assert len(passages_beside) == NUMBER
    assert DenseRetriever.load(tmp_path, None, "one").factory == "IVF8,Flat"


def test_an_encoder_s_only_index_is_opened_without_a_name(small):
    root, encoder = small.directory.parent, make_encoder()
    first = DenseRetriever(encoder, small, "HNSW8")
    DenseRetriever(make_encoder(seed=1), small)
    assert DenseRetriever.load(root, encoder).directory == first.directory
    DenseRetriever(encoder, small, "SQ8")
    with pytest.raises(ValueError, match=r"holds several indexes; choose name from .*HNSW8, .*SQ8"):
        DenseRetriever.load(root, encoder)
    flat = DenseRetriever(encoder, small)
    assert DenseRetriever.load(root, encoder).directory == flat.directory


def test_empty_passages_have_vectors_and_are_found_last(tmp_path):
    rows = [*PASSAGES, {"docno": "none", "text": ""}, {"docno": "blank", "text": " \n"}]
    with pytest.warns(UserWarning, match="2 of 8 passages have neither title nor text"):
        passages = Passages.build(rows, tmp_path / "passages")
    for encoder in (make_encoder(), Encoder("static-minilm")):
        results = DenseRetriever(encoder, passages, path=tmp_path)(TOPICS)
        assert results.groupby("qid").size().tolist() == [8, 8, 8]
        assert np.isfinite(results["score"]).all()
        assert results[results["docno"].isin(["none", "blank"])]["score"].tolist() == [0.0] * 6


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads Linux's list of mapped files")
@pytest.mark.parametrize("factory", ["Flat", "HNSW16", "IVF8,Flat", "SQ8", "IVF8,SQ8", "PQ4x4"])
def test_search_is_memory_mapped(many, tmp_path, factory):
    passages, vectors, topics = many
    retriever = DenseRetriever(None, passages, factory, path=tmp_path, embeddings=vectors)
    assert len(retriever(topics[:1]))
    assert str(retriever.directory / "index.faiss") in Path("/proc/self/maps").read_text()


def test_settings_of_faiss_are_put_back(small):
    before = faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold
    DenseRetriever(make_encoder(), small)(TOPICS)
    assert (faiss.omp_get_max_threads(), faiss.cvar.distance_compute_blas_threshold) == before


@pytest.mark.slow
def test_processes_share_the_shards(small):
    script = (
        "import sys, accelerate; accelerate.PartialState(cpu=True)\n"
        "from tests.bridge.test_dense import *\n"
        "from larpo_ir.models.distributed import gather, leave\n"
        "encoder = CountingEncoder(make_static())\n"
        "results = DenseRetriever(encoder, Passages.load(sys.argv[1]), shard_size=1)(TOPICS)\n"
        "counts = gather([encoder.encoded])\n"
        "print('encoded', counts, results['docno'].tolist()); leave()\n"
    )
    (small.directory.parent / "job.py").write_text(script)
    config = ROOT / "configs" / "accelerate" / "two_cpu_processes.yaml"
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config),
               str(small.directory.parent / "job.py"), str(small.directory)]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    alone = DenseRetriever(make_encoder(), small, name="alone")(TOPICS)["docno"].tolist()
    assert done.stdout.splitlines() == [f"encoded [3, 3] {alone}"] * 2


# What is refused


def test_another_encoder_is_named_beside_the_index_own(small):
    root = small.directory.parent
    encoder, wider, other = make_encoder(8), make_encoder(12), make_encoder(8, seed=1)
    DenseRetriever(encoder, small, name="one")
    theirs, mine = encoder.fingerprint[:8], wider.fingerprint[:8]
    with pytest.raises(
        ValueError, match=rf"\(8 dimensions, {theirs}\), the encoder is .*\(12 dimensions, {mine}\)"
    ):
        DenseRetriever.load(root, wider, "one")
    with pytest.raises(ValueError, match=rf"\(8 dimensions, {theirs}\), the encoder is .*\(8 dimensions,"):
        DenseRetriever(other, small, name="one")


def test_an_index_of_something_else_is_refused(small, tmp_path_factory):
    root, encoder = small.directory.parent, make_encoder()
    DenseRetriever(encoder, small, name="one", shard_size=4)
    with pytest.raises(ValueError, match="its factory is 'Flat', not 'HNSW8'"):
        DenseRetriever(encoder, small, "HNSW8", name="one")
    fewer = Passages.build(PASSAGES[:5], tmp_path_factory.mktemp("fewer") / "passages")
    with pytest.raises(ValueError, match="its passages_fingerprint is"):
        DenseRetriever(encoder, fewer, path=root, name="one")
    (root / "dense-one" / "index.json").unlink()
    with pytest.raises(ValueError, match="its shard_size is 4, not 3"):
        DenseRetriever(encoder, small, name="one", shard_size=3)
    with pytest.raises(FileNotFoundError, match="no index there"):
        DenseRetriever.load(root, encoder, "two")


def test_a_damaged_index_is_reported(small):
    retriever = DenseRetriever(make_encoder(), small, name="one")
    (retriever.directory / "index.faiss").write_bytes(b"IxF2 and no more")
    with pytest.raises(ValueError, match=r"dense-one: damaged .*; delete it and index again"):
        DenseRetriever.load(small.directory.parent, make_encoder(), "one")


def test_an_index_that_has_changed_is_damaged(small):
    """FAISS would crash on it, or find other passages."""
    retriever = DenseRetriever(make_encoder(), small, name="one")
    path = retriever.directory / "index.faiss"
    whole = path.read_bytes()
    flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    for content in (flipped, whole[:-1], whole + b"x", b""):
        path.unlink()
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"dense-one: damaged \(index.faiss has changed since it was written\); del"
        ):
            DenseRetriever(make_encoder(), small, name="one")
    path.unlink()
    with pytest.raises(ValueError, match=r"dense-one: damaged \(index.faiss is missing\)"):
        DenseRetriever(make_encoder(), small, name="one")
    path.write_bytes(whole)  # a copy
    opened = DenseRetriever(make_encoder(), small, name="one")
    pd.testing.assert_frame_equal(opened(TOPICS), retriever(TOPICS))
    assert json.loads((retriever.directory / "index.json").read_text())["files"]["index.faiss"][1] == (
        path.stat().st_mtime_ns
    )


@pytest.mark.parametrize("content", ["{}", "[]", "{oops", "[" * 3000])
def test_a_damaged_manifest_is_one_line(small, content):
    retriever = DenseRetriever(make_encoder(), small, name="one")
    (retriever.directory / "index.json").write_text(content)
    with pytest.raises(
        ValueError, match=r"index\.json: damaged.*; delete .*dense-one and index again"
    ) as caught:
        DenseRetriever.load(small.directory.parent, make_encoder(), "one")
    assert "\n" not in str(caught.value)


def test_embeddings_that_are_no_array(small, tmp_path):
    vectors, path = np.ones((6, 8), dtype=np.float32), tmp_path / "vectors.npy"
    np.save(path, vectors)
    whole = path.read_bytes()
    np.savez(tmp_path / "several.npz", a=vectors, b=vectors)
    objects = np.array([{"a": 1}] * 6, dtype=object)
    np.save(tmp_path / "objects.npy", objects, allow_pickle=True)
    contents = [b"", whole[:100], whole[:-5], whole[:10] + b"\xff" * 50 + whole[60:], b"PK\x03\x04" + whole,
                (tmp_path / "several.npz").read_bytes(), (tmp_path / "objects.npy").read_bytes()]  # fmt: skip
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"vectors\.npy: (no \.npy file of embeddings|expected floats)"
        ) as caught:
            DenseRetriever(make_encoder(), small, embeddings=path)
        assert "\n" not in str(caught.value)


def test_shards_that_cannot_be_used_are_encoded_again(small):
    static = make_static()
    first = DenseRetriever(static, small, name="one")
    shard = first.directory / "embeddings" / "00000.npy"
    whole = shard.read_bytes()
    for content in (b"", whole[:-5], b"PK\x03\x04", whole[:10] + b"\xff" * 50 + whole[60:]):
        shard.write_bytes(content)
        (first.directory / "index.json").unlink()
        encoder = CountingEncoder(static)
        pd.testing.assert_frame_equal(DenseRetriever(encoder, small, name="one")(TOPICS), first(TOPICS))
        assert encoder.encoded == 6
        assert shard.read_bytes() == whole


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
