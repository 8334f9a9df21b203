"""Ranking losses: by hand, by the contracts all of them keep, by what reduces to what, and beside their peers."""

from __future__ import annotations

import doctest
import itertools
import math
from collections import Counter
from dataclasses import dataclass
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

from larpo_ir.losses import LOSSES, PairLoss, RankingLoss, available_losses, get_loss, register

DOUBLE = torch.float64
PAGE = Path(__file__).parent.parent / "docs" / "losses.md"
GARBAGE = [math.nan, math.inf, -math.inf, 1e30, -1e30]

# Every registered loss as it comes, and again with the parameters that change its formula.
VARIANTS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in available_losses()] + [
    ("pairwise", {"margin": 0.5}),
    ("plackett_luce", {"k": 1}),
    ("plackett_luce", {"k": 2}),
    ("plackett_luce", {"k": 2, "ties": "strict"}),
    ("listmle", {"ties": "strict"}),
    ("rank_hinge", {"margin": 0.7}),
    ("lambda_ndcg", {"k": 2}),
    ("listnet", {"temperature": 0.5}),
    ("kl", {"temperature": 2.0}),
    ("approx_ndcg", {"temperature": 1.0}),
]
every_loss = pytest.mark.parametrize(
    ("name", "parameters"),
    VARIANTS,
    ids=["-".join([n, *(f"{k}={v}" for k, v in p.items())]) for n, p in VARIANTS],
)
properties = settings(max_examples=12, deadline=None, derandomize=True)


def nls(x: float) -> float:
    """-log σ(x)."""
    return log(1 + exp(-x))


def sigmoid(x: float) -> float:
    return 1 / (1 + exp(-x))


def loss_and_gradient(
    loss: RankingLoss, scores: Any, relevance: Any, mask: Any = None, dtype: torch.dtype = DOUBLE
) -> tuple[Tensor, Tensor]:
    scores = torch.as_tensor(scores, dtype=dtype).clone().requires_grad_()
    relevance = relevance if isinstance(relevance, Tensor) else torch.tensor(relevance, dtype=dtype)
    mask = None if mask is None else torch.as_tensor(mask)
    value = loss(scores, relevance, mask)
    value.sum().backward()
    assert scores.grad is not None
    return value.detach(), scores.grad


def close(actual: Tensor, expected: Any, tolerance: float = 1e-9) -> bool:
    return torch.allclose(actual.double(), torch.as_tensor(expected).double(), rtol=tolerance, atol=tolerance)


@st.composite
def ranked_lists(
    draw: st.DrawFn, smallest: int = 2, largest: int = 6, distinct: bool = False
) -> tuple[list[float], list[float]]:
    """Distinct scores on a grid of 0.01 and relevance of three kinds, binary, graded and real; ties abound
    unless `distinct`."""
    size = draw(st.integers(smallest, largest))
    scores = [
        x / 100 for x in draw(st.lists(st.integers(-500, 500), min_size=size, max_size=size, unique=True))
    ]
    if distinct:
        return scores, [x / 4 for x in draw(st.permutations(range(size)))]
    grades = draw(st.sampled_from([[0.0, 1.0], [0.0, 1.0, 2.0, 3.0], [-1.25, -0.5, 0.0, 0.75, 2.5]]))
    return scores, draw(st.lists(st.sampled_from(grades), min_size=size, max_size=size))


# 1. By hand

A = ([2.0, 0.0, 1.0], [3.0, 1.0, 2.0])  # in the right order already: w, l, between
INVERTED = ([2.0, 0.0, 1.0], [0.0, 1.0, 2.0])
TIED_BEST = ([1.0, 3.0, 0.0], [1.0, 1.0, 0.0])
TIED_WORST = ([3.0, 1.0, 0.0], [1.0, 0.0, 0.0])
EVEN = ([0.0, 0.0], [1.0, 0.0])  # tied in score
BELOW_ZERO = ([0.0, 1.0], [-2.0, -1.0])
D2, D3 = 1 / log2(3), 1 / 2  # discounts of ranks 2 and 3; rank 1 has 1
IDEAL = 3 + 1 * D2  # INVERTED: gains 2^2-1 and 2^1-1
P = exp(1) / (exp(1) + 1)  # softmax of relevance (1, 0)
Q = exp(2) / (exp(2) + 1)  # softmax of relevance (2, 0), or of (1, 0) / 0.5


