"""The page of the data model: its examples run, and its tables have the columns of the frames that the code makes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from larpo_ir import BestWorst, CandidatePool, VerifiableReward, judge, read_lists, sample_lists, to_pairs
from larpo_ir.alignment.heldout import HeldOut
from larpo_ir.data.formats import PER_COMPLETION, REQUIRED
from larpo_ir.data.pool_files import COLUMNS as POOL
from larpo_ir.data.topics import read_topics
from larpo_ir.data.trec import read_qrels, read_run
from larpo_ir.models.generators import Generator
from larpo_ir.models.responses import RESULT_TYPES
from larpo_ir.provenance.run_directory import CHANGING
from tests.small_models import make_model, make_tokenizer

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "data_model.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE))
ROW = re.compile(r"^\| `(\w+)` \| (.*?) \| .* \| .* \| .* \|$", re.MULTILINE)
TOPICS = pd.DataFrame({"qid": ["1", "2"], "query": ["1+1?", "2+2?"], "gold": ["2", "4"]})
SCORED = {"score", "rank"}


def table(section: str) -> dict[str, str]:
    """Column and type, from the table of a section."""
    return dict(ROW.findall(SECTIONS[section]))


def test_the_examples_print_what_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    session: dict[str, Any] = {}
    for code, shown in re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", PAGE, re.DOTALL):
        exec(code, session)
        assert capsys.readouterr().out == shown


def test_links_exist() -> None:
    places = {"#" + title.lower().replace(" ", "-") for title in SECTIONS}
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert target in places or (DOCS / target).exists(), target


@cache
def measured() -> HeldOut:
    """Held-out samples and fixed lists of a small policy."""
    generator = Generator(
        make_model(max_position_embeddings=128), make_tokenizer(bos=True), max_new_tokens=4, num_candidates=2
    )
    held_out = HeldOut(TOPICS, num_samples=4)
    held_out.measure(generator, VerifiableReward(lambda text: len(text) % 2))
    return held_out


def topics(tmp_path: Path) -> Iterable[str]:
    path = tmp_path / "topics.jsonl"
    path.write_text(
        '{"id": "a", "messages": [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "="}]}'
    )
    return read_topics(path).columns


def candidates(_: Path) -> Iterable[str]:
    return measured().greedy.columns.difference(TOPICS.columns)


def judged(_: Path) -> Iterable[str]:
    needed = ["qid", "query", "docno", "text"]
    return set(VerifiableReward(len).transform_outputs(needed)) - set(needed)


def example_pool() -> CandidatePool:
    pool = CandidatePool()
    pool.add(measured().samples)
    return pool


def pool(_: Path) -> Iterable[str]:
    assert set(example_pool().view().columns) == {*POOL, "rank"}
    return example_pool().frame.columns


def qrels(tmp_path: Path) -> Iterable[str]:
    made = example_pool().qrels(path=tmp_path / "qrels.txt")
    assert judge(measured().samples).columns.tolist() == read_qrels(tmp_path / "qrels.txt").columns.tolist()
    return made.columns


def runs(tmp_path: Path) -> Iterable[str]:
    made = example_pool().run(tmp_path / "run.txt")
    return {*made.columns, *read_run(tmp_path / "run.txt").columns}


def lists(_: Path) -> Iterable[str]:
    row = {"id": "a", "prompt": "2+2?", "completions": ["4", "5"], "relevance": [1.0, 0.0]}
    optional = {
        "ref_logps": [-1.0, -2.0], "completion_ids": [[4], [5]], "finished": [True, False],
        "docnos": ["d4", "d5"], "policies": ["a", "b"],
    }  # fmt: skip
    read = read_lists([row | optional]).column_names
    assert set(read) == {*REQUIRED, *PER_COMPLETION, "id"}
    sampled = sample_lists(example_pool().view(), BestWorst()).column_names
    assert set(sampled) == set(read) - {"policies"}
    return read


def pairs(_: Path) -> Iterable[str]:
    return to_pairs(read_lists([{"prompt": "2+2?", "responses": ["4", "5"], "rewards": [1, 0]}])).column_names


def samples(_: Path) -> Iterable[str]:
    return measured().samples.columns.difference(measured().greedy.columns)


def fixed(_: Path) -> Iterable[str]:
    made = measured().lists
    assert made is not None
    assert "rank" not in made
    assert f"`{', '.join(CHANGING)}`" in SECTIONS["Fixed lists"]
    return made.columns.difference(measured().samples.columns)


def passages(tmp_path: Path) -> Iterable[str]:
    from retrieval_bridge import BM25, load_collection
    from tests.bridge.small import write_beir

    collection = load_collection(write_beir(tmp_path / "small"))
    asked = collection.topics("train")
    found = BM25(collection)(asked).columns
    assert found[-1] == "answers"  # of the topics
    return found.drop("answers")


def mined(tmp_path: Path) -> Iterable[str]:
    from retrieval_bridge import BM25, load_collection, mine
    from tests.bridge.small import write_beir

    collection = load_collection(write_beir(tmp_path / "small"))
    sources = {"bm25": BM25(collection) % 3}
    return mine(collection.topics("train"), collection.qrels("train"), collection, sources).columns.drop(
        "answers"
    )


FRAMES: dict[str, Callable[[Path], Iterable[str]]] = {
    "Topics": topics,
    "Candidates": candidates,
    "Judged results": judged,
    "Candidate pool": pool,
    "Qrels": qrels,
    "Runs": runs,
    "Ranked lists": lists,
    "Pairs": pairs,
    "Held-out samples": samples,
    "Fixed lists": fixed,
    "Results of passages": passages,
    "Candidates of passages": mined,
}


def test_every_section_with_columns_is_compared() -> None:
    assert {title for title in SECTIONS if table(title)} == FRAMES.keys()


@pytest.mark.parametrize("section", FRAMES)
def test_a_table_has_the_columns_that_the_code_makes(section: str, tmp_path: Path) -> None:
    assert set(table(section)) == set(FRAMES[section](tmp_path))


def test_types_of_candidates() -> None:
    types = {str: "str", float: "float", int: "int", bool: "bool"}
    shown = table("Candidates")
    assert list(shown) == list(RESULT_TYPES)
    known = {name: types[kind] for name, kind in RESULT_TYPES.items() if kind is not object}
    assert known == {name: shown[name] for name in known}


def test_types_of_the_pool() -> None:
    types = {pa.large_string(): "str", pa.float64(): "float", pa.int64(): "int", pa.bool_(): "bool"}
    types[pa.list_(pa.int32())] = "list of int"
    known = {name: types[on_disk] for name, (_, on_disk) in POOL.items()}
    assert known | {"prompt": "str or chat"} == table("Candidate pool")
