"""Cross-encoders: as rerankers in a pipeline, and trained on ranked lists."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder.losses import BinaryCrossEntropyLoss
from torch import nn

from larpo_ir.losses import get_loss
from retrieval_bridge.retrieval.reranker import CrossEncoderReranker
from retrieval_bridge.retrieval.sparse import BM25
from retrieval_bridge.training.cross_encoder import LISTWISE, ListLoss, binary, train_cross_encoder
from tests.bridge.small import PASSAGES, TOPICS, SmallCollection
from tests.bridge.small import make_cross_encoder as make_model

FRUIT = {"apple": "red", "pear": "green", "plum": "blue"}
LISTS = Dataset.from_list(
    [
        {"prompt": f"what is {colour}", "completions": [f"the {fruit} is {colour}", *others],
         "relevance": [1.0, *[0.0] * len(others)]}
        for fruit, colour in FRUIT.items()
        for others in (["the sky", "a sea"], [f"{other} is {FRUIT[other]}" for other in FRUIT if other != fruit])
    ]
)  # fmt: skip
TRAINING = {"epochs": 25, "learning_rate": 5e-3, "batch_size": 3, "disable_tqdm": True, "use_cpu": True}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A BERT of one layer whose words are those of the small collection."""
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def results():
    """Every passage for every topic, in the order of the collection."""
    frame = TOPICS.merge(pd.DataFrame(PASSAGES), how="cross")
    return frame.assign(score=1.0, rank=frame.groupby("qid").cumcount())


def test_scores_are_logits_of_query_and_full_text(folder, results):
    model = CrossEncoder(folder)
    reranked = CrossEncoderReranker(model, batch_size=4)(results)
    for row in reranked[reranked["docno"].isin(["p1", "p2"])].itertuples():
        text = {"p1": "Pear a green pear", "p2": "plum blue plum"}[row.docno]
        logit = model.predict([(row.query, text)], activation_fn=nn.Identity())[0]
        assert row.score == pytest.approx(logit, abs=1e-5)
    assert reranked.groupby("qid")["score"].is_monotonic_decreasing.all()
    assert reranked["rank"].tolist() == [*range(6)] * 3


def test_frames_without_titles_are_read_as_they_are(folder, results):
    reranker = CrossEncoderReranker(folder)
    joined = results.assign(text=[f"{title} {text}".strip() for title, text in
                                  zip(results["title"], results["text"], strict=True)])  # fmt: skip
    np.testing.assert_allclose(
        reranker.score(joined.drop(columns="title")), reranker.score(results), atol=1e-6
    )


def test_a_pair_that_occurs_twice_has_one_score(folder, results):
    scores = CrossEncoderReranker(folder, batch_size=2).score(pd.concat([results, results[::-1]]))
    assert (scores[:18] == scores[:17:-1]).all()
    assert len(set(scores)) == 18


def test_bfloat16_changes_little(folder, results):
    exact, fast = (CrossEncoderReranker(folder, bf16=bf16).score(results) for bf16 in (False, True))
    np.testing.assert_allclose(fast, exact, atol=0.05)
    assert (fast != exact).any()
    assert len(set(fast)) == 18


def test_it_ends_a_pipeline(folder):
    collection = SmallCollection()
    pipeline = BM25(collection) % 2 >> CrossEncoderReranker(folder)
    results = pipeline(TOPICS)
    found = BM25(collection)(TOPICS)
    best_two = found[found["rank"] < 2]
    assert set(zip(results["qid"], results["docno"], strict=True)) == set(
        zip(best_two["qid"], best_two["docno"], strict=True)
    )
    assert list(results.columns) == list(found.columns)


def test_no_results_stay_none(folder, results):
    assert len(CrossEncoderReranker(folder)(results[:0])) == 0


def test_max_length_cuts_pairs(folder, results):
    """[CLS] red [SEP] the apple [SEP] are 6 tokens."""
    two = results[:2].assign(query="red", title="", text=["the apple is green", "the apple sky"])
    assert len(set(CrossEncoderReranker(folder, max_length=6).score(two))) == 1
    assert len(set(CrossEncoderReranker(folder).score(two))) == 2


# Training


@pytest.mark.parametrize(
    "loss", ["binary", "contrastive", get_loss("plackett_luce", k=1), "LambdaLoss", "ListNetLoss"]
)
def test_training_ranks_the_relevant_passage_first(folder, loss):
    trained = train_cross_encoder(folder, LISTS, loss=loss, **TRAINING)
    best = [
        np.argmax(trained.predict([(row["prompt"], text) for text in row["completions"]])) for row in LISTS
    ]
    assert best == [0] * len(LISTS)