BY_HAND: list[tuple[str, dict[str, Any], tuple[list, list], float]] = [
    ("pairwise", {}, A, nls(2 - 0)),
    ("pairwise", {"margin": 0.5}, A, nls(2 - 0 - 0.5)),
    ("pairwise", {}, INVERTED, nls(1 - 2)),
    ("pairwise", {}, TIED_BEST, (nls(1 - 0) + nls(3 - 0)) / 2),
    ("pairwise", {}, TIED_WORST, (nls(3 - 1) + nls(3 - 0)) / 2),
    ("contrastive", {}, A, log(1 + exp(0 - 2) + exp(1 - 2))),
    ("contrastive", {}, INVERTED, log(1 + exp(2 - 1) + exp(0 - 1))),
    ("contrastive", {}, TIED_BEST, (log(1 + exp(0 - 1)) + log(1 + exp(0 - 3))) / 2),
    ("contrastive", {}, TIED_WORST, log(1 + exp(1 - 3) + exp(0 - 3))),
    ("lambdarank", {}, A, nls(2 - 0) + nls(2 - 1) + nls(1 - 0)),
    ("lambdarank", {}, INVERTED, nls(1 - 2) + nls(1 - 0) + nls(0 - 2)),
    ("lambdarank", {}, TIED_BEST, nls(1 - 0) + nls(3 - 0)),
    ("listmle", {}, A, log(1 + exp(1 - 2) + exp(0 - 2)) + log(1 + exp(0 - 1))),
    ("listmle", {}, INVERTED, log(1 + exp(2 - 1) + exp(0 - 1)) + log(1 + exp(2 - 0))),
    ("listmle", {"ties": "strict"}, TIED_BEST, log(1 + exp(0 - 1)) + log(1 + exp(0 - 3))),
    ("listmle", {"ties": "strict"}, TIED_WORST, log(1 + exp(1 - 3) + exp(0 - 3))),
    ("plackett_luce", {}, A, log(1 + exp(1 - 2) + exp(0 - 2)) + log(1 + exp(0 - 1))),
    ("plackett_luce", {"k": 1}, A, log(1 + exp(1 - 2) + exp(0 - 2))),
    ("plackett_luce", {"k": 2}, A, log(1 + exp(1 - 2) + exp(0 - 2)) + log(1 + exp(0 - 1))),
    ("plackett_luce", {"k": 1, "ties": "strict"}, TIED_BEST, log(1 + exp(0 - 1)) + log(1 + exp(0 - 3))),
    ("hinge", {}, A, 0),
    ("hinge", {"margin": 3.0}, A, 3 - (2 - 0)),
    ("hinge", {}, INVERTED, 1 - (1 - 2)),
    ("hinge", {"margin": 2.0}, TIED_BEST, ((2 - 1) + 0) / 2),
    ("squared", {}, A, (2 - 0 - 0.5) ** 2),
    ("squared", {"target": 3.0}, A, (2 - 0 - 3) ** 2),
    ("squared", {}, TIED_WORST, ((3 - 1 - 0.5) ** 2 + (3 - 0 - 0.5) ** 2) / 2),
    ("rank_hinge", {}, A, 0),
    ("rank_hinge", {}, INVERTED, (2 - 1) + (2 - 0)),
    ("rank_hinge", {"margin": 1.5}, A, 0 + (1.5 - 1) + (1.5 - 1)),
    ("rank_hinge", {"margin": 2.0}, TIED_BEST, (2 - 1) + 0),
    # Ranks in INVERTED: the irrelevant item 1, the best 2, the middle 3.
    (
        "lambda_ndcg",
        {},
        INVERTED,
        (3 * (1 - D2) * nls(1 - 2) + (3 - 1) * (D2 - D3) * nls(1 - 0) + 1 * (1 - D3) * nls(0 - 2)) / IDEAL,
    ),
    ("lambda_ndcg", {"k": 1}, INVERTED, (3 * 1 * nls(1 - 2) + (3 - 1) * 0 + 1 * 1 * nls(0 - 2)) / 3),
    ("lambda_ndcg", {}, TIED_BEST, ((D2 - D3) * nls(1) + (1 - D3) * nls(3)) / (1 + D2)),
    ("lambda_ndcg", {}, EVEN, (1 - D2) * nls(0)),
    # Tied scores: the worst order, the irrelevant item 1, the middle 2, the best 3.
    (
        "lambda_ndcg",
        {},
        ([0.0, 0.0, 0.0], [2.0, 1.0, 0.0]),
        (3 * (1 - D3) + (3 - 1) * (D2 - D3) + 1 * (1 - D2)) * nls(0) / IDEAL,
    ),
    ("lambda_ndcg", {}, BELOW_ZERO, (1 - D2) * nls(1)),
    ("listnet", {}, ([2.0, 0.0], [1.0, 0.0]), P * nls(2) + (1 - P) * nls(-2)),
    ("listnet", {"temperature": 0.5}, ([2.0, 0.0], [1.0, 0.0]), Q * nls(2) + (1 - Q) * nls(-2)),
    ("kl", {}, ([2.0, 0.0], [1.0, 0.0]), P * log(P / Q) + (1 - P) * log((1 - P) / (1 - Q))),
    ("kl", {"temperature": 0.5}, ([2.0, 0.0], [1.0, 0.0]), 0),
    ("approx_ndcg", {}, ([0.1, 0.0], [0.0, 1.0]), 1 - 1 / log2(1 + 1 + sigmoid((0.1 - 0) / 0.1))),
    ("approx_ndcg", {"temperature": 1.0}, EVEN, 1 - 1 / log2(1 + 1.5)),
    (
        "approx_ndcg",
        {"temperature": 1.0},
        ([1.0, 0.0], [1.0, 2.0]),
        1 - (1 / log2(2 + sigmoid(-1)) + 3 / log2(2 + sigmoid(1))) / IDEAL,
    ),
    ("approx_ndcg", {"temperature": 1.0}, BELOW_ZERO, 1 - 1 / log2(1 + 1 + sigmoid(-1))),
    ("margin_mse", {}, A, 0),
    ("margin_mse", {}, INVERTED, ((1 - 2) - 2) ** 2 + ((1 - 0) - 1) ** 2 + ((0 - 2) - 1) ** 2),
    ("margin_mse", {}, TIED_BEST, ((1 - 0) - 1) ** 2 + ((3 - 0) - 1) ** 2),
]


