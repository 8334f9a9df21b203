"""Objectives: by hand, by what all of them keep, beside TRL's own code, and their metrics."""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from functools import partial
from math import exp, log, log2
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ir_measures
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from larpo_ir.losses import available_losses
from larpo_ir.objectives import METHODS, Objective, available_objectives, get_objective, ranking_metrics

DOUBLE = torch.float64
PAGE = Path(__file__).parent.parent / "docs" / "losses.md"
GARBAGE = [math.nan, math.inf, -math.inf, 1e30]
WITHOUT_REFERENCE = {"slic_hf", "rrhf", "cpo", "simpo"}
WITH_LENGTHS = {"ipo_per_token", "rrhf", "rdpo", "simpo"}

every_objective = pytest.mark.parametrize("name", available_objectives())


def nls(x: float) -> float:
    """-log σ(x)."""
    return log(1 + exp(-x))


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def row(*values: float) -> Tensor:
    return torch.tensor([values], dtype=DOUBLE)


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-9) -> bool:
    return torch.allclose(actual.double(), expected.double(), rtol=tolerance, atol=tolerance)


# 1. By hand: one list of three

POLICY, REFERENCE = row(-4, -6, -3), row(-5, -5, -4.5)  # log-ratios 1, -1, 1.5
REWARDS, LENGTHS = row(2, 0, 1), row(2, 3, 6)  # the first is best, the second worst
TIED = row(1, 0, 1)
HAND = [
    ("dpo", {"beta": 0.5}, nls(0.5 * 1 - 0.5 * -1)),
    ("ipo", {"beta": 0.25}, (1 - -1 - 1 / (2 * 0.25)) ** 2),
    ("ipo", {"beta": 0.5}, (1 - -1 - 1 / (2 * 0.5)) ** 2),
    ("ipo_per_token", {"beta": 0.5}, (1 / 2 - -1 / 3 - 1) ** 2),
    ("slic_hf", {"delta": 3.0, "sft_weight": 0.1}, (3 - (-4 - -6)) + 0.1 * 4 / 2),
    ("slic_hf", {"delta": 1.0, "sft_weight": 0.0}, 0),
    ("rrhf", {}, (-3 / 6 - -4 / 2) + 0 + 0 + 1 * 4 / 2),
    ("rrhf", {"sft_weight": 0.5}, (-3 / 6 - -4 / 2) + 0 + 0 + 0.5 * 4 / 2),
    ("cpo", {"beta": 0.5}, nls(0.5 * -4 - 0.5 * -6) + 1 * 4 / 2),
    ("cpo", {"beta": 0.5, "sft_weight": 0.0}, nls(0.5 * -4 - 0.5 * -6)),
    # β log-ratios 0.5, -0.5, 0.75, mean 0.25; above the middle of 0..2 is the first alone
    (
        "kto",
        {"beta": 0.5},
        ((1 - sigmoid(0.5 - 0.25)) + (1 - sigmoid(0.25 + 0.5)) + (1 - sigmoid(0.25 - 0.75))) / 3,
    ),
    (
        "kto",
        {
            "beta": 0.5,
            "threshold": 1.0,
            "zero_point": 0.1,
            "desirable_weight": 2.0,
            "undesirable_weight": 3.0,
        },
        (2 * (1 - sigmoid(0.5 - 0.1)) + 3 * (1 - sigmoid(0.1 + 0.5)) + 2 * (1 - sigmoid(0.75 - 0.1))) / 3,
    ),
    ("rdpo", {"beta": 0.5, "alpha": 0.1}, nls(0.5 * 1 - 0.5 * -1 + 0.1 * 2 - 0.1 * 3)),
    ("simpo", {"beta": 2.0, "gamma": 0.5}, nls(2 * -4 / 2 - 2 * -6 / 3 - 0.5)),
    ("larpo_contrastive", {"beta": 0.5}, log(1 + exp(-0.5 - 0.5) + exp(0.75 - 0.5))),
    ("larpo_lambdarank", {"beta": 0.5}, nls(0.5 - 0.75) + nls(0.5 - -0.5) + nls(0.75 - -0.5)),
    ("larpo_listmle", {"beta": 0.5}, log(1 + exp(0.75 - 0.5) + exp(-0.5 - 0.5)) + log(1 + exp(-0.5 - 0.75))),
    ("larpo_hinge", {"beta": 0.5, "margin": 2.0}, 2 - (0.5 - -0.5)),
    ("larpo_listnet", {"beta": 0.5, "temperature": 1e-3}, log(1 + exp(-0.5 - 0.5) + exp(0.75 - 0.5))),
]


