"""The loop: mining with the encoder of each iteration, memory, references, and going on after an interruption."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from datasets import load_from_disk

from larpo_ir.rewards.reranker import Reranker
from retrieval_bridge.training import iterate
from retrieval_bridge.training.bi_encoder import with_reference
from retrieval_bridge.training.config import IterativeConfig
from retrieval_bridge.training.filters import WithoutAnswers, WithoutNear
from retrieval_bridge.training.iterate import align_retriever
from retrieval_bridge.training.negatives import Negatives
from tests.bridge.small import SmallCollection, make_encoder

TRAINING = {"use_cpu": True, "disable_tqdm": True, "num_train_epochs": 15, "learning_rate": 0.05}
MEASURES = ["RR@10", "R@1"]


def settings(path, **options):
    fixed = {"iterations": 2, "depth": 4, "temperature": 0.1, "training": TRAINING, "measures": MEASURES}
    sampler = Negatives(num_negatives=2)
    return IterativeConfig(output_dir=str(path), **{**fixed, "sampler": sampler, **options})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run"
    return align_retriever(make_encoder(seed=4), SmallCollection(), settings(path), evaluate="train")


def weights(encoder):
    return encoder.model.state_dict()["0.embedding.weight"].numpy()


def test_a_run_has_a_row_per_iteration_and_learns(run):
    assert run.summary["iteration"].tolist() == [0, 1, 2]
    assert run.summary["num_lists"].tolist() == [0, 3, 3]
    assert run.summary["RR@10"].iloc[-1] == 1.0 > run.summary["RR@10"].iloc[0]
    assert [frame["RR@10"].mean() for frame in run.per_query] == run.summary["RR@10"].tolist()
    pd.testing.assert_frame_equal(pd.read_csv(run.output_dir / "summary.csv"), run.summary)


def test_candidates_are_what_the_encoder_of_their_iteration_retrieves(run):
    assert run.pool.iterations == [0, 1, 2]  # the last ones are for another iteration
    frame = run.pool.frame
    judged = frame[(frame["qid"] == "q0") & (frame["docno"] == "p0")]
    assert judged["score"].tolist() == [1.0, 1.0, 1.0]
    first = pd.read_parquet(run.output_dir / "iteration-00" / "candidates.parquet")
    assert set(first["source"]) == {"judged", "iteration-0"}
    assert (first[first["source"] == "iteration-0"].groupby("qid").size() == 4).all()


def test_running_it_again_goes_on_and_gives_the_same(run, tmp_path, monkeypatch):
    shutil.copytree(run.output_dir, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "iteration-02")
    trained = []
    train = iterate.train_retriever
    monkeypatch.setattr(
        iterate, "train_retriever", lambda *args, **options: trained.append(1) or train(*args, **options)
    )
    again = align_retriever(
        make_encoder(seed=4), SmallCollection(), settings(tmp_path / "run"), evaluate="train"
    )
    assert len(trained) == 1
    np.testing.assert_allclose(weights(again.encoder), weights(run.encoder), atol=1e-6)
    pd.testing.assert_frame_equal(again.summary, run.summary)


def test_a_finished_run_can_be_extended(run, tmp_path):
    shutil.copytree(run.output_dir, tmp_path / "run")
    longer = settings(tmp_path / "run", iterations=3)
    result = align_retriever(make_encoder(seed=4), SmallCollection(), longer, evaluate="train")
    assert result.summary["iteration"].tolist() == [0, 1, 2, 3]
    pd.testing.assert_frame_equal(result.summary[:3], run.summary)


def test_filters_are_part_of_what_a_run_is(tmp_path):
    def go(judge):
        config = settings(tmp_path / "run", iterations=1)
        return align_retriever(make_encoder(), SmallCollection(), config, evaluate="train", judges=[judge])

    go(WithoutNear(100.0))
    go(WithoutNear(100.0))  # another object, the same filter
    with pytest.raises(ValueError, match="holds a different run: judges is"):
        go(WithoutNear(50.0))


def test_grades_of_another_scale_leave_positives_positive(tmp_path):
    """A cross-encoder's logits: all below 1, and the qrels still say which passage is the positive."""

    class Logits(Reranker):
        def score(self, results):
            return -results["text"].str.len().to_numpy(float)

    config = settings(tmp_path / "run", iterations=1)
    align_retriever(make_encoder(), SmallCollection(), config, evaluate="train", judges=[Logits()])
    lists = load_from_disk(str(tmp_path / "run" / "iteration-01" / "lists"))
    assert [texts[0] for texts in lists["completions"]] == [
        "the apple is red", "Pear a green pear", "the sky is blue",
    ]  # fmt: skip
    assert lists[0]["relevance"][0] == -16.0