@pytest.mark.parametrize(("name", "parameters", "example", "expected"), BY_HAND)
def test_by_hand(name: str, parameters: dict[str, Any], example: tuple[list, list], expected: float) -> None:
    scores, relevance = (torch.tensor([x], dtype=DOUBLE) for x in example)
    assert get_loss(name, **parameters)(scores, relevance).item() == pytest.approx(expected, abs=1e-12)


def test_every_loss_is_in_the_table_above() -> None:
    assert {name for name, *_ in BY_HAND} == set(available_losses())


def test_a_loss_that_cannot_be_registered_is_one_line() -> None:
    class NoDataclass(PairLoss):
        formula = source = "x"

    @dataclass(frozen=True)
    class NoSource(PairLoss):
        formula = "x"

    for name, cls, message in (
        ("pairwise", NoSource, "there is a loss 'pairwise' already, PairwiseLogistic; choose another name"),
        ("new", NoDataclass, r"NoDataclass is no dataclass; put @register above @dataclass\(frozen=True\)"),
        ("new", NoSource, "NoSource has no source; set each as a class attribute"),
    ):
        with pytest.raises(ValueError, match=message):
            register(name)(cls)
    assert "new" not in available_losses()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("pairwise", nls(2 - 0)),
        ("contrastive", log(1 + exp(0 - 2))),
        ("lambdarank", nls(2 - 0)),
        ("listmle", nls(2 - 0)),
        ("hinge", 0),
        ("squared", (2 - 0 - 0.5) ** 2),
        ("lambda_ndcg", (1 - D2) * nls(2 - 0)),
        ("margin_mse", (2 - 3) ** 2),
    ],
)
def test_by_hand_with_a_masked_item(name: str, expected: float) -> None:
    scores, relevance = torch.tensor([[math.nan, 2.0, 0.0]]), torch.tensor([[9.0, 3.0, 0.0]])
    mask = torch.tensor([[False, True, True]])
    assert get_loss(name)(scores, relevance, mask).item() == pytest.approx(expected, abs=1e-6)


# 2. What all losses keep


@every_loss
@given(
    ranked_lists(),
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from(GARBAGE), st.sampled_from(GARBAGE)), max_size=3),
)
@properties
def test_masking_is_deleting(
    name: str,
    parameters: dict[str, Any],
    example: tuple[list[float], list[float]],
    intruders: list[tuple[int, float, float]],
) -> None:
    loss, (scores, relevance) = get_loss(name, **parameters), example
    items = [(s, r, True) for s, r in zip(scores, relevance, strict=True)]
    for at, bad_score, bad_relevance in intruders:
        items.insert(min(at, len(items)), (bad_score, bad_relevance, False))
    padded_scores, padded_relevance, mask = (list(x) for x in zip(*items, strict=True))
    value, gradient = loss_and_gradient(loss, [scores], [relevance])
    padded_value, padded_gradient = loss_and_gradient(loss, [padded_scores], [padded_relevance], [mask])
    assert close(padded_value, value)
    assert close(padded_gradient[torch.tensor([mask])], gradient[0])
    assert (padded_gradient[~torch.tensor([mask])] == 0).all()


NOTHING_TO_LEARN = {
    "all masked": (GARBAGE[:3], GARBAGE[:3], [False, False, False]),
    "one item": ([3.0], [1.0], None),
    "one item left": ([math.nan, 3.0, math.inf], [math.nan, 1.0, 0.0], [False, True, False]),
    "all tied": ([1.0, -5.0, 2.0], [0.5, 0.5, 0.5], None),
    "all tied at zero": ([1.0, -5.0, 2.0], [0.0, 0.0, 0.0], None),
    "tied but for a masked item": ([1.0, 2.0, 3.0], [1.0, 1.0, 0.0], [True, True, False]),
}