@pytest.mark.parametrize(("name", "parameters", "expected"), HAND)
def test_by_hand(name: str, parameters: dict[str, Any], expected: float) -> None:
    output = get_objective(name, **parameters)(POLICY, REWARDS, ref_logps=REFERENCE, lengths=LENGTHS)
    assert output.loss.shape == ()
    assert output.loss.item() == pytest.approx(expected, abs=1e-12)


def test_every_method_of_the_table_is_done_by_hand() -> None:
    generated = {f"larpo_{name}" for name in available_losses()}
    assert set(available_objectives()) - generated <= {name for name, *_ in HAND}
    assert generated <= set(available_objectives())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dpo", (nls(1 + 1) + nls(1.5 + 1)) / 2),
        ("cpo", (nls(-4 + 6) + nls(-3 + 6)) / 2 + (4 / 2 + 3 / 6) / 2),
        ("larpo_lambdarank", nls(1 + 1) + nls(1.5 + 1)),
        ("larpo_contrastive", (log(1 + exp(-1 - 1)) + log(1 + exp(-1 - 1.5))) / 2),
    ],
)
def test_by_hand_with_tied_winners(name: str, expected: float) -> None:
    output = get_objective(name, beta=1.0)(POLICY, TIED, ref_logps=REFERENCE, lengths=LENGTHS)
    assert output.loss.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("cpo", {"beta": 0.5}, nls(0.5 * 2) + 4),
        ("slic_hf", {"delta": 3.0, "sft_weight": 0.1}, (3 - 2) + 0.1 * 4),
    ],
)
def test_without_lengths_the_sft_term_is_a_sum_over_tokens(
    name: str, parameters: dict[str, Any], expected: float
) -> None:
    assert get_objective(name, **parameters)(POLICY, REWARDS).loss.item() == pytest.approx(
        expected, abs=1e-12
    )


def test_kto_zero_point_is_not_negative() -> None:
    policy = row(-6, -8, -7)  # log-ratios -1, -3, -2.5
    expected = ((1 - sigmoid(-1)) + (1 - sigmoid(3)) + (1 - sigmoid(2.5))) / 3
    output = get_objective("kto", beta=1.0)(policy, REWARDS, ref_logps=REFERENCE)
    assert output.loss.item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("dpo", {"beta": 0.5}, (0.5, -0.5, 0.75)),
        ("ipo", {}, (1, -1, 1.5)),
        ("ipo_per_token", {}, (1 / 2, -1 / 3, 1.5 / 6)),
        ("slic_hf", {}, (-4, -6, -3)),
        ("rrhf", {}, (-4 / 2, -6 / 3, -3 / 6)),
        ("cpo", {"beta": 0.5}, (-2, -3, -1.5)),
        ("rdpo", {"beta": 0.5, "alpha": 0.1}, (0.5 + 0.2, -0.5 + 0.3, 0.75 + 0.6)),
        ("simpo", {"beta": 2.0}, (-4, -4, -1)),
        ("larpo_listmle", {"beta": 0.5}, (0.5, -0.5, 0.75)),
    ],
)
def test_scores(name: str, parameters: dict[str, Any], expected: tuple[float, ...]) -> None:
    mask = torch.tensor([[True, True, False]])
    objective = get_objective(name, **parameters)
    whole = objective(POLICY, REWARDS, ref_logps=REFERENCE, lengths=LENGTHS).scores
    masked = objective(POLICY, REWARDS, mask, ref_logps=REFERENCE, lengths=LENGTHS).scores
    assert close(whole, row(*expected))
    assert close(masked, row(*expected[:2], 0))


def test_an_empty_response_counts_as_one_token() -> None:
    objective = get_objective("simpo")
    with_empty = objective(POLICY, REWARDS, lengths=row(2, 0, 6))
    assert torch.equal(with_empty.loss, objective(POLICY, REWARDS, lengths=row(2, 1, 6)).loss)