def test_several_processes_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(iterate, "num_processes", lambda: 2)
    with pytest.raises(ValueError, match="align_retriever works in one process"):
        align_retriever(make_encoder(), SmallCollection(), settings(tmp_path / "run"))


def test_another_run_is_refused(run):
    with pytest.raises(
        ValueError, match="holds a different run: loss is 'lambdarank' there and 'listmle' here"
    ):
        align_retriever(
            make_encoder(seed=4),
            SmallCollection(),
            settings(run.output_dir, loss="listmle"),
            evaluate="train",
        )


@pytest.mark.parametrize(("memory", "docnos"), [("current", 1), ("all", 2)])
def test_memory_decides_whose_candidates_are_seen(memory, docnos, tmp_path, monkeypatch):
    seen = []
    choose = iterate.sample_lists

    def spy(candidates, *rest):
        seen.append(candidates["iteration"].nunique())
        return choose(candidates, *rest)

    monkeypatch.setattr(iterate, "sample_lists", spy)
    # Only one negative per topic is retrieved, and training moves it away: the next iteration finds another.
    options = {"memory": memory, "depth": 2, "training": {**TRAINING, "num_train_epochs": 30}}
    align_retriever(
        make_encoder(seed=4), SmallCollection(), settings(tmp_path / "run", **options), evaluate="train"
    )
    assert seen == [1, docnos]


def test_the_reference_is_the_encoder_at_the_start_of_the_iteration(tmp_path, monkeypatch):
    given = []
    train = iterate.train_retriever

    def spy(encoder, lists, loss, temperature, reference, **options):
        given.append((weights(encoder), None if reference is None else weights(reference)))
        return train(encoder, lists, loss, temperature, reference, **options)

    monkeypatch.setattr(iterate, "train_retriever", spy)
    for reference in ("behavior", "initial", None):
        config = settings(tmp_path / str(reference), reference=reference)
        align_retriever(make_encoder(seed=4), SmallCollection(), config, evaluate="train")
    behavior, initial, without = given[0:2], given[2:4], given[4:6]
    assert all((encoder == reference).all() for encoder, reference in behavior)
    assert (initial[1][1] == initial[0][0]).all()
    assert (initial[1][1] != initial[1][0]).any()
    assert [reference for _, reference in without] == [None, None]


def test_filters_come_before_the_lists(tmp_path):
    config = settings(tmp_path / "run", iterations=1, depth=6)
    align_retriever(make_encoder(), SmallCollection(), config, evaluate="train", judges=[WithoutAnswers()])
    lists = load_from_disk(str(tmp_path / "run" / "iteration-01" / "lists"))
    of_sky = lists[lists["id"][:].index("q2")]["completions"]
    assert "Sea the sea of blue" not in of_sky  # it holds `sea`, an answer


def test_references_are_one_pass_and_sum_to_one(run):
    lists = load_from_disk(str(run.output_dir / "iteration-01" / "lists"))
    rows = with_reference(lists, run.encoder, 0.1)["ref_logps"]
    assert [sum(np.exp(row)) for row in rows] == pytest.approx([1.0] * 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": "none"}, "unknown memory 'none'; choose current, previous, all"),
        ({"reference": "other"}, "unknown reference 'other'; choose behavior, initial or none"),
        ({"loss": "other"}, "unknown loss 'other'"),
        ({"iterations": 0}, "iterations must be at least 1"),
    ],
)
def test_bad_settings_are_one_clear_line(options, message):
    with pytest.raises(ValueError, match=message):
        IterativeConfig(**options)