@every_loss
def test_nothing_to_learn_is_exactly_zero(name: str, parameters: dict[str, Any]) -> None:
    for kind, (scores, relevance, mask) in NOTHING_TO_LEARN.items():
        for reduction in ("mean", "sum", "none"):
            loss = get_loss(name, reduction=reduction, **parameters)
            value, gradient = loss_and_gradient(
                loss, [scores], [relevance], None if mask is None else [mask], torch.float32
            )
            assert (value == 0).all(), kind
            assert (gradient == 0).all(), kind


@every_loss
@given(ranked_lists(), st.randoms(use_true_random=False))
@properties
def test_permutation_of_a_list(
    name: str, parameters: dict[str, Any], example: tuple[list[float], list[float]], random: Any
) -> None:
    loss, (scores, relevance) = get_loss(name, **parameters), example
    order = random.sample(range(len(scores)), len(scores))
    value, gradient = loss_and_gradient(loss, [scores], [relevance])
    permuted_value, permuted_gradient = loss_and_gradient(
        loss, [[scores[i] for i in order]], [[relevance[i] for i in order]]
    )
    assert close(permuted_value, value)
    assert close(permuted_gradient[0], gradient[0, order])


@every_loss
@pytest.mark.parametrize("scores", [[0.0, 0.0, 0.0, 0.0], [0.3, 0.3, -0.4, -0.4]])
def test_items_alike_in_score_and_relevance_have_one_gradient(
    name: str, parameters: dict[str, Any], scores: list[float]
) -> None:
    """Such as two right responses under a policy that has not moved: exchanging them changes nothing, so the
    order of the input must not tell them apart."""
    value, gradient = loss_and_gradient(get_loss(name, **parameters), [scores], [[1.0, 1.0, 0.0, 0.0]])
    assert math.isfinite(value)
    assert close(gradient[0, 0], gradient[0, 1])
    assert close(gradient[0, 2], gradient[0, 3])


@every_loss
@given(ranked_lists(), st.sampled_from([-40.0, -1.5, 0.25, 1000.0]))
@properties
def test_adding_a_constant_to_the_scores(
    name: str, parameters: dict[str, Any], example: tuple[list[float], list[float]], constant: float
) -> None:
    loss, (scores, relevance) = get_loss(name, **parameters), example
    value, gradient = loss_and_gradient(loss, [scores], [relevance])
    shifted_value, shifted_gradient = loss_and_gradient(loss, [[s + constant for s in scores]], [relevance])
    assert close(shifted_value, value, 1e-7)
    assert close(shifted_gradient, gradient, 1e-7)
    assert gradient.sum().item() == pytest.approx(0, abs=1e-9 * (1 + gradient.abs().sum().item()))


@every_loss
def test_reductions_agree_and_bad_lists_leave_good_ones_alone(name: str, parameters: dict[str, Any]) -> None:
    good = [([0.3, -1.2, 0.9, 2.0], [0.0, 1.0, 2.0, 1.0]), ([-0.7, 0.1, 1.3, 0.4], [1.0, 0.0, 0.0, 0.0])]
    alone = [loss_and_gradient(get_loss(name, **parameters), [s], [r]) for s, r in good]
    scores = torch.tensor([good[0][0], GARBAGE[:4], [1.0, 2.0, 3.0, math.nan], good[1][0]], dtype=DOUBLE)
    relevance = torch.tensor([good[0][1], GARBAGE[:4], [1.0, 1.0, 1.0, 7.0], good[1][1]], dtype=DOUBLE)
    mask = torch.tensor([[True] * 4, [False] * 4, [True] * 3 + [False], [True] * 4])
    each, gradient = loss_and_gradient(
        get_loss(name, reduction="none", **parameters), scores, relevance, mask
    )
    total, _ = loss_and_gradient(get_loss(name, reduction="sum", **parameters), scores, relevance, mask)
    mean, mean_gradient = loss_and_gradient(get_loss(name, **parameters), scores, relevance, mask)
    assert each.shape == (4,)
    assert total.shape == mean.shape == ()
    assert close(each, [alone[0][0], 0.0, 0.0, alone[1][0]])
    assert close(gradient[[0, 3]], torch.cat([alone[0][1], alone[1][1]]))
    assert (gradient[[1, 2]] == 0).all()
    assert close(total, each.sum())
    assert close(mean, each.sum() / 4)
    assert close(mean_gradient, gradient / 4)


@every_loss
def test_leading_dimensions(name: str, parameters: dict[str, Any]) -> None:
    torch.manual_seed(0)
    scores, relevance = torch.randn(2, 3, 4), torch.randint(0, 3, (2, 3, 4)).float()
    each = get_loss(name, reduction="none", **parameters)
    assert each(scores, relevance).shape == (2, 3)
    assert close(each(scores, relevance)[1, 2], each(scores[1, 2], relevance[1, 2]), 1e-6)