# 2. What all objectives keep


@st.composite
def batches(draw: st.DrawFn) -> dict[str, Tensor]:
    """Ragged lists, absent responses last; binary and graded rewards."""
    sizes = draw(st.lists(st.integers(0, 5), min_size=1, max_size=3))
    shape = (len(sizes), max([*sizes, 1]))

    def tensor(values: st.SearchStrategy[float]) -> Tensor:
        count = math.prod(shape)
        return torch.tensor(draw(st.lists(values, min_size=count, max_size=count)), dtype=DOUBLE).view(shape)

    logps = st.integers(-30_000, 0).map(lambda x: x / 100)
    return {
        "policy_logps": tensor(logps),
        "rewards": tensor(st.sampled_from(draw(st.sampled_from([[0.0, 1.0], [-1.5, 0.0, 0.25, 2.0]])))),
        "mask": torch.arange(shape[1]) < torch.tensor(sizes).unsqueeze(-1),
        "ref_logps": tensor(logps),
        "lengths": tensor(st.integers(0, 60).map(float)),
    }


def evaluate(objective: Objective, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Loss and its gradient with respect to the policy's log-probabilities."""
    leaf = batch["policy_logps"].clone().requires_grad_()
    loss = objective(**{**batch, "policy_logps": leaf}).loss
    loss.backward()
    assert leaf.grad is not None
    return loss.detach(), leaf.grad


def of_every_kind(name: str) -> Objective:
    """With KTO's zero point fixed: estimated, it makes the loss of a list depend on the others."""
    return get_objective(name, **({"zero_point": 0.3} if name == "kto" else {}))


properties = settings(max_examples=10, deadline=None, derandomize=True)


@every_objective
@given(batches())
@properties
def test_finite_on_ragged_lists(name: str, batch: dict[str, Tensor]) -> None:
    for dtype in (DOUBLE, torch.float32):
        cast = {key: value if value.dtype == torch.bool else value.to(dtype) for key, value in batch.items()}
        loss, gradient = evaluate(get_objective(name), cast)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()
        assert (gradient[~batch["mask"]] == 0).all()
        output = get_objective(name)(**cast)
        assert all(math.isfinite(value) for value in output.metrics.values())
        assert (output.scores[~batch["mask"]] == 0).all()


@every_objective
@given(batches(), st.sampled_from(GARBAGE))
@properties
def test_absent_responses_are_as_if_deleted(name: str, batch: dict[str, Tensor], garbage: float) -> None:
    objective = of_every_kind(name)
    filled = {
        key: value if key == "mask" else value.masked_fill(~batch["mask"], garbage)
        for key, value in batch.items()
    }
    loss, gradient = evaluate(objective, filled)
    assert (gradient[~batch["mask"]] == 0).all()
    total = torch.zeros((), dtype=DOUBLE)
    for i, present in enumerate(batch["mask"]):
        if present.any():
            one = {key: value[i : i + 1, present] for key, value in batch.items()}
            alone, alone_gradient = evaluate(objective, one)
            total = total + alone
            assert close(gradient[i, present] * len(batch["mask"]), alone_gradient[0])
    assert close(loss, total / len(batch["mask"]))


@every_objective
@given(batches(), st.randoms(use_true_random=False))
@properties
def test_order_of_the_list_does_not_matter(name: str, batch: dict[str, Tensor], random: Any) -> None:
    size = batch["mask"].shape[1]
    order = random.sample(range(size), size)
    output = get_objective(name)(**batch)
    permuted = get_objective(name)(**{key: value[:, order] for key, value in batch.items()})
    assert close(permuted.loss, output.loss)
    assert close(permuted.scores, output.scores[:, order])
    assert permuted.metrics == pytest.approx(output.metrics)


@every_objective
def test_nothing_to_learn(name: str) -> None:
    tied = {"policy_logps": POLICY, "rewards": row(1, 1, 1), "ref_logps": REFERENCE, "lengths": LENGTHS}
    loss, gradient = evaluate(get_objective(name), tied)
    assert loss == 0
    assert (gradient == 0).all()
    assert get_objective(name)(**tied).metrics == {}


def test_kto_zero_point_does_not_see_what_is_absent() -> None:
    """A list without responses, or padding, in the same batch leaves z0 as it was."""
    objective = get_objective("kto", beta=1.0)
    alone = objective(POLICY, REWARDS, ref_logps=REFERENCE).loss
    twice = {"policy_logps": POLICY, "rewards": REWARDS, "ref_logps": REFERENCE}
    twice = {key: value.repeat(2, 1) for key, value in twice.items()}
    absent = torch.tensor([[True] * 3, [False] * 3])
    assert objective(**twice, mask=absent).loss.item() * 2 == pytest.approx(alone.item())

    one_left = {key: torch.cat([value[:1], value[1:, :1].expand(1, 3)]) for key, value in twice.items()}
    padded = objective(**one_left, mask=torch.tensor([[True] * 3, [True, False, False]])).loss
    wider = {key: torch.cat([value, value[:, :1].expand(2, 4)], -1) for key, value in one_left.items()}
    mask = torch.tensor([[True] * 3 + [False] * 4, [True] + [False] * 6])
    assert objective(**wider, mask=mask).loss.item() == pytest.approx(padded.item())


@every_objective
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool])
def test_rewards_may_be_counts_or_verdicts(name: str, dtype: torch.dtype) -> None:
    given = {"ref_logps": REFERENCE, "lengths": LENGTHS.long()}
    rewards = torch.tensor([[1, 0, 0]])
    output = get_objective(name)(POLICY, rewards.to(dtype), **given)
    expected = get_objective(name)(POLICY, rewards.double(), **given)
    assert torch.equal(output.loss, expected.loss)
    assert output.metrics == expected.metrics


