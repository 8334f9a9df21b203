"""BM25 by both backends: the formula, each other, and what lies on disk. Lucene is the real one."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import ir_measures
import numpy as np
import pandas as pd
import pytest
from scipy.stats import kendalltau

from larpo_ir.data.prompt_index import words
from larpo_ir.evaluation.measures import evaluate
from retrieval_bridge.collections.formats import load_collection
from retrieval_bridge.retrieval import lucene
from retrieval_bridge.retrieval.manifest import MANIFEST
from retrieval_bridge.retrieval.passages import Passages
from retrieval_bridge.retrieval.sparse import BACKENDS, BM25, best
from tests.bridge.small import SmallCollection

NQ = Path(__file__).parents[2].parent / "shared" / "data" / "nq"
needs_nq = pytest.mark.skipif(not NQ.is_dir(), reason="the shared data is not there")
needs_lucene = pytest.mark.skipif(find_spec("pyserini") is None, reason="pip install 'larpo_ir[pyserini]'")
both = pytest.mark.parametrize("backend", ["bm25s", pytest.param("pyserini", marks=needs_lucene)])

TEXTS = ["cat cat dog", "dog", "the cats and a bird in the sky", "fish", "a dog", "fish for the fish"]


def corpus(texts=TEXTS):
    return ({"docno": f"d{place}", "title": "", "text": text} for place, text in enumerate(texts))


def topics(*queries):
    return pd.DataFrame({"qid": [f"q{n}" for n in range(len(queries))], "query": list(queries)})


def found(results, qid="q0"):
    return list(results.loc[results["qid"] == qid, "docno"])


@pytest.fixture
def passages(tmp_path):
    return Passages.build(corpus(), tmp_path / "passages")


def term(frequency, length, holding, k1=0.9, b=0.4):
    """One word's share of the score, in 6 passages of 3, 1, 3, 1, 1 and 2 words."""
    idf = math.log(1 + (6 - holding + 0.5) / (holding + 0.5))
    return idf * frequency / (frequency + k1 * (1 - b + b * length / (11 / 6)))


@both
@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.2, 0.75), (0.0, 0.0)])
def test_the_formula(passages, backend, k1, b):
    """`cat` is in 2 passages and `dog` in 3; short lengths are exact in Lucene's one byte, scores have 4 decimals."""
    results = BM25(passages, backend, k1=k1, b=b)(topics("cat dog", "bird birds"))
    scores = results.set_index(["qid", "docno"])["score"]
    share = {"cat": term(2, 3, 2, k1, b), "dog": term(1, 3, 3, k1, b)}
    assert scores["q0", "d0"] == pytest.approx(share["cat"] + share["dog"], abs=1e-4)
    assert scores["q0", "d1"] == pytest.approx(term(1, 1, 3, k1, b), abs=1e-4)
    assert scores["q0", "d2"] == pytest.approx(term(1, 3, 2, k1, b), abs=1e-4)
    # A word that the query says twice counts twice.
    assert scores["q1", "d2"] == pytest.approx(2 * term(1, 3, 1, k1, b), abs=1e-4)


@both
def test_ties_are_ordered_by_place_and_only_matches_are_found(passages, backend):
    results = BM25(passages, backend)(topics("dogs", "the of", "", "unicorn"))
    assert found(results) == ["d1", "d4", "d0"]
    assert set(results["qid"]) == {"q0"}
    assert list(results["rank"]) == [0, 1, 2]
    assert (results["score"] > 0).all()


@both
def test_ties_at_the_cutoff(tmp_path, backend):
    passages = Passages.build(corpus(["a bird", *["the cat"] * 30]), tmp_path / "passages")
    assert found((BM25(passages, backend) % 12)(topics("cat"))) == [f"d{place}" for place in range(1, 13)]