@every_loss
@pytest.mark.parametrize(
    "relevance",
    [[[2.5, 0.0, 1.0, -1.0], [0.0, 3.0, 1.0, 2.0]], [[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]]],
    ids=["graded", "binary"],
)
@pytest.mark.parametrize("padding", [0, 1])
def test_gradcheck(name: str, parameters: dict[str, Any], relevance: list, padding: int) -> None:
    generator = torch.Generator().manual_seed(7)
    scores = torch.randn(2, 4, generator=generator, dtype=DOUBLE).requires_grad_()
    labels = torch.tensor(relevance, dtype=DOUBLE)
    mask = torch.ones(2, 4, dtype=torch.bool)
    mask[:, 4 - padding :] = False
    loss = get_loss(name, reduction="none", **parameters)
    assert torch.autograd.gradcheck(lambda s: loss(s, labels, mask), (scores,))


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_single(
    name: str, parameters: dict[str, Any], dtype: torch.dtype
) -> None:
    loss = get_loss(name, **parameters)
    scores = torch.tensor([[7.3, -2.1, 0.4], [100.0, -30.0, 5.0]], dtype=dtype)
    relevance = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 1.0]])
    value, gradient = loss_and_gradient(loss, scores, relevance, dtype=dtype)
    single_value, single_gradient = loss_and_gradient(loss, scores.float(), relevance, dtype=torch.float32)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    assert torch.equal(value, single_value)
    assert torch.equal(gradient, single_gradient.to(dtype))
    assert torch.equal(loss_and_gradient(loss, scores, relevance.to(dtype), dtype=dtype)[0], single_value)


@every_loss
def test_extreme_scores_and_relevance_stay_finite(name: str, parameters: dict[str, Any]) -> None:
    scores = [[1e4, -1e4, 0.0], [-1e4, 1e4, 1e4], [0.0, 0.0, 0.0], [-0.5, 0.1, 0.2]]
    relevance = [[0.0, 1.0, 2.0], [1.0, 0.0, 0.0], [1e3, -1e3, 0.0], [-1e3, -2e3, -1e3], [1e3, 0.0, 999.0]]
    both = [*itertools.product(scores, relevance)]
    loss = get_loss(name, reduction="none", **parameters)
    value, gradient = loss_and_gradient(loss, [s for s, _ in both], [r for _, r in both], dtype=torch.float32)
    assert torch.isfinite(value).all()
    assert torch.isfinite(gradient).all()


@every_loss
def test_dtype_of_relevance(name: str, parameters: dict[str, Any]) -> None:
    loss, scores = get_loss(name, **parameters), torch.tensor([[0.3, -1.2, 0.9, 2.0]])
    relevance, mask = torch.tensor([[0, -1, 2, 1]]), torch.tensor([[True, True, True, False]])
    expected = loss_and_gradient(loss, scores, relevance.float(), mask, torch.float32)
    for dtype in (torch.int64, torch.int32, torch.float64, torch.float16):
        actual = loss_and_gradient(loss, scores, relevance.to(dtype), mask, torch.float32)
        assert close(actual[0], expected[0], 1e-6)
        assert close(actual[1], expected[1], 1e-6)


@every_loss
def test_boolean_relevance(name: str, parameters: dict[str, Any]) -> None:
    scores, right = torch.tensor([[0.3, -1.2, 0.9]]), torch.tensor([[True, False, False]])
    loss = get_loss(name, **parameters)
    assert torch.equal(loss(scores, right), loss(scores, right.float()))


PULLS_THE_BEST_UP = [
    "pairwise",
    "contrastive",
    "lambdarank",
    "listmle",
    "plackett_luce",
    "hinge",
    "rank_hinge",
]


@pytest.mark.parametrize("name", PULLS_THE_BEST_UP)
@given(ranked_lists(distinct=True), st.floats(0.01, 5))
@properties
def test_raising_the_best_item_never_raises_the_loss(
    name: str, example: tuple[list[float], list[float]], step: float
) -> None:
    scores, relevance = example
    best = relevance.index(max(relevance))
    raised = [s + step * (i == best) for i, s in enumerate(scores)]
    before, _ = loss_and_gradient(get_loss(name), [scores], [relevance])
    after, _ = loss_and_gradient(get_loss(name), [raised], [relevance])
    assert after <= before + 1e-12


@pytest.mark.parametrize("name", [*PULLS_THE_BEST_UP, "lambda_ndcg"])
@given(ranked_lists(distinct=True))
@properties
def test_gradient_lifts_the_best_and_sinks_the_worst(
    name: str, example: tuple[list[float], list[float]]
) -> None:
    scores, relevance = example
    _, gradient = loss_and_gradient(get_loss(name), [scores], [relevance])
    assert gradient[0, relevance.index(max(relevance))] <= 0
    assert gradient[0, relevance.index(min(relevance))] >= 0


