r"""Ranking losses: `(scores, relevance, mask) -> scalar`. They need torch alone; callers give scores a meaning.

    scores      [..., list]  s_i, higher is better: implicit rewards of responses, similarities of passages
    relevance   [..., list]  r_i, graded, higher is better: rewards or labels, any real numbers
    mask        [..., list]  boolean, True where an item exists (default: everywhere)

All losses share these rules:

* **Within a list a loss is the sum its formula shows**; `reduction = "mean" | "sum" | "none"` is over lists.
* **Nothing to learn** (no two items of different relevance: one item, an all-tied list, an all-masked list)
  contributes 0 with zero gradient, never NaN. Such a list still counts in the mean.
* **Ties in relevance.** Two items of equal relevance say nothing about each other: pairwise sums leave the pair
  out; losses with one winner (and one loser) average over the tied winners (and losers), so that the order of
  the input never matters. `listmle` and `plackett_luce` need a total order, see `PlackettLuce`.
* **Ties in score** matter to `lambda_ndcg` alone, which takes the worst order they allow.
* Every loss is invariant to permuting a list and to adding a constant to its scores. Masked items count
  as deleted, whatever their values.
* Scores in half precision are computed in float32. `w` is the best item, `l` the worst.

A loss is a frozen dataclass; its fields are its parameters. To add one, write the formula as a subclass and
register its name:

>>> import torch
>>> scores, relevance = torch.tensor([[2.0, 0.0, 1.0]]), torch.tensor([[3.0, 1.0, 2.0]])
>>> round(get_loss("contrastive")(scores, relevance).item(), 4)  # log(1 + e^(0-2) + e^(1-2))
0.4076
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": torch.mean,
    "sum": torch.sum,
    "none": lambda x: x,
}
LOSSES: dict[str, type[RankingLoss]] = {}
SHAPES = (
    "Shapes: scores, relevance and mask [batch, list] -> scalar, or [batch] with reduction='none'.\n"
    "Ties, lists with nothing to learn and errors: see `larpo_ir.losses`."
)


def register(name: str) -> Callable[[type[RankingLoss]], type[RankingLoss]]:
    """Class decorator: give a loss the name by which `get_loss` and configuration files know it.

    Raises `ValueError` for a name that is taken, and for a class that is no dataclass or has no formula or source.
    """

    def decorate(cls: type[RankingLoss]) -> type[RankingLoss]:
        if name in LOSSES:
            raise ValueError(
                f"there is a loss {name!r} already, {LOSSES[name].__name__}; choose another name"
            )
        if "__dataclass_params__" not in vars(cls):
            raise ValueError(f"{cls.__name__} is no dataclass; put @register above @dataclass(frozen=True)")
        if missing := [text for text in ("formula", "source") if not getattr(cls, text, "")]:
            raise ValueError(
                f"{cls.__name__} has no {' and no '.join(missing)}; set each as a class attribute"
            )
        cls.name = name
        cls.__doc__ = (
            f"{inspect.cleandoc(cls.__doc__ or '')}\n\n{cls.formula}\n\nSource: {cls.source}\n{SHAPES}"
        )
        LOSSES[name] = cls
        return cls

    return decorate


def available_losses() -> list[str]:
    """Names of all losses, in the order of the table in `docs/losses.md`."""
    return list(LOSSES)


def get_loss(name: str | RankingLoss, **parameters: Any) -> RankingLoss:
    """The loss called `name` with its `parameters`; a loss object is returned as it is.

    >>> get_loss("plackett_luce", k=2)
    PlackettLuce(reduction='mean', ties='random', seed=0, k=2)

    Raises `ValueError` for an unknown name or parameter, listing the choices.
    """
    loss = name if isinstance(name, RankingLoss) else None
    if loss is None and name not in LOSSES:
        raise ValueError(f"unknown loss {name!r}; choose one of {', '.join(LOSSES)}")
    kind = LOSSES[str(name)] if loss is None else type(loss)
    known = [field.name for field in dataclasses.fields(kind) if field.init]
    for parameter in parameters:
        if parameter not in known:
            raise ValueError(f"loss {kind.name!r} has no parameter {parameter!r}; it has {', '.join(known)}")
    if loss is None:
        return kind(**parameters)
    return dataclasses.replace(loss, **parameters) if parameters else loss


@dataclass(frozen=True)
class RankingLoss:
    """Base of all losses: checks the input, sets aside lists with nothing to learn, reduces over lists.

    Subclasses write `per_list(scores, relevance, mask) -> [...]`; they see only finite scores (masked items
    hold 0) and lists in which at least two items differ in relevance.
    """

    reduction: Literal["mean", "sum", "none"] = "mean"
    name: ClassVar[str]
    formula: ClassVar[str]
    source: ClassVar[str]

    def __post_init__(self) -> None:
        if self.reduction not in REDUCTIONS:
            raise ValueError(f"unknown reduction {self.reduction!r}; choose one of {', '.join(REDUCTIONS)}")

    def __call__(self, scores: Tensor, relevance: Tensor, mask: Tensor | None = None) -> Tensor:
        """Loss of a batch of lists, `[..., list] -> scalar` (`[...]` with `reduction="none"`).

        Raises `ValueError` when the shapes differ, the mask is not boolean or a relevance is not finite.
        """
        mask = torch.ones_like(relevance, dtype=torch.bool) if mask is None else mask
        if not scores.shape == relevance.shape == mask.shape or scores.ndim == 0:
            raise ValueError(
                "scores, relevance and mask must have one shape [batch, list]; got "
                f"{list(scores.shape)}, {list(relevance.shape)} and {list(mask.shape)}"
            )
        if mask.dtype != torch.bool:
            raise ValueError(f"mask must be boolean, True where an item exists; got {mask.dtype}")
        if not (torch.isfinite(relevance) | ~mask).all():
            raise ValueError("relevance must be finite: drop items without a reward or mask them")
        if scores.numel() == 0:
            nothing = scores.sum(-1)
            return nothing if self.reduction == "none" else nothing.sum()
        if scores.dtype in (torch.float16, torch.bfloat16):
            scores = scores.float()
        if not relevance.is_floating_point():
            relevance = relevance.to(scores.dtype)

        learnable = preferred_pairs(relevance, mask).any(dim=(-1, -2))
        present = mask & learnable.unsqueeze(-1)
        scores = torch.where(present, scores, torch.zeros_like(scores))
        relevance = torch.where(present, relevance, torch.zeros_like(relevance))
        # A list with nothing to learn goes through the formula as a list of zeros, so that no softmax is
        # ever taken over nothing; its value is then replaced by 0.
        losses = self.per_list(scores, relevance, present | ~learnable.unsqueeze(-1))
        return REDUCTIONS[self.reduction](torch.where(learnable, losses, torch.zeros_like(losses)))

    def per_list(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        raise NotImplementedError


# Building blocks


def differences(x: Tensor) -> Tensor:
    """[..., list] -> [..., list, list], x_i - x_j at (i, j)."""
    return x.unsqueeze(-1) - x.unsqueeze(-2)


def preferred_pairs(relevance: Tensor, mask: Tensor) -> Tensor:
    """[..., list, list], True at (i, j) where both exist and r_i > r_j."""
    return (relevance.unsqueeze(-1) > relevance.unsqueeze(-2)) & mask.unsqueeze(-1) & mask.unsqueeze(-2)


def best_and_worst(relevance: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Two masks [..., list]: the items that share the highest and the lowest relevance of their list."""
    best = relevance.masked_fill(~mask, -math.inf).amax(-1, keepdim=True)
    worst = relevance.masked_fill(~mask, math.inf).amin(-1, keepdim=True)
    return mask & (relevance == best), mask & (relevance == worst)