@both
def test_unicode_and_titles(tmp_path, backend):
    rows = [
        {"docno": "naïve", "title": "Déjà vu", "text": "Straße, NAÏVE and 🐈\x00 cats"},
        {"docno": "plain", "title": "", "text": "U.S. dollars: 1,000 for Mary’s don't"},
    ]
    passages = Passages.build(iter(rows), tmp_path / "passages")
    results = BM25(passages, backend)(
        topics("déjà", "naïve straße", "mary", "u.s.", "1,000", "dollar", "🐈 cat")
    )
    assert [found(results, f"q{n}") for n in range(7)] == [["naïve"]] * 2 + [["plain"]] * 4 + [["naïve"]]


@both
def test_a_query_may_be_a_whole_document(passages, backend):
    query = "bird " + " ".join(f"w{number}" for number in range(2_000))
    assert found(BM25(passages, backend)(topics(query))) == ["d2"]


@both
def test_an_index_is_built_once_and_loaded(tmp_path, backend):
    folder = tmp_path / BACKENDS[backend].folder
    passages = Passages.build(corpus(), tmp_path / "passages")
    built = BM25(passages, backend, k1=1.2, b=0.75)
    assert built.directory == folder
    manifest = json.loads((folder / MANIFEST).read_text())
    assert (manifest["kind"], manifest["k1"], manifest["b"], manifest["passages"]) == (backend, 1.2, 0.75, 6)
    assert manifest["version"].split()[0] == backend
    times = {file: file.stat().st_mtime_ns for file in folder.iterdir()}
    expected = built(topics("cat dog"))
    for again in (BM25.load(tmp_path, backend), BM25(str(tmp_path), backend, k1=1.2, b=0.75)):
        pd.testing.assert_frame_equal(again(topics("cat dog")), expected)
    assert {file: file.stat().st_mtime_ns for file in folder.iterdir()} == times
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["passages", folder.name])


@both
def test_an_index_of_other_passages_is_refused(tmp_path, backend):
    BM25(Passages.build(corpus(), tmp_path / "passages"), backend)
    others = Passages.build(corpus(TEXTS[::-1]), tmp_path / "other" / "passages")
    with pytest.raises(
        ValueError, match=r"holds another index: its passages_fingerprint is .* choose another path"
    ):
        BM25(others, backend, path=tmp_path)


def test_bm25s_bakes_k1_and_b_in_and_lucene_does_not(passages):
    BM25(passages)
    with pytest.raises(ValueError, match=r"its k1 is 0.9, not 1.2; choose another path, or delete .*bm25s"):
        BM25(passages, k1=1.2)
    if find_spec("pyserini"):
        scores = [BM25(passages, "pyserini", k1=k1)(topics("cat"))["score"].iloc[0] for k1 in (0.9, 1.2)]
        assert scores == pytest.approx([term(2, 3, 2, k1) for k1 in (0.9, 1.2)], abs=1e-4)


def test_without_a_folder_no_index_is_refused():
    collection = SmallCollection()
    made = {k1: BM25(collection, k1=k1) for k1 in (0.9, 1.2, 0.0)}
    assert len({retriever.directory for retriever in made.values()}) == 3
    scores = {k1: retriever(topics("red"))["score"].iloc[0] for k1, retriever in made.items()}
    assert len(set(scores.values())) == 3
    again = BM25(collection, k1=1.2)
    assert again.directory == made[1.2].directory
    assert again(topics("red"))["score"].iloc[0] == scores[1.2]


EMPTY = [
    {"docno": "none", "title": "", "text": ""},
    {"docno": "blank", "title": " ", "text": "\u3000\n"},
    {"docno": "control", "title": "", "text": "\x00\x01"},
    {"docno": "stop", "title": "", "text": "the of and to"},
]


