"""Alignment objectives: *score × loss (+ SFT term)*, one row of a table each.

A policy gives every response y of a list a score s(y), a ranking loss of `larpo_ir.losses` compares the
scores with the rewards, and some methods add the negative log-likelihood of the best response. Methods
differ in nothing else; `METHODS` below is the whole list.

    policy_logps, ref_logps   [batch, list]  log π(y|x), log π_ref(y|x): nats, summed over the response's tokens
    rewards                   [batch, list]  r(x, y), higher is better
    mask                      [batch, list]  boolean, True where a response exists
    lengths                   [batch, list]  |y|, the response's tokens, EOS included when it was emitted

>>> import torch
>>> policy, reference = torch.tensor([[-4.0, -6.0]]), torch.tensor([[-5.0, -5.0]])
>>> output = get_objective("dpo", beta=0.5)(policy, torch.tensor([[1.0, 0.0]]), ref_logps=reference)
>>> round(output.loss.item(), 4), output.scores.tolist()  # -log σ(0.5 - (-0.5))
(0.3133, [[0.5, -0.5]])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from larpo_ir.losses import (
    LOSSES,
    AllPairsLogistic,
    Contrastive,
    Hinge,
    ListMLE,
    PairwiseLogistic,
    RankHinge,
    RankingLoss,
    Squared,
    best_and_worst,
    differences,
    get_loss,
    ideal_dcg,
    masked_sum,
    preferred_pairs,
)

Parameters = Mapping[str, Any]


class Candidates(NamedTuple):
    """Inputs of a score; absent responses hold 0 (length 1)."""

    logps: Tensor
    ref_logps: Tensor
    lengths: Tensor


class Score(NamedTuple):
    """A formula and its code. A formula with π_ref needs the reference, a formula with |y| the lengths."""

    formula: str
    compute: Callable[[Candidates, Parameters], Tensor]


LOG_RATIO = Score("log(π/π_ref)", lambda y, p: y.logps - y.ref_logps)
TOKEN_MEAN_LOG_RATIO = Score("log(π/π_ref) / |y|", lambda y, p: (y.logps - y.ref_logps) / y.lengths)
IMPLICIT_REWARD = Score("β log(π/π_ref)", lambda y, p: p["beta"] * (y.logps - y.ref_logps))
LENGTH_REGULARISED = Score(
    "β log(π/π_ref) + α |y|", lambda y, p: p["beta"] * (y.logps - y.ref_logps) + p["alpha"] * y.lengths
)
LOG_LIKELIHOOD = Score("log π", lambda y, p: y.logps)
SCALED_LOG_LIKELIHOOD = Score("β log π", lambda y, p: p["beta"] * y.logps)
TOKEN_MEAN = Score("log π / |y|", lambda y, p: y.logps / y.lengths)
SCALED_TOKEN_MEAN = Score("β log π / |y|", lambda y, p: p["beta"] * y.logps / y.lengths)


@dataclass(frozen=True)
class KTOLoss(RankingLoss):
    """Pointwise loss of Kahneman–Tversky optimisation, averaged over the responses of a list.

    λ_D (1 - σ(s - z0)) for desirable responses, λ_U (1 - σ(z0 - s)) for the others. z0 is a constant under
    differentiation: `zero_point` if given, otherwise the batch's estimate max(0, mean s) of β KL(π || π_ref).
    (TRL estimates it from responses paired with other prompts.) A response is desirable if its reward is at least
    `threshold`, by default above the middle of its list's range, so that an all-tied list says nothing.
    """

    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    threshold: float | None = None
    zero_point: float | None = None
    formula = "mean_i λ_D (1 - σ(s_i - z0)) if desirable else λ_U (1 - σ(z0 - s_i)),  z0 = max(0, mean s)"
    source = "Ethayarajh et al. 2024 (KTO), eq. 7"

    def per_list(self, scores: Tensor, relevance: Tensor, mask: Tensor) -> Tensor:
        if self.zero_point is None:
            learnable = preferred_pairs(relevance, mask).any(dim=(-1, -2))
            seen = mask & learnable.unsqueeze(-1)
            zero = (masked_sum(scores.detach(), seen).sum() / seen.sum().clamp(min=1)).clamp(min=0)
        else:
            zero = scores.new_tensor(self.zero_point)
        best, worst = relevance.masked_fill(~mask, -torch.inf), relevance.masked_fill(~mask, torch.inf)
        middle = (best.amax(-1, keepdim=True) + worst.amin(-1, keepdim=True)) / 2
        desirable = relevance > middle if self.threshold is None else relevance >= self.threshold
        losses = torch.where(
            desirable,
            self.desirable_weight * (1 - torch.sigmoid(scores - zero)),
            self.undesirable_weight * (1 - torch.sigmoid(zero - scores)),
        )
        return masked_sum(losses, mask) / mask.sum(-1)


class Method(NamedTuple):
    """One row of the table: the score of a response, the loss over a list's scores, the parameters' defaults."""

    score: Score
    loss: Callable[[Parameters], RankingLoss]
    defaults: Parameters
    source: str


def _squared(p: Parameters) -> RankingLoss:
    return Squared(target=1 / (2 * p["beta"]))


def _kto(p: Parameters) -> RankingLoss:
    return KTOLoss(**{name: value for name, value in p.items() if name != "beta"})


KTO = {"beta": 0.1, "desirable_weight": 1.0, "undesirable_weight": 1.0, "threshold": None, "zero_point": None}
LISTMLE = {"beta": 0.1, "ties": "random", "seed": 0}

# A method with the parameter `sft_weight` adds sft_weight · NLL(best response).
# fmt: off
METHODS: dict[str, Method] = {
    # score s(y), loss over the scores of a list, parameters with their defaults, source
    "dpo":               Method(IMPLICIT_REWARD, lambda p: PairwiseLogistic(), {"beta": 0.1}, "Rafailov et al. 2023"),
    "ipo":               Method(LOG_RATIO, _squared, {"beta": 0.1}, "Azar et al. 2023"),
    "ipo_per_token":     Method(TOKEN_MEAN_LOG_RATIO, _squared, {"beta": 0.1}, "Azar et al. 2023; TRL"),
    "slic_hf":           Method(LOG_LIKELIHOOD, lambda p: Hinge(margin=p["delta"]),
                                {"delta": 1.0, "sft_weight": 0.1}, "Zhao et al. 2023"),
    "rrhf":              Method(TOKEN_MEAN, lambda p: RankHinge(), {"sft_weight": 1.0}, "Yuan et al. 2023"),
    "cpo":               Method(SCALED_LOG_LIKELIHOOD, lambda p: PairwiseLogistic(),
                                {"beta": 0.1, "sft_weight": 1.0}, "Xu et al. 2024"),
    "kto":               Method(IMPLICIT_REWARD, _kto, KTO, "Ethayarajh et al. 2024"),
    "rdpo":              Method(LENGTH_REGULARISED, lambda p: PairwiseLogistic(),
                                {"beta": 0.1, "alpha": 0.01}, "Park et al. 2024"),
    "simpo":             Method(SCALED_TOKEN_MEAN, lambda p: PairwiseLogistic(margin=p["gamma"]),
                                {"beta": 2.0, "gamma": 1.0}, "Meng et al. 2024"),
    "larpo_contrastive": Method(IMPLICIT_REWARD, lambda p: Contrastive(), {"beta": 0.1}, "Jin et al. 2025"),
    "larpo_lambdarank":  Method(IMPLICIT_REWARD, lambda p: AllPairsLogistic(), {"beta": 0.1}, "Jin et al. 2025"),
    "larpo_listmle":     Method(IMPLICIT_REWARD, lambda p: ListMLE(ties=p["ties"], seed=p["seed"]), LISTMLE,
                                "Jin et al. 2025"),
}
# fmt: on


def _any_loss(name: str) -> Method:
    """`larpo_<loss>`: the implicit reward with any other ranking loss, whose fields become parameters."""
    defaults = {f.name: f.default for f in fields(LOSSES[name]) if f.init and f.name != "reduction"}

    def loss(p: Parameters) -> RankingLoss:
        return get_loss(name, **{parameter: p[parameter] for parameter in defaults})

    return Method(IMPLICIT_REWARD, loss, {"beta": 0.1, **defaults}, LOSSES[name].source)


METHODS |= {f"larpo_{name}": _any_loss(name) for name in LOSSES if f"larpo_{name}" not in METHODS}


@dataclass(frozen=True)
class ObjectiveOutput:
    """`loss`: scalar. `scores`: [batch, list], the implicit rewards, 0 where no response exists. `metrics`:
    floats to log (see `ranking_metrics`)."""

    loss: Tensor
    scores: Tensor
    metrics: dict[str, float]


@dataclass(frozen=True)
class Objective:
    """A method with its parameters filled in; call it with log-probabilities and rewards.

    loss = ranking loss of the scores (mean over lists) + sft_weight · NLL(best response). The NLL is per token
    if `lengths` are given, as in the methods' own implementations, otherwise summed over tokens. Tied best responses
    add the mean of theirs; lists with nothing to learn (see `larpo_ir.losses`) add none.
    """

    name: str
    method: Method
    parameters: Parameters
    loss: RankingLoss

    @property
    def needs_reference(self) -> bool:
        """True if `ref_logps` must be given."""
        return "π_ref" in self.method.score.formula

    @property
    def needs_lengths(self) -> bool:
        """True if `lengths` must be given."""
        return "|y|" in self.method.score.formula

    def __call__(
        self,
        policy_logps: Tensor,
        rewards: Tensor,
        mask: Tensor | None = None,
        *,
        ref_logps: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> ObjectiveOutput:
        """Loss, implicit rewards and metrics of a batch of lists, all `[batch, list]`.

        Half-precision log-probabilities become float32 first, because their small differences count. Raises
        `ValueError` when the reference or the lengths are needed and missing, or shapes differ.
        """
        for needed, value, argument in (
            (self.needs_reference, ref_logps, "ref_logps, log π_ref(y|x)"),
            (self.needs_lengths, lengths, "lengths, the number of tokens |y|"),
        ):
            if needed and value is None:
                raise ValueError(
                    f"objective {self.name!r} scores by {self.method.score.formula}: it needs {argument}"
                )
        mask = torch.ones_like(policy_logps, dtype=torch.bool) if mask is None else mask
        for other, label in (
            (rewards, "rewards"),
            (mask, "mask"),
            (ref_logps, "ref_logps"),
            (lengths, "lengths"),
        ):
            if other is not None and other.shape != policy_logps.shape:
                raise ValueError(
                    f"{label} has shape {list(other.shape)}, policy_logps {list(policy_logps.shape)}: they must agree"
                )
        if mask.dtype != torch.bool:
            raise ValueError(f"mask must be boolean; got {mask.dtype}")
        if policy_logps.dtype in (torch.float16, torch.bfloat16):
            policy_logps = policy_logps.float()
        if not rewards.is_floating_point():
            rewards = rewards.to(policy_logps.dtype)
        policy_logps = _present(policy_logps, mask, 0.0)
        candidates = Candidates(
            policy_logps,
            _present(
                torch.zeros_like(policy_logps) if ref_logps is None else ref_logps.to(policy_logps), mask, 0.0
            ),
            _present(
                torch.ones_like(policy_logps) if lengths is None else lengths.to(policy_logps), mask, 1.0
            ).clamp(min=1.0),
        )
        scores = torch.where(
            mask, self.method.score.compute(candidates, self.parameters), torch.zeros_like(policy_logps)
        )
        loss = self.loss(scores, rewards, mask)
        weight = self.parameters.get("sft_weight", 0.0)
        if weight:
            loss = loss + weight * _best_nll(candidates, rewards, mask)
        reference = candidates.ref_logps if ref_logps is not None else None
        metrics = ranking_metrics(scores.detach(), rewards, mask, policy_logps.detach(), reference)
        return ObjectiveOutput(loss, scores, metrics)


def available_objectives() -> list[str]:
    """Names of all objectives, in the order of the table `METHODS`."""
    return list(METHODS)


def get_objective(name: str, **parameters: Any) -> Objective:
    """The objective called `name`, with `parameters` in place of its defaults.

    Raises `ValueError` for an unknown name or parameter (listing the choices) and for a `beta` not above 0.
    """
    if name not in METHODS:
        raise ValueError(f"unknown objective {name!r}; choose one of {', '.join(METHODS)}")
    method = METHODS[name]
    for parameter in parameters:
        if parameter not in method.defaults:
            raise ValueError(
                f"objective {name!r} has no parameter {parameter!r}; it has {', '.join(method.defaults) or 'none'}"
            )
    filled = {**method.defaults, **parameters}
    if "beta" in filled and not filled["beta"] > 0:
        raise ValueError(f"beta must be positive, got {filled['beta']}")
    return Objective(name, method, filled, method.loss(filled))


def _present(x: Tensor, mask: Tensor, otherwise: float) -> Tensor:
    return torch.where(mask, x, torch.full_like(x, otherwise))


def _best_nll(y: Candidates, rewards: Tensor, mask: Tensor) -> Tensor:
    best, _ = best_and_worst(rewards, mask)
    learnable = preferred_pairs(rewards, mask).any(dim=(-1, -2))
    nll = masked_sum(-y.logps / y.lengths, best) / best.sum(-1).clamp(min=1)
    return torch.where(learnable, nll, torch.zeros_like(nll)).mean()


@torch.no_grad()
def ranking_metrics(
    scores: Tensor, rewards: Tensor, mask: Tensor, policy_logps: Tensor, ref_logps: Tensor | None = None
) -> dict[str, float]:
    """Quality of the implicit rewards' ranking of each list, averaged over lists with something to rank.

    * `accuracy`: share of the pairs r_i > r_j with s_i > s_j; a tie counts one half.
    * `margin`: mean of s_best - s_worst.
    * `ndcg`: linear gains (rewards, shifted to a lowest of 0 if one is negative); tied scores share the mean of
      the discounts of the ranks they occupy (McSherry and Najork 2008), so a policy that has not moved gets
      the value of a random order.
    * `logps/best`, `logps/worst`: mean log π of the best and the worst response, nats.
    * `kl`: mean of log π_ref - log π over the responses, an estimate of KL(π_ref || π) when they were sampled
      from π_ref (nats; training lists are selected samples, so read it as a trend).
    """
    preferred = preferred_pairs(rewards, mask)
    learnable = preferred.any(dim=(-1, -2))
    if not learnable.any():
        return {}
    scores, rewards, mask, preferred = (
        x[learnable] for x in (scores, rewards.to(scores.dtype), mask, preferred)
    )
    policy_logps = policy_logps[learnable]
    gap = differences(scores)
    best, worst = best_and_worst(rewards, mask)

    def mean_over(x: Tensor, where: Tensor) -> Tensor:
        return masked_sum(x, where) / where.sum(-1)

    per_list = {
        "accuracy": masked_sum((gap > 0) + 0.5 * (gap == 0), preferred, dims=2) / preferred.sum(dim=(-1, -2)),
        "margin": mean_over(scores, best) - mean_over(scores, worst),
        "ndcg": _ndcg(scores, rewards, mask),
        "logps/best": mean_over(policy_logps, best),
        "logps/worst": mean_over(policy_logps, worst),
    }
    if ref_logps is not None:
        per_list["kl"] = mean_over(ref_logps[learnable] - policy_logps, mask)
    means = torch.stack([value.float().mean() for value in per_list.values()]).tolist()
    return dict(zip(per_list, means, strict=True))


def _ndcg(scores: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
    lowest = rewards.masked_fill(~mask, torch.inf).amin(-1, keepdim=True).clamp(max=0)
    gains = torch.where(mask, rewards - lowest, torch.zeros_like(rewards))
    others = mask.unsqueeze(-2)
    gap = differences(scores)
    first = ((gap < 0) & others).sum(-1)  # rank (from 0) of the first of the items tied with i
    tied = ((gap == 0) & others).sum(-1).clamp(min=1)
    discounts = 1 / torch.log2(torch.arange(scores.shape[-1], device=scores.device, dtype=scores.dtype) + 2)
    total = torch.nn.functional.pad(discounts.cumsum(0), (1, 0))
    shared = (total[(first + tied).clamp(max=scores.shape[-1])] - total[first]) / tied
    return masked_sum(gains * shared, mask) / ideal_dcg(gains).clamp(min=torch.finfo(scores.dtype).tiny)