@every_objective
def test_half_precision_is_computed_in_single(name: str) -> None:
    """log π of a long response in bfloat16 steps by whole nats: a log-ratio must not be rounded once more."""
    policy = torch.tensor([[-410.0, -530.0, -300.0]], dtype=torch.bfloat16)
    given = {
        "ref_logps": torch.tensor([[-409.3, -531.1, -300.4]]),
        "lengths": torch.tensor([[300, 411, 257]]),
    }
    rewards = torch.tensor([[0.0, 1.0, 2.0]])
    actual, expected = (get_objective(name)(x, rewards, **given) for x in (policy, policy.float()))
    assert actual.loss.item() == pytest.approx(expected.loss.item(), rel=1e-5)
    assert close(actual.scores, expected.scores, 1e-5)


@every_objective
def test_gradcheck(name: str) -> None:
    generator = torch.Generator().manual_seed(5)
    policy = (-10 - 3 * torch.randn(2, 4, generator=generator, dtype=DOUBLE)).requires_grad_()
    reference = -10 - 3 * torch.randn(2, 4, generator=generator, dtype=DOUBLE)
    rewards = torch.tensor([[0.0, 2.0, 1.0, 9.0], [1.0, 0.0, 1.0, 0.0]], dtype=DOUBLE)
    mask = torch.tensor([[True, True, True, False], [True] * 4])
    objective, lengths = of_every_kind(name), torch.tensor([[3, 5, 4, 2], [7, 6, 2, 9]])
    assert torch.autograd.gradcheck(
        lambda x: objective(x, rewards, mask, ref_logps=reference, lengths=lengths).loss, (policy,)
    )


def test_on_pairs_dpo_is_every_larpo_objective() -> None:
    policy, reference = torch.randn(8, 2) * 5 - 20, torch.randn(8, 2) * 5 - 20
    rewards = torch.rand(8, 2)
    outputs = {
        name: get_objective(name, beta=0.3)(policy, rewards, ref_logps=reference)
        for name in ("dpo", "larpo_pairwise", "larpo_contrastive", "larpo_lambdarank", "larpo_listmle")
    }
    for name, output in outputs.items():
        assert output.loss.item() == pytest.approx(outputs["dpo"].loss.item(), abs=1e-6), name
        assert output.metrics == outputs["dpo"].metrics


# 3. Bad input