# 3. Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(2, 3), torch.zeros(2, 2)), r"one shape \[batch, list\]; got \[2, 3\], \[2, 2\]"),
        ((torch.zeros(2, 3), torch.zeros(3)), "one shape"),
        ((torch.tensor(1.0), torch.tensor(1.0)), "one shape"),
        ((torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 2, dtype=torch.bool)), "one shape"),
        ((torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2)), "mask must be boolean"),
        ((torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.int64)), "mask must be boolean"),
        ((torch.zeros(1, 2), torch.tensor([[math.nan, 1.0]])), "relevance must be finite"),
        ((torch.zeros(1, 2), torch.tensor([[math.inf, 1.0]])), "relevance must be finite"),
    ],
)
def test_bad_input_gets_one_line(arguments: tuple[Tensor, ...], message: str) -> None:
    for name in available_losses():
        with pytest.raises(ValueError, match=message) as caught:
            get_loss(name)(*arguments)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("dpo", {}, "unknown loss 'dpo'; choose one of pairwise, contrastive"),
        ("hinge", {"beta": 1.0}, "loss 'hinge' has no parameter 'beta'; it has reduction, margin"),
        ("listmle", {"k": 2}, "loss 'listmle' has no parameter 'k'; it has reduction, ties, seed"),
        ("pairwise", {"reduction": "median"}, "unknown reduction 'median'; choose one of mean, sum, none"),
        ("listmle", {"ties": "first"}, "unknown ties 'first'; choose one of random, strict"),
        ("plackett_luce", {"k": 0}, "k must be at least 1, got 0"),
        ("lambda_ndcg", {"k": 0}, "k must be at least 1, got 0"),
        ("listnet", {"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ("kl", {"temperature": -1.0}, "temperature must be positive"),
        ("approx_ndcg", {"temperature": math.nan}, "temperature must be positive"),
        (get_loss("hinge"), {"beta": 1.0}, "has no parameter 'beta'"),
    ],
)
def test_bad_names_and_parameters_list_the_choices(
    name: Any, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        get_loss(name, **parameters)
    assert "\n" not in str(caught.value)


def test_unknown_loss_lists_every_choice() -> None:
    with pytest.raises(ValueError, match="unknown loss") as caught:
        get_loss("ndcg")
    assert all(name in str(caught.value) for name in available_losses())


def test_get_loss_takes_a_loss() -> None:
    loss = get_loss("hinge", margin=2.0)
    assert get_loss(loss) == loss
    assert get_loss(loss, reduction="sum") == get_loss("hinge", margin=2.0, reduction="sum")


# 4. What reduces to what


def random_batch(list_size: int, *, ties: bool = False, batch: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(list_size)
    scores = torch.randn(batch, list_size, generator=generator, dtype=DOUBLE)
    if ties:
        return scores, torch.randint(0, 2, (batch, list_size), generator=generator).double()
    return scores, torch.rand(batch, list_size, generator=generator, dtype=DOUBLE).argsort(-1).double()


def values(name: str, scores: Tensor, relevance: Tensor, **parameters: Any) -> Tensor:
    return get_loss(name, reduction="none", **parameters)(scores, relevance)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("contrastive", {}),
        ("lambdarank", {}),
        ("listmle", {}),
        ("listmle", {"ties": "strict"}),
        ("plackett_luce", {"k": 1}),
        ("plackett_luce", {"k": 2}),
    ],
)
def test_on_pairs_all_are_the_logistic_loss(name: str, parameters: dict[str, Any]) -> None:
    scores, relevance = random_batch(2, batch=20)
    assert close(values(name, scores, relevance, **parameters), values("pairwise", scores, relevance), 1e-12)


@pytest.mark.parametrize("list_size", [3, 6])
def test_plackett_luce_spans_contrastive_to_listmle(list_size: int) -> None:
    scores, relevance = random_batch(list_size)
    assert close(values("plackett_luce", scores, relevance, k=1), values("contrastive", scores, relevance))
    for k in (list_size, list_size - 1, list_size + 5, None):  # the last choice is certain
        assert close(values("plackett_luce", scores, relevance, k=k), values("listmle", scores, relevance))


@pytest.mark.parametrize("ties", [False, True])
def test_listmle_and_plackett_luce_break_ties_alike(ties: bool) -> None:
    scores, relevance = random_batch(5, ties=ties)
    assert torch.equal(values("plackett_luce", scores, relevance), values("listmle", scores, relevance))


