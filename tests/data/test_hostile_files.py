"""Files of every reader, damaged at random: what is read is a result, or one line that says what is wrong.

The damage is the same in every run: bytes that are cut, changed, repeated, put in from a list of what breaks parsers.
"""

from __future__ import annotations

import gzip
import json
import random
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

from larpo_ir.data.lists import read_lists
from larpo_ir.data.pool import CandidatePool
from larpo_ir.data.records import read_records
from larpo_ir.data.topics import read_candidates, read_examples, read_topics
from larpo_ir.data.trec import read_qrels, read_run, results_from_records, write_qrels, write_run
from larpo_ir.models.tokenization import TokenizedList
from larpo_ir.tasks import get_task
from larpo_ir.training.logprob_cache import LogprobCache
from retrieval_bridge import BM25, DenseRetriever, Passages, load_collection
from retrieval_bridge.retrieval.manifest import MANIFEST
from retrieval_bridge.training.negative_files import read_negatives
from tests.bridge.small import PASSAGES, QRELS, TOPICS, make_encoder, write_beir

POLICY = "0" * 32
TOKENS = [TokenizedList([n], [[n, 1], [n, 2]]) for n in range(200)]
INSERTED = (
    b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", "\u2028".encode(), b"\r", b"\n", b"\t", b" ", b'"', b"\\",
    b"\\ud83d", b",", b":", b"[", b"]", b"{", b"}", b"null", b"true", b"NaN", b"-Infinity", b"1e400", b"1" * 5000,
    b"-9" * 12, b"[" * 3000, b'{"a":' * 3000, b"{}", b"[]", b'""', b"0.5", b"<DOC>", b"</DOC>", b"<top>",
)  # fmt: skip
ENTRIES = (
    None, True, 5, 1.5, "", "text", [], {}, [None], [[]], [{}], {"a": 1}, [5, "x"], 2**63, "\ud83d", float("nan"), -1,
)  # fmt: skip


def damaged(content: bytes, rng: random.Random) -> bytes:
    """The bytes with one of several kinds of damage."""
    if not content:
        return rng.choice(INSERTED)
    first, second = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    kinds = {
        "cut": lambda: content[:first],
        "left out": lambda: content[:first] + content[second:],
        "repeated": lambda: content[:second] + content[first:],
        "inserted": lambda: content[:first] + rng.choice(INSERTED) + content[first:],
        "exchanged": lambda: content[:first] + rng.choice(INSERTED) + content[second:],
        "overwritten": lambda: bytes(rng.randrange(256) if rng.random() < 0.02 else byte for byte in content),
        "one byte": lambda: content[:first] + bytes([rng.randrange(256)]) + content[first + 1 :],
        "UTF-16": lambda: content.decode("utf-8", "replace").encode(rng.choice(["utf-16", "utf-16-le"])),
    }
    return kinds[rng.choice(list(kinds))]()


def entries_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every entry of a JSON value."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in pairs:
        yield from entries_of(part, (*path, key))