@both
@pytest.mark.parametrize("first", [True, False])
def test_passages_without_words_keep_their_place_and_are_not_found(tmp_path, backend, first):
    rows = [*EMPTY, *corpus()] if first else [*corpus(), *EMPTY]
    with pytest.warns(UserWarning, match="2 of 10 passages have neither title nor text, such as 'none'"):
        passages = Passages.build(iter(rows), tmp_path / "passages")
    retriever = BM25(passages, backend)
    assert retriever.index.size == 10
    results = retriever(topics("dog", "the of", "", "bird"))
    assert found(results) == ["d1", "d4", "d0"]
    assert found(results, "q3") == ["d2"]
    assert set(results["qid"]) == {"q0", "q3"}
    pd.testing.assert_frame_equal(BM25.load(tmp_path, backend)(topics("dog")), retriever(topics("dog")))


@both
def test_the_case_of_an_empty_document(shared, tmp_path, backend):
    collection = load_collection(shared / "cases" / "beir_emptydoc")
    with pytest.warns(
        UserWarning, match="beir_emptydoc: 1 of 7 passages have neither title nor text, such as 'd8'"
    ):
        retriever = BM25(collection, backend, path=tmp_path)
    results = retriever(collection.topics())
    assert found(results, "q1")[0] == "d1"
    assert not set(results["docno"]) & {"d3", "d8"}


@pytest.mark.parametrize(
    ("backend", "damaged"),
    [
        ("bm25s", "data.csc.index.npy"),
        ("bm25s", "vocab.index.json"),
        ("bm25s", "params.index.json"),
        pytest.param("pyserini", "*.si", marks=needs_lucene),
    ],
)
def test_a_damaged_index_is_one_line(passages, backend, damaged):
    folder = BM25(passages, backend).directory
    file = next(folder.glob(damaged))
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(
        ValueError, match=f"cannot open this index of {backend} .* delete it and index again"
    ) as caught:
        BM25(passages, backend)
    assert "\n" not in str(caught.value)