def test_strict_listmle_on_binary_labels_is_a_sum_of_contrastive_terms() -> None:
    scores, relevance = random_batch(6, ties=True)
    expected = []
    for s, r in zip(scores, relevance, strict=True):
        positives, negatives = s[r == 1], s[r == 0]
        first = torch.arange(len(negatives) + 1) == 0
        terms = [values("contrastive", torch.cat([p[None], negatives])[None], first[None]) for p in positives]
        expected.append(torch.cat(terms).sum())
        assert close(torch.cat(terms).mean(), values("contrastive", s[None], r[None])[0])
    assert close(values("listmle", scores, relevance, ties="strict"), torch.stack(expected))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_plackett_luce_is_a_distribution_over_orders(k: int) -> None:
    scores = torch.tensor([[0.4, -1.3, 2.2, 0.9]], dtype=DOUBLE)
    orders = torch.tensor(list(itertools.permutations(range(4))), dtype=DOUBLE)
    likelihoods = (-values("plackett_luce", scores.expand(24, 4), orders, k=k)).exp()
    assert likelihoods.sum().item() == pytest.approx(math.factorial(4 - k))  # orders that share their first k


def test_other_reductions() -> None:
    scores, relevance = random_batch(5)
    pairs, grades = random_batch(2)
    assert close(values("hinge", pairs, grades), values("rank_hinge", pairs, grades, margin=1.0))
    assert close(values("squared", pairs, grades, target=1.0), values("margin_mse", pairs, grades))
    assert close(
        values("pairwise", pairs, grades, margin=0.4), values("pairwise", pairs - 0.4 * grades, grades)
    )
    target = (relevance / 0.7).softmax(-1)
    entropy = -(target * target.log()).sum(-1)
    assert close(
        values("kl", scores, relevance, temperature=0.7),
        values("listnet", scores, relevance, temperature=0.7) - entropy,
    )
    assert close(values("kl", relevance / 0.7 + 3, relevance, temperature=0.7), torch.zeros(5))
    assert close(
        values("listnet", scores, relevance, temperature=1e-3), values("contrastive", scores, relevance)
    )


# 5. Ties at random


def order_drawn(scores: list[float], seed: int) -> tuple[int, ...]:
    """The order in which `listmle` takes three tied items above one other, read off its value."""
    value = values(
        "listmle", torch.tensor([[*scores, -1.0]], dtype=DOUBLE), torch.tensor([[1.0, 1, 1, 0]]), seed=seed
    )
    candidates = {
        order: sum(
            log(sum(exp(scores[j]) for j in order[i:]) + exp(-1.0)) - scores[order[i]] for i in range(3)
        )
        for order in itertools.permutations(range(3))
    }
    return next(order for order, expected in candidates.items() if value.item() == pytest.approx(expected))


def test_tied_items_are_ordered_at_random_by_seed() -> None:
    drawn = Counter(order_drawn([0.31, 1.17, 0.72], seed) for seed in range(600))
    assert len(drawn) == 6
    assert sum((n - 100) ** 2 / 100 for n in drawn.values()) < 25  # χ² with 5 degrees of freedom: p < 0.0002


def test_tied_items_are_ordered_afresh_as_the_scores_move() -> None:
    drawn = Counter(order_drawn([0.31, 1.17 + step * 0.0123, 0.72 - step * 0.0071], 0) for step in range(600))
    assert len(drawn) == 6
    assert sum((n - 100) ** 2 / 100 for n in drawn.values()) < 25


def test_equal_input_gives_equal_output() -> None:
    scores, relevance = random_batch(6, ties=True)
    assert torch.equal(values("listmle", scores, relevance), values("listmle", scores, relevance))
    assert not torch.equal(values("listmle", scores, relevance), values("listmle", scores, relevance, seed=1))


# 6. nDCG, as ir_measures has it


def ndcg(scores: Any, relevance: Any, k: int | None = None) -> float:
    """ir_measures' nDCG of one list without ties; its gain is the label, so the exponential gain is the label."""
    docnos = [f"d{i}" for i in range(len(scores))]
    qrels = {"q": {d: 2 ** int(r) - 1 for d, r in zip(docnos, relevance, strict=True)}}
    run = {"q": {d: float(s) for d, s in zip(docnos, scores, strict=True)}}
    measure = ir_measures.nDCG if k is None else ir_measures.nDCG @ k
    return float(ir_measures.calc_aggregate([measure], qrels, run)[measure])


@pytest.mark.parametrize("k", [None, 1, 3])
def test_lambda_ndcg_weighs_a_pair_by_what_swapping_it_does_to_ndcg(k: int | None) -> None:
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        scores = torch.randn(5, generator=generator)
        relevance = torch.tensor([0, 3, 1, 2, 1])[torch.randperm(5, generator=generator)]
        expected = 0.0
        for i, j in itertools.product(range(5), repeat=2):
            if relevance[i] > relevance[j]:
                swapped = scores.clone()
                swapped[[i, j]] = scores[[j, i]]
                change = abs(ndcg(swapped, relevance, k) - ndcg(scores, relevance, k))
                expected += change * nls((scores[i] - scores[j]).item())
        value = get_loss("lambda_ndcg", k=k)(scores[None], relevance[None].float())
        assert value.item() == pytest.approx(expected, abs=1e-6)


