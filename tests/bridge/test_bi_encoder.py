"""A retriever is trained by the losses that align a policy: the same objects, the same numbers."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer

from larpo_ir.losses import available_losses, get_loss
from larpo_ir.objectives import get_objective
from larpo_ir.training.config import LarPOConfig
from larpo_ir.training.trainer import LarPOTrainer
from retrieval_bridge.training.bi_encoder import (
    Collator,
    RetrieverLoss,
    log_retrieval_distribution,
    train_retriever,
    with_reference,
)
from tests.bridge.small import make_encoder, make_static
from tests.small_models import make_model, make_tokenizer

LISTS = Dataset.from_list(
    [
        {"prompt": "what is red", "completions": ["the apple is red", "grass is green"], "relevance": [1.0, 0.0]},
        {"prompt": "blue sky", "completions": ["the sky is blue", "a green pear", "the sea of blue"],
         "relevance": [2.0, 0.0, 1.0]},
        {"prompt": "where is the pear", "completions": ["Pear a green pear", "the apple is red"],
         "relevance": [1.0, 0.0]},
    ]
)  # fmt: skip
TRAINING = {"use_cpu": True, "disable_tqdm": True, "num_train_epochs": 20, "learning_rate": 0.05}


class Recorder(type(get_loss("contrastive"))):
    """The contrastive loss, and the shapes of the scores it was called with."""

    calls: ClassVar[list] = []

    def __call__(self, scores, relevance, mask=None):
        self.calls.append(scores.shape)
        return super().__call__(scores, relevance, mask)


def similarities(encoder, row):
    return torch.from_numpy(
        encoder.encode_passages(row["completions"]) @ encoder.encode_queries([row["prompt"]])[0]
    )


def naive(encoder, loss, temperature, reference=None, beta=1.0):
    """Mean over lists, one list at a time, from what `encode` gives."""
    losses = []
    for row in LISTS:
        scores = similarities(encoder, row) / temperature
        if reference is not None:
            ref = similarities(reference, row) / temperature
            scores = beta * (scores.log_softmax(0) - ref.log_softmax(0))
        losses.append(loss(scores[None], torch.tensor([row["relevance"]])))
    return torch.stack(losses).mean()


def batch_loss(encoder, loss, temperature, lists=LISTS, beta=1.0, **options):
    batch = Collator(encoder, **options)(list(lists))
    features = [
        {key.removeprefix(name): value for key, value in batch.items() if key.startswith(name)}
        for name in ("query_", "passage_")
    ]
    return RetrieverLoss(encoder, loss, temperature, beta)(features, batch["label"])


def test_one_loss_object_on_both_sides(tmp_path):
    loss, seen = Recorder(), []
    trainer = LarPOTrainer(
        make_model(),
        args=LarPOConfig(
            output_dir=str(tmp_path), objective="larpo_contrastive", report_to="none", use_cpu=True
        ),
        train_dataset=Dataset.from_list(
            [{"prompt": "ab", "completions": ["x", "y"], "relevance": [1.0, 0.0]}]
        ),
        processing_class=make_tokenizer(),
    )
    trainer.objective = dataclasses.replace(trainer.objective, loss=loss)
    trainer.train()
    seen.append(len(loss.calls))
    train_retriever(make_encoder(), LISTS, loss, use_cpu=True, disable_tqdm=True)
    seen.append(len(loss.calls))
    assert seen == [3, 4]  # three epochs of one step, and one of one
    assert [tuple(shape) for shape in loss.calls] == [(1, 2)] * 3 + [(3, 3)]


def test_a_loss_object_is_used_as_it_is():
    loss = get_loss("listmle", seed=3)
    assert RetrieverLoss(make_encoder(), loss, 0.1).loss is loss


@pytest.mark.parametrize("name", available_losses())
def test_equal_numbers_give_equal_values_on_both_sides(name):
    """The policy's objective, with log p(d|q) and its reference in the place of log π(y|x) and its."""
    encoder, reference = make_encoder(), make_encoder(seed=1)
    lists = with_reference(LISTS, reference, 0.2)
    found = batch_loss(encoder, name, 0.2, lists, beta=0.7)
    batch = Collator(encoder)(list(lists))["label"]
    table = torch.zeros(batch["mask"].shape)
    for number, row in enumerate(LISTS):
        table[number, : len(row["completions"])] = similarities(encoder, row)
    logps = log_retrieval_distribution(table, batch["mask"], 0.2)
    objective = get_objective(f"larpo_{name}", beta=0.7)
    expected = objective(logps, batch["relevance"], batch["mask"], ref_logps=batch["ref_logps"]).loss
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert expected.item() == pytest.approx(
        naive(encoder, get_loss(name), 0.2, reference, 0.7).item(), rel=1e-5
    )


@pytest.mark.parametrize("name", available_losses())
def test_the_loss_of_a_batch_is_the_mean_of_its_lists(name):
    encoder = make_encoder()
    assert batch_loss(encoder, name, 0.1).item() == pytest.approx(
        naive(encoder, get_loss(name), 0.1).item(), rel=1e-5
    )