def test_bad_arguments(passages, tmp_path):
    for arguments, message in [
        ({"backend": "terrier"}, "backend is 'terrier'; choose one of bm25s, pyserini"),
        ({"k1": -1.0}, "k1 is -1.0"),
        ({"k1": math.inf}, "k1 is inf"),
        ({"b": 1.5}, "b is 1.5; it must be a number from 0 to 1"),
        ({"num_results": 0}, "num_results is 0"),
        ({"threads": 0}, "threads is 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            BM25(passages, **arguments)
    with pytest.raises(FileNotFoundError, match="no index there"):
        BM25.load(tmp_path / "nothing")


def test_nothing_half_built_is_left_and_nothing_of_others_replaced(tmp_path):
    stop_words = Passages.build(corpus(["the", "of a"]), tmp_path / "passages")
    with pytest.raises(ValueError, match="the 2 passages hold nothing but stop words"):
        BM25(stop_words)
    assert [file.name for file in tmp_path.iterdir()] == ["passages"]
    (tmp_path / "bm25s").mkdir()
    (tmp_path / "bm25s" / "mine.txt").write_text("keep me")
    with pytest.raises(ValueError, match=f"holds files but no {MANIFEST}"):
        BM25(stop_words)
    assert (tmp_path / "bm25s" / "mine.txt").read_text() == "keep me"


def test_the_best_of_many():
    scores = np.random.default_rng(0).integers(0, 5, 200).astype(float)
    expected = [place for place in np.argsort(-scores, kind="stable") if scores[place] > 0]
    for k in (1, 50, 120, 1000):
        assert best(scores, k).tolist() == expected[:k]


@needs_lucene
def test_words_are_those_of_lucene():
    lucene.lucene()
    from pyserini.analysis import Analyzer, get_lucene_analyzer

    analyser = Analyzer(get_lucene_analyzer(stemmer="none", stopwords=False))
    for text in [
        "U.S. troops' tank",
        "Mary's lamb, don’t",
        "3.14 and 1,000; 5:30 a:b",
        "e-mail snake_case A1 naïve",
    ]:
        assert words(text.lower()) == list(analyser.analyze(text))


def java(home, version, modules="", library="lib/server/libjvm.so"):
    (home / library).parent.mkdir(parents=True)
    (home / library).touch()
    (home / "release").write_text(
        f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\nMODULES="java.base {modules}"\n'
    )
    return home


def test_which_java(tmp_path, monkeypatch):
    old = java(tmp_path / "old", "1.8.0_392")
    bare, full = java(tmp_path / "bare", "21.0.8"), java(tmp_path / "full", "25", "jdk.incubator.vector")
    with_jmods = java(tmp_path / "jmods", "21.0.1", library="lib/server/libjvm.dylib")
    (with_jmods / "jmods").mkdir()
    (with_jmods / "jmods" / "jdk.incubator.vector.jmod").touch()
    assert lucene.java_at(old) is None
    assert lucene.java_at(tmp_path / "nowhere") is None
    assert [lucene.java_at(home).has_vector for home in (bare, full, with_jmods)] == [False, True, True]
    monkeypatch.setenv("JAVA_HOME", str(full))
    assert lucene.find_java() == lucene.Java(full, full / "lib" / "server" / "libjvm.so", True)
    monkeypatch.setattr(lucene, "find_spec", lambda name: None)
    monkeypatch.setenv("JAVA_HOME", str(old))
    with pytest.raises(
        ImportError, match=r"needs Java 21 or newer, and JAVA_HOME is .*old: pip install 'larpo_ir"
    ):
        lucene.find_java()
    monkeypatch.delenv("JAVA_HOME")
    with pytest.raises(ImportError, match="and JAVA_HOME is not set"):
        lucene.find_java()


def test_without_pyserini(passages, monkeypatch):
    lucene.lucene.cache_clear()
    monkeypatch.setattr(lucene, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs Pyserini and Java 21: pip install 'larpo_ir\[pyserini\]'"):
        BM25(passages, "pyserini")


@needs_lucene
def test_java_leaves_the_environment_and_ctrl_c_alone(tmp_path):
    script = f"""
import os, signal, time
os.environ["JAVA_HOME"] = {str(tmp_path)!r}
os.environ.pop("OPENAI_API_KEY", None)
from retrieval_bridge.retrieval.lucene import TOUCHED, lucene
before = {{name: os.environ.get(name) for name in TOUCHED}}
lucene()
assert before == {{name: os.environ.get(name) for name in TOUCHED}}
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("interrupted", 0), done.stderr


@pytest.fixture(scope="module")
def nq():
    return load_collection(NQ)


@pytest.fixture(scope="module")
def dev(nq):
    questions = nq.topics("dev")
    backends = [name for name in BACKENDS if name == "bm25s" or find_spec("pyserini")]
    return {backend: (BM25(nq, backend) % 100)(questions) for backend in backends}


def means(results, nq):
    return evaluate(results, nq.qrels("dev"), [ir_measures.nDCG @ 10, ir_measures.R @ 1])["mean"]


@needs_nq
def test_nq_is_searched_as_well_as_the_reference(nq, dev):
    """Reference, BM25 of Lucene's variant with Porter's stemmer: nDCG@10 0.864, R@1 0.773."""
    measured = means(dev["bm25s"], nq)
    assert measured["nDCG@10"] >= 0.854
    assert measured["R@1"] >= 0.763


@needs_nq
@needs_lucene
def test_the_backends_agree_on_nq(nq, dev):
    ours, theirs = dev["bm25s"], dev["pyserini"]
    assert list(ours.columns) == list(theirs.columns)
    assert means(ours, nq)["nDCG@10"] == pytest.approx(means(theirs, nq)["nDCG@10"], abs=0.02)
    shared = ours.merge(theirs, on=["qid", "docno"], suffixes=("", "_lucene"))
    assert len(shared) > 0.95 * len(ours)
    correlations = [
        kendalltau(group["score"], group["score_lucene"]).statistic for _, group in shared.groupby("qid")
    ]
    assert len(correlations) == 400
    assert np.mean(correlations) > 0.95