def changed(row: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """A row in which one entry is another, or is missing."""
    row = json.loads(json.dumps(row))
    *parents, last = rng.choice([path for path in entries_of(row) if path])
    holder: Any = row
    for key in parents:
        holder = holder[key]
    if rng.random() < 0.25:
        del holder[last]
    else:
        holder[last] = rng.choice(ENTRIES)
    return row


def is_one_line(read: Callable[[], Any], what: str) -> bool:
    """Whether reading gave a result. Fails for any other exception than those documented, and for several lines."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except (ValueError, FileNotFoundError) as error:
        message = str(error)
    except BaseException as error:  # the test says which damage it was
        raise AssertionError(f"{what:.500}: {type(error).__name__}: {error!s:.500}") from error
    else:
        return True
    assert message.strip(), what
    assert "\n" not in message, f"{what:.500}: {message:.500}"
    return False


def assert_survives(path: Path, read: Callable[[], Any], number: int, seed: int = 0) -> None:
    """Damage a file in so many ways; it is whole again afterwards."""
    whole = path.read_bytes()
    assert is_one_line(read, f"{path.name}, whole")
    refused = 0
    for n in range(number):
        path.unlink()  # what an index has mapped stays as it was
        path.write_bytes(damaged(whole, random.Random(1000 * seed + n)))
        refused += not is_one_line(read, f"{path.name}, damage {n}")
    path.unlink()
    path.write_bytes(whole)
    assert refused, f"{path.name}: nothing was refused"


# What larpo_ir reads

LISTS = {
    "ours": {"prompt": "2+2?", "completions": ["4", "5"], "relevance": [1.0, 0.0], "ref_logps": [-1.0, -2.0],
             "id": "q"},
    "chats": {"prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}],
              "completions": [[{"role": "assistant", "content": "4"}], [{"role": "assistant", "content": "5"}]],
              "relevance": [1, 0]},
    "SimPO": {"prompt": "2+2?", "all_generated_responses": ["4", "5"], "all_rm_scores": [1.0, 0.0]},
    "RLHFlow": {"prompt": "2+2?", "responses": ["4", "5"], "rewards": [1.0, 0.0]},
    "graded": {"prompt": "2+2?", "candidates": [{"text": "4", "score": 1, "model": "a"}, {"text": "5", "score": 0}]},
    "UltraFeedback": {"instruction": "2+2?", "completions": [{"response": "4", "overall_score": 1.0, "model": "a"}]},
    "pairs": {"prompt": "2+2?",
              "chosen": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}],
              "rejected": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "5"}]},
}  # fmt: skip
TOPIC = {"qid": "q", "prompt": [{"role": "user", "content": "2+2?"}], "gold": "4"}
RESULT = {"qid": "q", "query": "2+2?", "docno": "d", "text": "4", "score": 1.0, "rank": 0}


def written(path: Path, row: Any, number: int = 3) -> Path:
    text = "".join(f"{json.dumps(row)}\n" for _ in range(number))
    if path.suffix == ".json":
        text = json.dumps([row] * number, indent=1)
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.jsonl.gz", "a.parquet"])
def test_records(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if path.suffix == ".parquet":
        pd.DataFrame([RESULT] * 3).to_parquet(path)
    else:
        written(path, RESULT)
    assert_survives(path, lambda: list(read_records(path)), 100)
    assert_survives(path, lambda: results_from_records(path), 50, seed=1)


def test_results_whose_entries_are_something_else(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    for n in range(100):
        written(path, changed(RESULT, random.Random(n)), 1)
        is_one_line(lambda: results_from_records(path), f"results {n}: {path.read_text()}")


def test_folders_that_datasets_saved(tmp_path: Path) -> None:
    Dataset.from_list([TOPIC] * 3).save_to_disk(str(tmp_path / "saved"))
    for file in (tmp_path / "saved").iterdir():
        whole = file.read_bytes()
        for n in range(25):
            file.unlink()
            file.write_bytes(damaged(whole, random.Random(n)))
            is_one_line(lambda: list(read_records(tmp_path / "saved")), f"{file.name}, damage {n}")
        file.write_bytes(whole)


def test_runs_and_qrels(tmp_path: Path) -> None:
    results = pd.DataFrame({"qid": ["a", "a", "b"], "docno": ["x", "y", "x"], "score": [2.5, 1.0, -1e-3]})
    for name in ("run.trec", "run.trec.gz"):
        path = write_run(results, tmp_path / name)
        assert_survives(path, lambda path=path: read_run(path), 150)
        assert_survives(path, lambda path=path: read_negatives(path), 20)
    qrels = write_qrels(results.assign(label=[1, 0, 2]), tmp_path / "qrels.trec")
    assert_survives(qrels, lambda: read_qrels(qrels), 150)


@pytest.mark.parametrize("layout", LISTS)
def test_lists(layout: str, tmp_path: Path) -> None:
    path = written(tmp_path / "lists.jsonl", LISTS[layout])
    assert_survives(path, lambda: read_lists(path), 30)
    for n in range(60):
        written(path, changed(LISTS[layout], random.Random(n)), 1)
        is_one_line(lambda: read_lists(path), f"{layout} {n}: {path.read_text()}")
        is_one_line(lambda: CandidatePool.from_ranked(path), f"pool of {layout} {n}: {path.read_text()}")


TOPICS_READ: dict[str, tuple[Callable[[Path], Any], dict[str, Any]]] = {
    "topics": (read_topics, {"id": 3, "question": "2+2?", "gold": "4"}),
    "chats": (read_topics, TOPIC),
    "examples": (lambda path: read_examples(path, 1), {"question": "2+2?", "answer": "4"}),
    "candidates": (read_candidates, RESULT),
    "gsm8k": (get_task("gsm8k").read, {"question": "2+2?", "answer": "2+2=4\n#### 4"}),
    "math": (get_task("math").read, {"problem": "2+2?", "solution": "It is \\boxed{4}.", "level": "Level 1"}),
    "mixeval": (get_task("mixeval").read, {"id": "1", "prompt": "?", "options": ["a", "b"], "target": ["A"],
                                           "problem_type": "single-choice", "benchmark_name": "x"}),
    "alpaca_eval": (get_task("alpaca_eval").read, {"instruction": "Say a.", "output": "a", "generator": "g"}),
}  # fmt: skip


@pytest.mark.parametrize("name", TOPICS_READ)
def test_topics(name: str, tmp_path: Path) -> None:
    read, row = TOPICS_READ[name]
    for n in range(80):
        path = written(tmp_path / f"a.{'jsonl' if n % 2 else 'json'}", changed(row, random.Random(n)), 1)
        is_one_line(lambda path=path: read(path), f"{name} {n}: {path.read_text()}")
        path.write_bytes(damaged(written(path, row).read_bytes(), random.Random(n)))
        is_one_line(lambda path=path: read(path), f"{name}, damage {n}")


def test_pools(tmp_path: Path) -> None:
    pool = CandidatePool()
    pool.add(pd.DataFrame([RESULT, {**RESULT, "docno": "e", "text": "5", "score": 0.0}]))
    path = pool.save(tmp_path / "pool.parquet")
    assert_survives(path, lambda: CandidatePool.load(path), 100)


def test_log_probability_caches(tmp_path: Path) -> None:
    cache = LogprobCache(tmp_path)
    cache.put(POLICY, TOKENS, [[-1.0, -2.0]] * len(TOKENS))
    assert_survives(cache.path(POLICY), lambda: cache.get(POLICY, TOKENS), 100)
    assert_survives(cache.path(POLICY), lambda: cache.put(POLICY, TOKENS[:1], [[-1.0, -2.0]]), 20, seed=1)


# What retrieval_bridge reads


def trec(folder: Path) -> None:
    folder.mkdir()
    documents = (f"<DOC>\n<DOCNO>{p['docno']}</DOCNO>\n<TEXT>{p['text']}</TEXT>\n</DOC>\n" for p in PASSAGES)
    (folder / "corpus.trec").write_text("".join(documents))
    (folder / "topics.dev.tsv").write_text("".join(f"{t.qid}\t{t.query}\n" for t in TOPICS.itertuples()))
    (folder / "qrels.dev.txt").write_text(
        "".join(f"{q.qid} 0 {q.docno} {q.label}\n" for q in QRELS.itertuples())
    )


def trec_marked_up(folder: Path) -> None:
    trec(folder)
    (folder / "topics.dev.tsv").unlink()
    tops = (f"<top>\n<num> Number: {t.qid}\n<title> {t.query}\n</top>\n" for t in TOPICS.itertuples())
    (folder / "topics.dev.txt").write_text("".join(tops))


def trec_in_xml(folder: Path) -> None:
    trec(folder)
    (folder / "topics.dev.tsv").write_text(
        "<topics>" + "".join(f'<topic number="{t.qid}"><query>{t.query}</query></topic>' for t in TOPICS.itertuples())
        + "</topics>"
    )  # fmt: skip
    (folder / "corpus.trec").unlink()
    (folder / "collection.tsv").write_text("".join(f"{p['docno']}\t{p['text']}\n" for p in PASSAGES))


def dpr(folder: Path) -> None:
    folder.mkdir()
    good, bad = ({"passage_id": p["docno"], "title": p["title"], "text": p["text"]} for p in PASSAGES[:2])
    row = {
        "question": "what is red",
        "answers": ["apple"],
        "positive_ctxs": [good],
        "hard_negative_ctxs": [bad],
    }
    written(folder / "nq-dev.json", row)
    (folder / "nq-test.qa.csv").write_text("what is red\t['apple', 'plum']\n")
    header, rows = "id\ttext\ttitle\n", (f'{p["docno"]}\t"{p["text"]}"\t{p["title"]}\n' for p in PASSAGES)
    (folder / "psgs_w100.tsv").write_text(header + "".join(rows))


def tevatron(folder: Path) -> None:
    folder.mkdir()
    good, bad = ({"docid": p["docno"], "title": p["title"], "text": p["text"]} for p in PASSAGES[:2])
    row = {"query_id": "q", "query": "what is red", "answers": ["apple"], "positive_passages": [good],
           "negative_passages": [bad]}  # fmt: skip
    written(folder / "train.jsonl", row, 1)


LAYOUTS: dict[str, Callable[[Path], Any]] = {
    "BEIR": write_beir, "TREC": trec, "TREC, <top>": trec_marked_up, "TREC, XML": trec_in_xml, "DPR": dpr,
    "Tevatron": tevatron,
}  # fmt: skip


def read_collection(folder: Path) -> None:
    collection = load_collection(folder)
    passages = sum(1 for _ in collection.corpus())
    assert passages >= 0
    for split in collection.splits:
        collection.topics(split)
        collection.qrels(split)
        collection.negatives(split)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_collections(layout: str, tmp_path: Path) -> None:
    LAYOUTS[layout](tmp_path / "c")
    for file in sorted(path for path in (tmp_path / "c").rglob("*") if path.is_file()):
        whole = file.read_bytes()
        for n in range(60):
            file.write_bytes(damaged(whole, random.Random(n)))
            is_one_line(lambda: read_collection(tmp_path / "c"), f"{file.name}, damage {n}")
        rows = [json.loads(line) for line in whole.splitlines()] if file.suffix == ".jsonl" else []
        for n in range(60 if rows else 0):
            rng = random.Random(n)
            written(file, changed(rng.choice(rows), rng), 1)
            is_one_line(lambda: read_collection(tmp_path / "c"), f"{file.name}, row {n}: {file.read_text()}")
        file.write_bytes(whole)


def test_negatives(tmp_path: Path) -> None:
    (tmp_path / "n.tsv").write_text("q1\tp2,p3\nq2\tp4\n")
    written(tmp_path / "n.jsonl", {"qid": "q", "docnos": ["p1", "p2"]})
    for name in ("n.tsv", "n.jsonl"):
        assert_survives(tmp_path / name, lambda name=name: read_negatives(tmp_path / name), 100)
    for n in range(40):
        path = written(
            tmp_path / "n.jsonl", changed({"qid": "q", "docnos": ["p1", "p2"]}, random.Random(n)), 1
        )
        is_one_line(lambda path=path: read_negatives(path), f"negatives {n}: {path.read_text()}")


# Indexes


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("indexes")
    Passages.build(
        ({"docno": f"d{n}", "title": "", "text": f"red {n % 7}"} for n in range(60)), folder / "passages"
    )
    return folder


def assert_index_survives(folder: Path, read: Callable[[], Any], number: int) -> None:
    assert is_one_line(read, f"{folder.name}, whole")
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = file.read_bytes()
        for n in range(number):
            file.unlink()
            if n:
                file.write_bytes(damaged(whole, random.Random(n)))
            is_one_line(read, f"{folder.name}/{file.name}, damage {n}")
            file.unlink(missing_ok=True)
            file.write_bytes(whole)


def test_passages(root: Path) -> None:
    def read() -> None:
        passages = Passages.load(root / "passages")
        passages.full_texts(0, 60)
        passages.places_of(["d3"])

    assert_index_survives(root / "passages", read, 40)


@pytest.mark.parametrize("factory", ["Flat", "HNSW8", "IVF4,Flat", "IVF4,PQ4x4", "PCA4,SQ8"])
def test_indexes_of_faiss(root: Path, factory: str) -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    encoder = make_encoder()
    name, passages = factory.replace(",", "-"), Passages.load(root / "passages")
    made = DenseRetriever(encoder, passages, factory, name=name, path=root, embeddings=vectors)
    assert_index_survives(made.directory, lambda: DenseRetriever.load(root, encoder, name)(TOPICS), 30)


@pytest.mark.parametrize(
    "backend",
    [
        "bm25s",
        pytest.param("pyserini", marks=pytest.mark.skipif(not find_spec("pyserini"), reason="no Pyserini")),
    ],
)
def test_indexes_of_words(root: Path, backend: str) -> None:
    made = BM25(Passages.load(root / "passages"), backend, path=root)
    assert (made.directory / MANIFEST).exists()
    assert_index_survives(made.directory, lambda: BM25.load(root, backend)(TOPICS), 12)
