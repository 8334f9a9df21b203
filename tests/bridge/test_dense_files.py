"""Dense indexes on disk: encoded once, opened again, and refused where they are of something else or damaged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retrieval_bridge.retrieval.dense import DenseRetriever
from retrieval_bridge.retrieval.encoders import Encoder
from retrieval_bridge.retrieval.passages import Passages
from tests.bridge.conftest import NUMBER, places
from tests.bridge.small import PASSAGES, TOPICS, SmallCollection, make_encoder, make_static

ROOT = Path(__file__).parents[2]


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


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads Linux's list of mapped files")
@pytest.mark.parametrize("factory", ["Flat", "HNSW16", "IVF8,Flat", "SQ8", "IVF8,SQ8", "PQ4x4"])
def test_search_is_memory_mapped(many, tmp_path, factory):
    passages, vectors, topics = many
    retriever = DenseRetriever(None, passages, factory, path=tmp_path, embeddings=vectors)
    assert len(retriever(topics[:1]))
    assert str(retriever.directory / "index.faiss") in Path("/proc/self/maps").read_text()


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