def test_the_implicit_reward_is_zero_against_the_start_and_beta_scales_it():
    encoder = make_encoder()
    lists = with_reference(LISTS, encoder, 0.1)
    batch = Collator(encoder)(list(lists))["label"]
    table = torch.zeros(batch["mask"].shape)
    for number, row in enumerate(LISTS):
        table[number, : len(row["completions"])] = similarities(encoder, row)
    torch.testing.assert_close(
        RetrieverLoss(encoder, "contrastive", 0.1).scores(table, batch), torch.zeros(3, 3), atol=1e-5, rtol=0
    )
    table[0, 0] += 0.1  # s rises by 1: γ of the first passage against the second, too
    gamma = RetrieverLoss(encoder, "contrastive", 0.1, beta=3.0).scores(table, batch)
    assert (gamma[0, 0] - gamma[0, 1]).item() == pytest.approx(3.0, abs=1e-4)


@pytest.mark.parametrize("name", ["pairwise", "contrastive", "lambdarank", "listmle", "lambda_ndcg"])
def test_in_batch_negatives_do_not_raise_hard_ones(name):
    """A list's negative that scores above its positive is pushed down, whatever else is in the batch."""
    label = Collator(make_encoder(), in_batch=True)(list(LISTS))["label"]
    scores = torch.zeros(3, 6)
    scores[0, 1] = 2.0  # the first list's negative, above everything
    scores.requires_grad_()
    get_loss(name)(scores, label["relevance"], label["mask"]).backward()
    assert scores.grad[0, 0] < 0 < scores.grad[0, 1]


def test_a_list_of_one_learns_from_the_batch():
    lists = [{**LISTS[0], "completions": ["the apple is red"], "relevance": [1.0]}, LISTS[1]]
    assert Collator(make_encoder(), in_batch=True)(lists)["label"]["relevance"][0].tolist() == [1, 0, 0, 0]


def test_in_batch_negatives_are_as_relevant_as_the_lists_worst():
    label = Collator(make_encoder(), in_batch=True)(list(LISTS))["label"]
    # distinct passages: apple, grass, sky, pear, sea, Pear; `apple` is in the first and in the third list
    assert label["places"][0].tolist() == [0, 1, 2, 3, 4, 5]
    assert label["relevance"][0].tolist() == [1, 0, 0, 0, 0, 0]
    assert label["relevance"][1].tolist() == [2, 0, 1, 0, 0, 0]
    assert label["places"][2].tolist() == [5, 0, 1, 2, 3, 4]
    assert label["mask"].all()


def test_passages_that_lists_share_are_encoded_once():
    batch = Collator(make_encoder())(list(LISTS))
    # StaticEmbedding takes flat ids and an offset per text
    assert len(batch["passage_offsets"]) == 6
    assert batch["label"]["places"].tolist() == [[0, 1, 0], [2, 3, 4], [5, 0, 0]]
    assert batch["label"]["mask"].tolist() == [[True, True, False], [True] * 3, [True, True, False]]


@pytest.mark.parametrize("loss", ["pairwise", "contrastive", "lambdarank", "listmle", "lambda_ndcg"])
@pytest.mark.parametrize("reference", [None, "start"])
def test_training_ranks_the_lists_as_they_are_graded(loss, reference):
    encoder = make_encoder(seed=4)
    before = encoder.model.state_dict()["0.embedding.weight"].clone()

    def right(of):
        ordered = [np.argsort(-similarities(of, row).numpy()) for row in LISTS]
        return sum(np.argmax(row["relevance"]) == order[0] for row, order in zip(LISTS, ordered, strict=True))

    trained = train_retriever(encoder, LISTS, loss, 0.1, reference, seed=1, **TRAINING)
    assert right(trained) == 3 > right(encoder)
    assert torch.equal(encoder.model.state_dict()["0.embedding.weight"], before)


def test_what_comes_back_is_of_the_kind_that_was_given():
    training = {**TRAINING, "num_train_epochs": 1}
    assert isinstance(train_retriever(make_static(), LISTS, **training), SentenceTransformer)
    assert train_retriever(make_encoder(query_prefix="what "), LISTS, **training).query_prefix == "what "


def test_the_same_seed_gives_the_same_weights():
    one, two, other = (
        train_retriever(
            make_encoder(), LISTS, "listmle", seed=seed, per_device_train_batch_size=1, **TRAINING
        )
        for seed in (1, 1, 2)
    )
    weights = [encoder.model.state_dict()["0.embedding.weight"] for encoder in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_prefixes_are_part_of_what_is_trained():
    plain, prefixed = make_encoder(), make_encoder(query_prefix="red ", passage_prefix="green ")
    assert batch_loss(plain, "contrastive", 0.1).item() != pytest.approx(
        batch_loss(prefixed, "contrastive", 0.1).item(), abs=1e-3
    )
    expected = naive(prefixed, get_loss("contrastive"), 0.1)
    assert batch_loss(prefixed, "contrastive", 0.1).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "nonsense"}, "unknown loss 'nonsense'; choose one of pairwise"),
        ({"temperature": 0.0}, "temperature is 0.0; it must be a positive number"),
        ({"in_batch": True, "reference": "start"}, "in_batch and a reference do not go together"),
        ({"epochs": 3}, "unknown training argument epochs"),
        ({"lists": LISTS.select([])}, "there are no training lists"),
    ],
)
def test_bad_input_is_one_clear_line(options, message):
    arguments = {"encoder": make_encoder(), "lists": LISTS, **options}
    with pytest.raises(ValueError, match=message) as error:
        train_retriever(**arguments)
    assert "\n" not in str(error.value)