def masked_sum(x: Tensor, where: Tensor, dims: int = 1) -> Tensor:
    """Sum over the last `dims` dimensions of the entries that `where` keeps."""
    return torch.where(where, x, torch.zeros_like(x)).sum(dim=tuple(range(-dims, 0)))


def masked_logsumexp(x: Tensor, where: Tensor) -> Tensor:
    """log Σ exp over the last dimension of the entries that `where` keeps (at least one)."""
    return torch.logsumexp(x.masked_fill(~where, -math.inf), dim=-1)


def relative_gains(relevance: Tensor, mask: Tensor) -> Tensor:
    """Exponential gains 2^r - 1, divided by 2^max(r): nDCG is a ratio, and no gain overflows.

    A list with negative relevance is first shifted so that its lowest is 0 (rewards have no zero of their own).
    """
    lowest = relevance.masked_fill(~mask, math.inf).amin(-1, keepdim=True)
    relevance = relevance - lowest.clamp(max=0)
    highest = relevance.masked_fill(~mask, -math.inf).amax(-1, keepdim=True)
    gains = -torch.exp2(relevance - highest) * torch.expm1(-relevance * math.log(2))
    return torch.where(mask, gains, torch.zeros_like(gains))


def ideal_dcg(gains: Tensor, k: int | None = None) -> Tensor:
    """[..., list] -> [...]: DCG of the best possible order, cut at k."""
    ordered = gains.sort(dim=-1, descending=True).values[..., :k]
    positions = torch.arange(ordered.shape[-1], device=gains.device, dtype=gains.dtype)
    return (ordered / torch.log2(positions + 2)).sum(-1)