@every_objective
def test_what_an_objective_needs(name: str) -> None:
    objective = get_objective(name)
    assert objective.needs_reference == (name not in WITHOUT_REFERENCE)
    assert objective.needs_lengths == (name in WITH_LENGTHS)
    given = {"ref_logps": REFERENCE, "lengths": LENGTHS}
    for needed, missing in ((objective.needs_reference, "ref_logps"), (objective.needs_lengths, "lengths")):
        rest = {key: value for key, value in given.items() if key != missing}
        if needed:
            with pytest.raises(ValueError, match=missing) as caught:
                objective(POLICY, REWARDS, **rest)
            assert name in str(caught.value)
            assert "\n" not in str(caught.value)
        else:
            assert torch.isfinite(objective(POLICY, REWARDS, **rest).loss)


BAD_INPUT: dict[str, dict[str, Tensor]] = {
    "shape of rewards": {"rewards": REWARDS[:, :2]},
    "rewards must be finite": {"rewards": row(1, 0, math.nan)},
    "shape of mask": {"mask": torch.ones(1, 2, dtype=torch.bool)},
    "mask must be boolean, not float": {"mask": torch.ones(1, 3)},
    "mask must be boolean, not integer": {"mask": torch.ones(1, 3, dtype=torch.int64)},
    "shape of ref_logps": {"ref_logps": REFERENCE[:, :2]},
    "one ref_logps for all": {"ref_logps": REFERENCE[:, :1]},
    "shape of lengths": {"lengths": LENGTHS[:, :2]},
    "one length for all": {"lengths": LENGTHS[0, :1]},
}


@pytest.mark.parametrize("kind", BAD_INPUT)
def test_bad_input_gets_one_line(kind: str) -> None:
    good = {"policy_logps": POLICY, "rewards": REWARDS, "ref_logps": REFERENCE, "lengths": LENGTHS}
    with pytest.raises(ValueError, match=r"shape|boolean|finite") as caught:
        get_objective("rdpo")(**(good | BAD_INPUT[kind]))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("orpo", {}, "unknown objective 'orpo'; choose one of dpo, ipo"),
        ("simpo", {"margin": 1.0}, "objective 'simpo' has no parameter 'margin'; it has beta, gamma"),
        ("larpo_listmle", {"k": 1}, "has no parameter 'k'; it has beta, ties, seed"),
        ("larpo_hinge", {"reduction": "sum"}, "has no parameter 'reduction'; it has beta, margin"),
        ("dpo", {"beta": -1}, "beta must be positive, got -1"),
        ("dpo", {"beta": 0.0}, "beta must be positive, got 0.0"),
        ("larpo_kl", {"beta": math.nan}, "beta must be positive, got nan"),
        ("larpo_listmle", {"ties": "first"}, "choose one of random, strict"),
        ("larpo_listnet", {"temperature": 0.0}, "temperature must be positive"),
    ],
)
def test_bad_names_and_parameters_list_the_choices(
    name: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        get_objective(name, **parameters)
    assert "\n" not in str(caught.value)


def test_unknown_objective_lists_every_choice() -> None:
    with pytest.raises(ValueError, match="unknown objective") as caught:
        get_objective("DPO")
    assert all(name in str(caught.value) for name in available_objectives())


# 4. TRL's own code on the same tensors. Its trainers' loss functions are called on a stub of the trainer, with a
#    stub model that returns log-probabilities (or logits) of our choosing.

ACCELERATOR = SimpleNamespace(device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x)
PAIRS, TOKENS, PROMPT = 4, 9, 3


def token_batch(sequences: int, seed: int) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Token log-probabilities of policy and reference, 0 outside the responses, and a padded batch for them."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, TOKENS - PROMPT + 1, (sequences, 1), generator=generator)
    position = torch.arange(TOKENS)
    completion_mask = ((position >= PROMPT) & (position < PROMPT + lengths)).long()
    policy, reference = (
        -torch.rand(sequences, TOKENS - 1, generator=generator) * 4 * completion_mask[:, 1:] for _ in range(2)
    )
    return (
        policy,
        reference,
        {
            "input_ids": torch.ones(sequences, TOKENS, dtype=torch.int64),
            "attention_mask": (position < PROMPT + lengths).long(),
            "completion_mask": completion_mask,
        },
    )


def stub_model(token_logps: Tensor) -> Any:
    blank = torch.zeros(token_logps.shape)
    outputs = SimpleNamespace(log_probs=token_logps, entropy=blank, mean_logits=blank, is_top1=blank.bool())
    return lambda **_: outputs


def stub_trainer(**settings: Any) -> SimpleNamespace:
    return SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=ACCELERATOR,
        aux_loss_enabled=False,
        precompute_ref_logps=True,
        _metrics=defaultdict(partial(defaultdict, list)),
        _total_train_tokens=0,
        _tp_size=1,
        **settings,
    )