def test_cool_approx_ndcg_is_one_minus_ndcg() -> None:
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        scores = torch.randperm(6, generator=generator).double()
        relevance = torch.randint(0, 4, (6,), generator=generator)
        value = get_loss("approx_ndcg", temperature=0.01)(scores[None], relevance[None])
        assert value.item() == pytest.approx(1 - ndcg(scores, relevance), abs=1e-6)


# 7. sentence-transformers' cross-encoder losses on the same scores


class Scorer(torch.nn.Module):
    """Stands in for a cross-encoder: a "document" is an index into a tensor of scores."""

    num_labels = 1
    device = torch.device("cpu")

    def __init__(self, scores: Tensor) -> None:
        super().__init__()
        self.scores = scores

    def preprocess(self, pairs: list[tuple[str, str]], **_: Any) -> dict[str, Tensor]:
        return {"index": torch.tensor([int(document) for _, document in pairs])}

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        return {"scores": self.scores[features["index"]]}


@pytest.fixture(scope="module")
def peers() -> SimpleNamespace:
    from sentence_transformers.cross_encoder import losses

    return losses


RAGGED = [4, 2, 5]


def ragged_batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(3, 5, generator=generator) * 2
    relevance = torch.stack([torch.randperm(5, generator=generator) for _ in RAGGED]).float()
    mask = torch.arange(5) < torch.tensor(RAGGED).unsqueeze(-1)
    return scores, relevance, mask


def peer_loss_and_gradient(
    make: Any, scores: Tensor, relevance: Tensor, mask: Tensor, **parameters: Any
) -> tuple[float, Tensor]:
    leaf = scores.clone().requires_grad_()
    index = torch.arange(scores.numel()).view_as(scores)
    documents = [[str(int(i)) for i in row[present]] for row, present in zip(index, mask, strict=True)]
    labels = [row[present] for row, present in zip(relevance, mask, strict=True)]
    value = make(model=Scorer(leaf.view(-1)), **parameters)([["query"] * len(labels), documents], labels)
    value.backward()
    return value.item(), leaf.grad


@pytest.mark.parametrize(
    ("name", "peer", "parameters"),
    [("listmle", "ListMLELoss", {"respect_input_order": False}), ("listnet", "ListNetLoss", {})],
)
def test_agrees_with_sentence_transformers(
    peers: SimpleNamespace, name: str, peer: str, parameters: dict[str, Any]
) -> None:
    scores, relevance, mask = ragged_batch()
    expected, expected_gradient = peer_loss_and_gradient(
        getattr(peers, peer), scores, relevance, mask, **parameters
    )
    value, gradient = loss_and_gradient(get_loss(name), scores, relevance, mask, torch.float32)
    assert value.item() == pytest.approx(expected, abs=1e-5)
    assert close(gradient, expected_gradient, 1e-5)


@pytest.mark.parametrize("labels", ["distinct", "tied"])
@pytest.mark.parametrize(
    ("name", "scheme"), [("lambda_ndcg", "LambdaRankScheme"), ("lambdarank", "NoWeightingScheme")]
)
def test_agrees_with_sentence_transformers_lambda_loss(
    peers: SimpleNamespace, name: str, scheme: str, labels: str
) -> None:
    """Theirs is a mean over all pairs of the batch, ours a sum inside a list: theirs × pairs = the sum of ours.

    (Both take natural logarithms here; their default is binary. Their `k` keeps the pairs with either item in the
    top k, ours measures nDCG@k, so k is left out. Labels are not negative: theirs are clamped at 0.)
    """
    scores, relevance, mask = ragged_batch()
    relevance = relevance if labels == "distinct" else relevance.clamp(max=2)
    expected, expected_gradient = peer_loss_and_gradient(
        peers.LambdaLoss,
        scores,
        relevance,
        mask,
        weighting_scheme=getattr(peers, scheme)(),
        reduction_log="natural",
    )
    pairs = sum(
        int(r[i] > r[j])
        for r, present in zip(relevance, RAGGED, strict=True)
        for i, j in itertools.product(range(present), repeat=2)
    )
    value, gradient = loss_and_gradient(
        get_loss(name, reduction="sum"), scores, relevance, mask, torch.float32
    )
    assert value.item() == pytest.approx(expected * pairs, abs=1e-5)
    assert close(gradient, expected_gradient * pairs, 1e-5)


# 8. The page


@pytest.mark.parametrize("name", available_losses())
def test_every_loss_says_what_it_is(name: str) -> None:
    loss = LOSSES[name]
    assert loss.name == name
    assert all(part in (loss.__doc__ or "") for part in (loss.formula, loss.source, "Shapes:", "Ties"))
    page = PAGE.read_text(encoding="utf-8").replace("\\|", "|")
    assert f"`{name}`" in page
    assert loss.formula in page


def test_the_examples_of_the_page_run() -> None:
    results = doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8")
    assert results.attempted > 5
    assert results.failed == 0