# Losses on pairs


@dataclass(frozen=True)
class PairLoss(RankingLoss):
    """A kernel over score differences, summed over all pairs r_i > r_j, or for the best against the worst."""

    pairs: ClassVar[Literal["all", "best against worst"]] = "all"

    def kernel(self, score_difference: Tensor, relevance_difference: Tensor) -> Tensor:
        """[..., list, list]: the loss of every pair. Pairs that do not count are masked afterwards, so that value and
        gradient must be finite for every difference."""
        raise NotImplementedError

    def weights(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor | None:
        return None

    def per_list(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        values = self.kernel(differences(scores), differences(relevance))
        weights = self.weights(scores, relevance, mask)
        values = values if weights is None else weights * values
        if self.pairs == "all":
            return masked_sum(values, preferred_pairs(relevance, mask), dims=2)
        best, worst = best_and_worst(relevance, mask)
        pairs = best.unsqueeze(-1) & worst.unsqueeze(-2)
        return masked_sum(values, pairs, dims=2) / pairs.sum(dim=(-1, -2))


@register("pairwise")
@dataclass(frozen=True)
class PairwiseLogistic(PairLoss):
    """Logistic loss of the best item against the worst: DPO's loss when the list is a pair.

    `margin` is a target margin (SimPO's γ). Tied best (worst) items: mean over the tied pairs.
    """

    margin: float = 0.0
    pairs = "best against worst"
    formula = "-log σ(s_w - s_l - margin)"
    source = "Rafailov et al. 2023 (DPO), eq. 7; Burges et al. 2005 (RankNet)"

    def kernel(self, score_difference: Tensor, relevance_difference: Tensor) -> Tensor:
        return -F.logsigmoid(score_difference - self.margin)


@register("contrastive")
@dataclass(frozen=True)
class Contrastive(RankingLoss):
    """Softmax loss of the winner against all losers (InfoNCE; LarPO's contrastive objective).

    The losers are the items of strictly lower relevance; tied winners: mean over them, each against the losers.
    """

    formula = "-log [ exp(s_w) / (exp(s_w) + Σ_l exp(s_l)) ]"
    source = "van den Oord et al. 2018 (InfoNCE); Jin et al. 2025 (LarPO), contrastive"

    def per_list(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        winners, _ = best_and_worst(relevance, mask)
        # A list with nothing to learn has no losers; its items replace them, because log Σ needs an entry.
        losers = mask & ~winners
        losers = torch.where(losers.any(-1, keepdim=True), losers, mask)
        against = masked_logsumexp(scores, losers).unsqueeze(-1)
        return masked_sum(F.softplus(against - scores), winners) / winners.sum(-1)


@register("lambdarank")
@dataclass(frozen=True)
class AllPairsLogistic(PairLoss):
    """Unweighted logistic loss over all pairs (RankNet's loss), which the LarPO paper calls LambdaRank.

    The ΔnDCG-weighted loss that the literature calls LambdaRank is `lambda_ndcg`.
    """

    formula = "-Σ_{r_i > r_j} log σ(s_i - s_j)"
    source = "Jin et al. 2025 (LarPO), LambdaRank; Burges et al. 2005 (RankNet)"

    def kernel(self, score_difference: Tensor, relevance_difference: Tensor) -> Tensor:
        return -F.logsigmoid(score_difference)


@register("plackett_luce")
@dataclass(frozen=True)
class PlackettLuce(RankingLoss):
    """Negative log-likelihood of the first `k` choices of the best-first order under Plackett–Luce.

    `k=None` takes the whole list (`listmle`). Items beyond the k-th stay in the denominators.

    Ties in relevance need an order:

    * `ties="random"`: a pseudo-random order. It is drawn from `seed` and the list's scores (relative to the
      highest, on a grid of 0.001), not from a hidden counter. As training moves the scores, each visit draws
      a new order. Equal input gives equal output, so that resuming, sharding over devices, gradient checks
      and permuting a list change nothing.
    * `ties="strict"`: an item competes only with itself and with strictly less relevant items, so tied items say
      nothing about each other. The first k choices are then the items with fewer than k strictly better ones.
    """

    ties: Literal["random", "strict"] = "random"
    seed: int = 0
    k: int | None = None
    formula = "-Σ_{i <= k} log [ exp(s_i) / Σ_{j >= i} exp(s_j) ],  r_1 >= r_2 >= ..."
    source = "Plackett 1975; Luce 1959; Xia et al. 2008 (top-k)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ties not in ("random", "strict"):
            raise ValueError(f"unknown ties {self.ties!r}; choose one of random, strict")
        if self.k is not None and self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")

    def per_list(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        after = preferred_pairs(relevance, mask)  # (i, j): j is chosen after i
        if self.ties == "random":
            tied = (differences(relevance) == 0) & mask.unsqueeze(-1) & mask.unsqueeze(-2)
            turn = pseudo_random_turns(scores.detach(), mask, self.seed)
            after = after | (tied & (turn.unsqueeze(-1) < turn.unsqueeze(-2)))
            scores = mean_over_alike(scores, relevance, mask)
        itself = torch.eye(scores.shape[-1], dtype=torch.bool, device=scores.device)
        remaining = masked_logsumexp(scores.unsqueeze(-2).expand(after.shape), after | itself)
        chosen = mask if self.k is None else mask & (after.sum(dim=-2) < self.k)
        return masked_sum(remaining - scores, chosen)


@register("listmle")
@dataclass(frozen=True)
class ListMLE(PlackettLuce):
    """Negative Plackett–Luce log-likelihood of the whole best-first order. Ties: see `PlackettLuce`."""

    k: None = dataclasses.field(default=None, init=False, repr=False)
    formula = "-Σ_i log [ exp(s_i) / Σ_{j >= i} exp(s_j) ],  r_1 >= r_2 >= ..."
    source = "Xia et al. 2008 (ListMLE); Jin et al. 2025 (LarPO), ListMLE"


def scramble(key: Tensor) -> Tensor:
    """Two rounds of multiply and xor-shift on 64-bit integers."""
    for multiplier in (0x5851F42D4C957F2D, 0x14057B7EF767814F):
        key = key * multiplier
        key = key ^ ((key >> 29) & 0x7FFFFFFFF)
    return key


def mean_over_alike(scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
    """The same scores. Items alike in score and relevance share their gradient, so that their order in the input
    has no effect."""
    alike = (differences(scores) == 0) & (differences(relevance) == 0) & mask.unsqueeze(-2)
    return torch.where(
        mask, masked_sum(scores.unsqueeze(-2).expand(alike.shape), alike) / alike.sum(-1).clamp(min=1), scores
    )


def pseudo_random_turns(scores: Tensor, mask: Tensor, seed: int) -> Tensor:
    """[..., list] of distinct integers: a pseudo-random order of the items, a function of seed and scores alone.

    Scores enter relative to the list's highest and on a grid of 0.001, offset so that round numbers do not lie
    on its borders: the order survives adding a constant, permuting the list and a gradient check's nudge.
    """
    relative = scores - scores.masked_fill(~mask, -math.inf).amax(-1, keepdim=True)
    key = torch.floor(relative.double() * 1000 + 0.37).long() + seed * 1_000_003
    key = scramble(key)
    whole_list = masked_sum(key, mask).unsqueeze(-1)  # wraps around, so the sum ignores the order
    key = scramble(key ^ scramble(whole_list))
    by_score = relative.argsort(dim=-1, stable=True)  # equal keys: by score, which no permutation changes
    order = by_score.gather(-1, key.gather(-1, by_score).argsort(dim=-1, stable=True))
    return order.argsort(dim=-1)


@register("hinge")
@dataclass(frozen=True)
class Hinge(PairLoss):
    """Hinge loss of the best item against the worst (SLiC). Tied best (worst) items: mean over the tied pairs."""

    margin: float = 1.0
    pairs = "best against worst"
    formula = "max(0, margin - (s_w - s_l))"
    source = "Zhao et al. 2023 (SLiC-HF), rank calibration"

    def kernel(self, score_difference: Tensor, relevance_difference: Tensor) -> Tensor:
        return F.relu(self.margin - score_difference)


@register("squared")
@dataclass(frozen=True)
class Squared(PairLoss):
    """Squared distance of the best-worst margin to a target (IPO, with target 1/(2β)). Tied: mean over pairs."""

    target: float = 0.5
    pairs = "best against worst"
    formula = "(s_w - s_l - target)^2"
    source = "Azar et al. 2023 (IPO), eq. 17, target = 1/(2β)"

    def kernel(self, score_difference: Tensor, relevance_difference: Tensor) -> Tensor:
        return (score_difference - self.target).square()


@register("rank_hinge")
@dataclass(frozen=True)
class RankHinge(PairLoss):
    """Sum of the inversions' sizes over all pairs (RRHF)."""

    margin: float = 0.0
    formula = "Σ_{r_i > r_j} max(0, margin - (s_i - s_j))"
    source = "Yuan et al. 2023 (RRHF), ranking loss"

    def kernel(self, score_difference: Tensor, relevance_difference: Tensor) -> Tensor:
        return F.relu(self.margin - score_difference)


@register("lambda_ndcg")
@dataclass(frozen=True)
class LambdaNDCG(PairLoss):
    """Logistic loss over all pairs, each weighted by the change of nDCG(@k) when the two are swapped.

    |ΔnDCG_ij| = |2^r_i - 2^r_j| |1/log2(1+p_i) - 1/log2(1+p_j)| / ideal DCG, positions p from the current
    scores, constant under differentiation, 1/log2 = 0 beyond k. Tied scores take the worst order they allow
    (the less relevant first), so that a fresh policy, whose implicit rewards are all 0, still learns. Negative
    relevance: the list is shifted so that its lowest is 0. Natural logarithm.
    """

    k: int | None = None
    formula = "-Σ_{r_i > r_j} |ΔnDCG_ij| log σ(s_i - s_j)"
    source = "Burges et al. 2006 (LambdaRank); Wang et al. 2018 (LambdaLoss)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.k is not None and self.k < 1:
            raise ValueError(f"k must be at least 1, got {self.k}")

    def kernel(self, score_difference: Tensor, relevance_difference: Tensor) -> Tensor:
        return -F.logsigmoid(score_difference)

    def per_list(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        return super().per_list(mean_over_alike(scores, relevance, mask), relevance, mask)

    def weights(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        scores = scores.detach()
        gains = relative_gains(relevance.to(scores.dtype), mask)
        index = torch.arange(scores.shape[-1], device=scores.device)
        relevance_gap = differences(relevance)
        tied_before = (relevance_gap > 0) | ((relevance_gap == 0) & (index.unsqueeze(-1) > index))
        score_gap = differences(scores)
        before = (score_gap < 0) | ((score_gap == 0) & tied_before)  # (i, j): j is ranked before i
        positions = (before & mask.unsqueeze(-2)).sum(-1)
        discounts = 1 / torch.log2(positions.to(scores.dtype) + 2)
        if self.k is not None:
            discounts = discounts.masked_fill(positions >= self.k, 0.0)
        ideal = ideal_dcg(gains, self.k)[..., None, None]
        changes = differences(gains).abs() * differences(discounts).abs()
        return changes / torch.where(ideal > 0, ideal, torch.ones_like(ideal))


# Losses on distributions over the list


@register("listnet")
@dataclass(frozen=True)
class ListNet(RankingLoss):
    """Cross-entropy between the top-one distributions of relevance and scores. Relevance is divided by
    `temperature` before its softmax (rewards come on any scale)."""

    temperature: float = 1.0
    formula = "-Σ_i softmax(r / temperature)_i log softmax(s)_i"
    source = "Cao et al. 2007 (ListNet), top one"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")

    def log_distributions(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        target = relevance.to(scores.dtype) / self.temperature
        return tuple(  # type: ignore[return-value]
            torch.where(mask, x - masked_logsumexp(x, mask).unsqueeze(-1), torch.zeros_like(x))
            for x in (target, scores)
        )

    def per_list(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        log_target, log_scores = self.log_distributions(scores, relevance, mask)
        return masked_sum(-log_target.exp() * log_scores, mask)


@register("kl")
@dataclass(frozen=True)
class KLDivergence(ListNet):
    """Kullback–Leibler divergence from the relevance distribution to the scores': ListNet less the target's
    entropy, so that its least value is 0 (reranker-to-retriever distillation)."""

    formula = "Σ_i p_i log(p_i / softmax(s)_i),  p = softmax(r / temperature)"
    source = "Hinton et al. 2015 (distillation)"

    def per_list(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        log_target, log_scores = self.log_distributions(scores, relevance, mask)
        return masked_sum(log_target.exp() * (log_target - log_scores), mask)


@register("approx_ndcg")
@dataclass(frozen=True)
class ApproxNDCG(RankingLoss):
    """One minus nDCG with soft ranks. Gains 2^r - 1, discount log2(1 + rank); negative relevance is shifted to
    0. A smaller `temperature` is closer to nDCG, and flatter."""

    temperature: float = 0.1
    formula = "1 - Σ_i gain_i / log2(1 + ρ_i) / ideal DCG,  ρ_i = 1 + Σ_{j != i} σ((s_j - s_i) / temperature)"
    source = "Qin et al. 2010 (ApproxNDCG)"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperature > 0:
            raise ValueError(f"temperature must be positive, got {self.temperature}")

    def per_list(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        gains = relative_gains(relevance.to(scores.dtype), mask)
        others = mask.unsqueeze(-2) & ~torch.eye(scores.shape[-1], dtype=torch.bool, device=scores.device)
        soft_rank = 1 + masked_sum(torch.sigmoid(-differences(scores) / self.temperature), others)
        ideal = ideal_dcg(gains)
        return 1 - masked_sum(gains / torch.log2(1 + soft_rank), mask) / torch.where(ideal > 0, ideal, 1.0)


@register("margin_mse")
@dataclass(frozen=True)
class MarginMSE(PairLoss):
    """Squared error between score margins and relevance margins over all pairs (distillation from a reranker)."""

    formula = "Σ_{r_i > r_j} ((s_i - s_j) - (r_i - r_j))^2"
    source = "Hofstätter et al. 2020 (Margin-MSE)"

    def kernel(self, score_difference: Tensor, relevance_difference: Tensor) -> Tensor:
        return (score_difference - relevance_difference.to(score_difference.dtype)).square()