def in_lists(x: Tensor) -> Tensor:
    """TRL's [chosen, rejected] rows as lists of two, [batch, 2]."""
    return torch.stack(x.chunk(2), -1)


CHOSEN_FIRST = torch.tensor([[1.0, 0.0]]).expand(PAIRS, 2)


@pytest.mark.parametrize(
    ("loss_type", "name"), [("sigmoid", "dpo"), ("hinge", "larpo_hinge"), ("ipo", "ipo_per_token")]
)
@pytest.mark.parametrize("beta", [0.1, 0.7])
def test_agrees_with_trl_dpo(loss_type: str, name: str, beta: float) -> None:
    from trl import DPOTrainer

    policy, reference, inputs = token_batch(2 * PAIRS, seed=0)
    chosen, rejected = reference.sum(-1).chunk(2)
    trainer = stub_trainer(
        beta=beta,
        loss_types=[loss_type],
        loss_weights=[1.0],
        label_smoothing=0.0,
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        use_weighting=False,
    )
    theirs = policy.clone().requires_grad_()
    expected = DPOTrainer._compute_loss(
        trainer,
        stub_model(theirs),
        {**inputs, "ref_chosen_logps": chosen, "ref_rejected_logps": rejected},
        False,
    )
    expected.backward()

    ours = policy.clone().requires_grad_()
    output = get_objective(name, beta=beta)(
        in_lists(ours.sum(-1)),
        CHOSEN_FIRST,
        ref_logps=in_lists(reference.sum(-1)),
        lengths=in_lists(inputs["completion_mask"].sum(-1)),
    )
    output.loss.backward()
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert close(ours.grad, theirs.grad, 1e-5)
    if name == "dpo":
        logged = {key: value[0] for key, value in trainer._metrics["train"].items()}
        assert output.metrics["accuracy"] == pytest.approx(logged["rewards/accuracies"])
        assert output.metrics["margin"] == pytest.approx(logged["rewards/margins"], abs=1e-5)
        assert output.metrics["logps/best"] == pytest.approx(logged["logps/chosen"], abs=1e-5)
        assert output.metrics["logps/worst"] == pytest.approx(logged["logps/rejected"], abs=1e-5)


@pytest.mark.parametrize("kl", [1.7, -0.4])
def test_agrees_with_trl_kto(kl: float) -> None:
    """TRL estimates the KL from responses under other prompts: z0 = β max(0, KL), handed over as `zero_point`."""
    from trl import KTOTrainer

    lists, size, beta = 4, 3, 0.6
    policy, reference, inputs = token_batch(lists * size, seed=1)
    rewards = torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 0]])
    trainer = stub_trainer(
        beta=beta,
        loss_type="kto",
        calculate_KL=True,
        desirable_weight=1.5,
        undesirable_weight=0.8,
        _compute_kl_logps=lambda model, batch: torch.full((lists * size,), -3.0 + kl),
    )
    theirs = policy.clone().requires_grad_()
    expected = KTOTrainer._compute_loss(
        trainer,
        stub_model(theirs),
        {
            **inputs,
            "label": rewards.flatten().bool(),
            "ref_logps": reference.sum(-1),
            "ref_KL_logps": torch.full((lists * size,), -3.0),
        },
        False,
    )
    expected.backward()

    ours = policy.clone().requires_grad_()
    objective = get_objective(
        "kto", beta=beta, zero_point=beta * max(0.0, kl), desirable_weight=1.5, undesirable_weight=0.8
    )
    output = objective(ours.sum(-1).view(lists, size), rewards, ref_logps=reference.sum(-1).view(lists, size))
    output.loss.backward()
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert close(ours.grad, theirs.grad, 1e-5)