def test_training_leaves_its_start_alone_and_depends_on_the_seed_only(folder):
    start = CrossEncoder(folder)
    before = {name: weight.clone() for name, weight in start.state_dict().items()}
    short = {**TRAINING, "epochs": 2}
    one, same, other = (train_cross_encoder(start, LISTS, seed=seed, **short) for seed in (0, 0, 1))
    assert all(torch.equal(weight, before[name]) for name, weight in start.state_dict().items())
    pairs = [("what is red", "the apple is red"), ("what is blue", "a pear")]
    assert (one.predict(pairs) == same.predict(pairs)).all()
    assert (one.predict(pairs) != other.predict(pairs)).any()


def test_a_trained_model_is_saved_and_loaded(folder, tmp_path, results):
    trained = train_cross_encoder(folder, LISTS, max_length=20, **{**TRAINING, "epochs": 1})
    trained.save_pretrained(str(tmp_path / "model"))
    loaded = CrossEncoderReranker(tmp_path / "model")
    assert loaded.model.max_seq_length == 20
    np.testing.assert_allclose(loaded.score(results), CrossEncoderReranker(trained).score(results), atol=1e-6)


def test_loss_is_that_of_the_scores_and_shorter_lists_are_masked(folder):
    model = CrossEncoder(folder)
    queries, lists = ["what is red", "blue"], [["the apple", "sky", "grass is green"], ["plum", "sea"]]
    relevance = [[2.0, 1.0, 0.0], [0.0, 1.0]]
    logits = [model.predict([(query, text) for text in texts], activation_fn=nn.Identity())
              for query, texts in zip(queries, lists, strict=True)]  # fmt: skip
    for name in ("contrastive", "lambdarank", "listmle"):
        loss = get_loss(name)
        found = ListLoss(model.eval(), loss)([queries, lists], [torch.tensor(row) for row in relevance])
        each = [
            loss(torch.tensor(s)[None], torch.tensor(r)[None]) for s, r in zip(logits, relevance, strict=True)
        ]
        assert found.item() == pytest.approx(sum(each).item() / 2, rel=1e-5)


def test_binary_is_the_loss_of_sentence_transformers(folder):
    model = CrossEncoder(folder).eval()
    queries, texts, labels = ["what is red", "blue"], ["the apple", "plum"], [1.0, 0.0]
    theirs = BinaryCrossEntropyLoss(model)([queries, texts], torch.tensor(labels))
    ours = ListLoss(model, binary)([queries, [[text] for text in texts]], [torch.tensor([x]) for x in labels])
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-6)


def test_minilm_starts_with_a_new_head_of_its_seed():
    one_step = {"epochs": 1, "learning_rate": 0.0, "batch_size": 6, "disable_tqdm": True, "use_cpu": True}
    heads = [train_cross_encoder("minilm", LISTS.select([0]), seed=seed, **one_step).model.classifier.weight
             for seed in (0, 0, 1)]  # fmt: skip
    assert heads[0].shape == (1, 384)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


# What is refused


def test_models_that_are_no_rerankers(tmp_path):
    with pytest.raises(ValueError, match=r"needs a cross-encoder with one label, .* has 3"):
        CrossEncoderReranker(make_model(tmp_path, num_labels=3))
    with pytest.raises(ValueError, match=r"no cross-encoder .*nothing'[^\n]*minilm$"):
        CrossEncoderReranker(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"loss": "listnett"},
            f"unknown loss 'listnett'; choose one of binary, pairwise, .*{next(iter(LISTWISE))}",
        ),
        ({"nepochs": 3}, "unknown training argument nepochs; the choices are those of"),
        ({"max_length": 0}, "max_length is 0; it must be at least 1"),
    ],
)
def test_bad_arguments(folder, options, message):
    with pytest.raises(ValueError, match=message):
        train_cross_encoder(folder, LISTS, **options)


def test_bad_lists(folder):
    with pytest.raises(ValueError, match="no training lists"):
        train_cross_encoder(folder, LISTS.select([]))
    with pytest.raises(ValueError, match=r"need the column\(s\) relevance"):
        train_cross_encoder(folder, LISTS.remove_columns("relevance"))
    graded = LISTS.map(lambda row: {"relevance": [score * 2 for score in row["relevance"]]})
    with pytest.raises(
        ValueError, match=r"loss 'binary' needs relevance from 0 to 1, found 2\.0; use a ranking loss"
    ):
        train_cross_encoder(folder, graded)


def test_bad_batch_size(folder):
    with pytest.raises(ValueError, match="batch_size is 0; it must be at least 1"):
        CrossEncoderReranker(folder, batch_size=0)