@pytest.mark.parametrize(
    ("loss_type", "cpo_alpha", "name", "parameters"),
    [
        ("sigmoid", 1.0, "cpo", {"beta": 0.3}),
        ("sigmoid", 0.0, "cpo", {"beta": 0.3, "sft_weight": 0.0}),
        ("sigmoid", 0.4, "cpo", {"beta": 0.3, "sft_weight": 0.4}),
        ("simpo", 0.0, "simpo", {"beta": 2.0, "gamma": 0.8}),
        ("hinge", 0.5, "slic_hf", {"delta": 1.0, "sft_weight": 0.5}),
    ],
)
@pytest.mark.filterwarnings("ignore:You are importing from 'trl.experimental'")
def test_agrees_with_trl_cpo(loss_type: str, cpo_alpha: float, name: str, parameters: dict[str, Any]) -> None:
    """From logits, through TRL's own log-probabilities and likelihood term.

    Chosen responses have equal lengths here: TRL averages the likelihood over the batch's tokens, we average over
    each response's tokens, then over lists. SLiC-HF is TRL's hinge at β = 1.
    """
    from trl.experimental.cpo.cpo_trainer import CPOTrainer

    generator = torch.Generator().manual_seed(2)
    vocabulary, lengths = 11, torch.tensor([[5] * PAIRS, [2, 6, 4, 3]]).T
    logits = torch.randn(2 * PAIRS, TOKENS, vocabulary, generator=generator)
    ids = torch.randint(0, vocabulary, (2 * PAIRS, TOKENS), generator=generator)
    position, ends = torch.arange(TOKENS), PROMPT + lengths.T.reshape(-1, 1)
    labels = ids.masked_fill((position < PROMPT) | (position >= ends), -100)
    batch = {}
    for part, rows in (("chosen", slice(PAIRS)), ("rejected", slice(PAIRS, None))):
        batch[f"{part}_input_ids"], batch[f"{part}_labels"] = ids[rows], labels[rows]
        batch[f"{part}_attention_mask"] = (position < ends[rows]).long()
    trainer = stub_trainer(
        beta=parameters.get("beta", 1.0),
        loss_type=loss_type,
        cpo_alpha=cpo_alpha,
        simpo_gamma=parameters.get("gamma"),
        alpha=0.0,
        label_smoothing=0.0,
        is_encoder_decoder=False,
        pad_token_id=0,
        concatenated_inputs=CPOTrainer.concatenated_inputs,
        get_batch_logps=CPOTrainer.get_batch_logps,
    )
    trainer.concatenated_forward = partial(CPOTrainer.concatenated_forward, trainer)
    trainer.cpo_loss = partial(CPOTrainer.cpo_loss, trainer)
    theirs = logits.clone().requires_grad_()
    expected, _ = CPOTrainer.get_batch_loss_metrics(
        trainer, lambda *_, **__: SimpleNamespace(logits=theirs), batch
    )
    expected.backward()

    ours = logits.clone().requires_grad_()
    tokens = ours[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    logps = tokens.masked_fill(labels[:, 1:] == -100, 0.0).sum(-1)
    output = get_objective(name, **parameters)(in_lists(logps), CHOSEN_FIRST, lengths=lengths)
    output.loss.backward()
    assert output.loss.item() == pytest.approx(expected.item(), abs=1e-5)
    assert close(ours.grad, theirs.grad, 1e-5)


# 5. Metrics


def test_metrics_by_hand() -> None:
    policy = torch.tensor([[-4.0, -4.0, -6.0, math.nan], [-7.0, -3.0, math.nan, math.nan]])
    reference = torch.tensor([[-5.0, -5.0, -5.0, math.nan], [-6.0, -5.0, math.nan, math.nan]])
    rewards = torch.tensor([[2.0, 1.0, 0.0, math.nan], [1.0, 0.0, math.nan, math.nan]])
    mask = torch.tensor([[True, True, True, False], [True, True, False, False]])
    metrics = get_objective("dpo", beta=0.5)(policy, rewards, mask, ref_logps=reference).metrics
    # implicit rewards: 0.5, 0.5, -0.5 (gains 2, 1, 0; the first two share ranks 1 and 2) and -0.5, 1 (gains 1, 0)
    shared = (1 + 1 / log2(3)) / 2
    assert metrics == pytest.approx(
        {
            "accuracy": ((1 / 2 + 1 + 1) / 3 + 0) / 2,
            "margin": ((0.5 - -0.5) + (-0.5 - 1)) / 2,
            "ndcg": ((2 * shared + 1 * shared) / (2 + 1 / log2(3)) + (1 / log2(3)) / 1) / 2,
            "logps/best": (-4 + -7) / 2,
            "logps/worst": (-6 + -3) / 2,
            "kl": ((-1 + -1 + 1) / 3 + (1 + -2) / 2) / 2,
        }
    )
    assert all(type(value) is float for value in metrics.values())


def test_metrics_with_tied_winners_and_a_list_with_nothing_to_rank() -> None:
    policy, reference = torch.tensor([[-1.0, -3.0, -2.0], [-9.0, -9.0, -9.0]]), torch.zeros(2, 3)
    rewards = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    metrics = get_objective("dpo", beta=1.0)(policy, rewards, ref_logps=reference).metrics
    assert metrics["accuracy"] == pytest.approx((1 + 0) / 2)
    assert metrics["margin"] == pytest.approx((-1 + -3) / 2 - -2)
    assert metrics["logps/best"] == pytest.approx((-1 + -3) / 2)
    assert metrics["logps/worst"] == pytest.approx(-2)
    assert metrics["kl"] == pytest.approx((1 + 3 + 2) / 3)


def test_kl_needs_a_reference() -> None:
    assert "kl" not in get_objective("simpo")(POLICY, REWARDS, lengths=LENGTHS).metrics
    assert "kl" in get_objective("simpo")(POLICY, REWARDS, lengths=LENGTHS, ref_logps=REFERENCE).metrics


def true_ndcg(scores: list[float], rewards: list[float]) -> float:
    qrels = {"q": {str(i): int(reward) for i, reward in enumerate(rewards)}}
    run = {"q": {str(i): float(score) for i, score in enumerate(scores)}}
    return float(ir_measures.calc_aggregate([ir_measures.nDCG], qrels, run)[ir_measures.nDCG])


def ndcg_metric(scores: list[float], rewards: list[float]) -> float:
    scores_, rewards_ = row(*scores, math.nan), row(*rewards, math.nan)
    mask = torch.tensor([[True] * len(scores) + [False]])
    return ranking_metrics(scores_.nan_to_num(), rewards_, mask, scores_, None)["ndcg"]


def test_ndcg_agrees_with_ir_measures() -> None:
    generator = torch.Generator().manual_seed(4)
    for _ in range(10):
        scores = torch.randperm(6, generator=generator).tolist()
        rewards = torch.randint(0, 4, (6,), generator=generator).tolist()
        if len(set(rewards)) > 1:
            assert ndcg_metric(scores, rewards) == pytest.approx(true_ndcg(scores, rewards), abs=1e-6)


@pytest.mark.parametrize("scores", [[0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 1, 0], [2, 0, 0, 1]])
def test_ndcg_of_tied_scores_is_the_mean_over_the_orders_they_allow(scores: list[float]) -> None:
    rewards = [3.0, 0.0, 1.0, 1.0]
    broken = [
        [score * 10 + tie for score, tie in zip(scores, order, strict=True)]
        for order in itertools.permutations(range(4))
    ]
    expected = sum(true_ndcg(order, rewards) for order in broken) / len(broken)
    assert ndcg_metric(scores, rewards) == pytest.approx(expected, abs=1e-6)


def test_ndcg_of_negative_rewards_starts_from_the_lowest() -> None:
    assert ndcg_metric([3, 1, 2], [-5, -3, -4]) == pytest.approx(ndcg_metric([3, 1, 2], [0, 2, 1]))


# 6. The page


@every_objective
def test_every_objective_is_on_the_page(name: str) -> None:
    page = PAGE.read_text(encoding="utf-8").replace("\\|", "|")
    if name in {f"larpo_{loss}" for loss in available_losses()}:
        assert f"`{name}`" in page or "`larpo_<loss>`" in page
    else:
        assert f"`{name}`" in page
    assert METHODS[name].score.formula in page
