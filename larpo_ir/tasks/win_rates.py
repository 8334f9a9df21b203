"""Win rates against a reference system, and what they would be at equal lengths.

**Win rate.** A judge says with what probability it prefers a response to the reference's; the win rate is 100 times
the mean, its standard error 100 · s / √n with s the standard deviation with n − 1. Items without a verdict are left
out.

**Length control.** Judges like long responses. Dubois et al. (*Length-Controlled AlpacaEval*, 2024, arXiv:2404.04475)
explain the verdict by the system, the length and the instruction, and predict it at equal lengths:

    P(m beats the reference on x) = σ(θ_m + φ_m · tanh(d_mx / s_m) + ψ_m · γ_x),   d_mx = |y_m| − |y_reference|
    length-controlled win rate    = 100 · mean over x of σ(θ_m + ψ_m · γ_x)

(lengths in characters, s_m the standard deviation of d_mx over x; what belongs to the reference is 0). Theirs takes
the difficulties γ_x from a file that was made from the whole leaderboard. Here all systems are fitted jointly
instead, with γ_x as what it is, unobserved:

    γ_x = δ · z_x + ε_x,   ε_x ~ N(0, 1),   z_x = the log of the reference's length, standardised over instructions
    θ_m ~ N(θ̄, 4.5²),   φ_m ~ N(φ̄, 0.3²),   ψ_m ~ N(ψ̄, 0.5²),   φ̄ ~ N(1.7, 0.5²),   ψ̄ ~ N(1, 3²)

ε is integrated out (the marginal likelihood of item response theory, on a grid), everything else is at the maximum of
the posterior. Two choices matter, and `docs/evaluators.md` has what they rest on: z_x, because instructions with
short references are also the easier ones, which would otherwise count as an effect of length; and the spread of φ_m,
because a system whose responses are all shorter than the reference's tells little about equal lengths by itself.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_expit, softmax

from larpo_ir.data.annotations import JUDGEMENT_COLUMNS
from larpo_ir.data.results import require_columns

logger = logging.getLogger("larpo_ir")

Floats: TypeAlias = NDArray[np.float64]

# Means and standard deviations of the normal priors above; those of θ, φ and ψ are around the common mean.
SPREAD = {"theta": 4.5, "phi": 0.3, "psi": 0.5}
COMMON = {"theta": (0.0, 30.0), "phi": (1.7, 0.5), "psi": (1.0, 3.0)}
DELTA_SPREAD = 10.0
# Where difficulties are given there is nothing to identify: ψ may have any scale and sign.
GIVEN_PSI_SPREAD = 10.0
GRID = np.linspace(-4.5, 4.5, 31)


def win_rate(preferences: ArrayLike) -> tuple[float, float]:
    """Win rate in percent and its standard error, 100 · std(ddof=1) / √n (NaN for one preference).

    `preferences`: probabilities that the response beats the reference; 0.5 is a tie. Raises `ValueError` for none,
    for NaN and for values outside [0, 1].

    >>> win_rate([1.0, 0.5, 0.0, 0.5])
    (50.0, 20.41241452319315)
    """
    values = np.asarray(preferences, dtype=float).ravel()
    if not len(values):
        raise ValueError("a win rate needs at least one preference; there is none")
    check_preferences(values, "preferences")
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return 100 * float(values.mean()), 100 * float(error)


def length_controlled_win_rates(
    judgements: pd.DataFrame, difficulty: Mapping[Any, float] | pd.Series[float] | None = None
) -> pd.DataFrame:
    """Win rates and length-controlled win rates of systems that were compared with one reference.

    Args:
        judgements: one row per system and instruction, with the columns `model`, `instruction_id`, `preference` (the
            probability, 0 to 1, that the system beats the reference), `length` and `reference_length` (characters).
            Systems need not have been judged on the same instructions.
        difficulty: γ of every instruction by `instruction_id`, of any scale and sign; None: it is inferred from how
            all systems fare. Of one system alone it cannot be, which a warning tells: the only part of it that is
            then used is what the reference's length tells.

    Returns a frame indexed by `model` (in the order of the judgements) with the columns `win_rate`,
    `length_controlled_win_rate` and `standard_error` (of the win rate), in percent. The module's docstring has the
    definition; each system is averaged over the instructions on which it was judged.

    Raises `ValueError` for missing columns, preferences outside [0, 1], missing or negative lengths, two
    judgements of one response, no judgements, and difficulties that are not finite or lack an instruction.
    """
    check_judgements(judgements)
    table = _Table.of(judgements)
    if difficulty is not None:
        fit = _fit(table, given_difficulty(difficulty, table.instructions), inferred=False)
    elif len(table.models) > 1:
        fit = _fit(table, table.log_reference, inferred=True)
    else:
        warnings.warn(
            f"the difficulty of instructions cannot be told from one system alone ({table.models[0]}): only what the"
            " reference's length tells of it is controlled for; add judgements of other systems, or give difficulty",
            stacklevel=2,
        )
        fit = _fit(table, table.log_reference, inferred=False)
    plain = [win_rate(judgements.loc[judgements["model"] == model, "preference"]) for model in table.models]
    return pd.DataFrame(
        {
            "win_rate": [rate for rate, _ in plain],
            "length_controlled_win_rate": fit.at_equal_lengths(table),
            "standard_error": [error for _, error in plain],
        },
        index=pd.Index(table.models, name="model"),
    )


def check_preferences(values: Floats, what: str) -> None:
    if np.isnan(values).any():
        raise ValueError(
            f"{what}: {int(np.isnan(values).sum())} are missing (NaN); leave out what was not judged"
        )
    wrong = values[(values < 0) | (values > 1)]
    if len(wrong):
        recorded = values.min() >= 1 and values.max() <= 2
        remedy = "; AlpacaEval records them from 1 to 2: subtract 1" if recorded else ""
        raise ValueError(f"{what} must be probabilities from 0 to 1, got {wrong[0]:g}{remedy}")


def check_judgements(judgements: pd.DataFrame) -> None:
    require_columns(judgements, JUDGEMENT_COLUMNS, "length control")
    if judgements.empty:
        raise ValueError("there are no judgements to compute win rates from")
    for column in ("model", "instruction_id"):
        if judgements[column].isna().any():
            raise ValueError(f"judgements: {int(judgements[column].isna().sum())} rows have no {column}")
    for column in ("preference", "length", "reference_length"):
        if not pd.api.types.is_numeric_dtype(judgements[column]):
            raise ValueError(
                f"judgements: the column {column} must hold numbers, not {judgements[column].dtype}"
            )
    check_preferences(judgements["preference"].to_numpy(dtype=float), "judgements: preferences")
    for column in ("length", "reference_length"):
        values = judgements[column].to_numpy(dtype=float)
        wrong = values[~((values >= 0) & np.isfinite(values))]
        if len(wrong):
            raise ValueError(f"judgements: {column} must be a number of characters, got {wrong[0]:g}")
    twice = judgements[judgements.duplicated(["model", "instruction_id"])]
    if len(twice):
        model, instruction = twice[["model", "instruction_id"]].iloc[0]
        raise ValueError(
            f"judgements: {model} was judged more than once on instruction {instruction}; keep one"
        )


def given_difficulty(
    difficulty: Mapping[Any, float] | pd.Series[float], instructions: pd.Index[Any]
) -> Floats:
    table = pd.Series(difficulty)
    if table.index.has_duplicates:
        raise ValueError(
            f"difficulty has instruction {table.index[table.index.duplicated()][0]} more than once"
        )
    missing = instructions.difference(table.index, sort=False)
    if len(missing):
        raise ValueError(
            f"difficulty lacks {len(missing)} of {len(instructions)} instructions, such as {missing[0]}; it needs a"
            " number for every instruction_id"
        )
    try:
        values = np.asarray(table.loc[instructions], dtype=float)
    except (TypeError, ValueError):
        raise ValueError("difficulty must be numbers by instruction_id") from None
    if not np.isfinite(values).all():
        raise ValueError(
            f"difficulty of instruction {instructions[~np.isfinite(values)][0]} is not a finite number"
        )
    return values


# --- The model ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Table:
    """Judgements as arrays [instructions, models]; 0 where there is none."""

    models: list[str]
    instructions: pd.Index[Any]
    judged: Floats
    preference: Floats
    longer: Floats  # tanh(d / s)
    log_reference: Floats  # [instructions]

    @classmethod
    def of(cls, judgements: pd.DataFrame) -> _Table:
        x, instructions = pd.factorize(judgements["instruction_id"])
        m, models = pd.factorize(judgements["model"])
        difference = judgements["length"].astype(float) - judgements["reference_length"]
        scale = difference.groupby(m).transform("std")
        longer = np.tanh(difference / scale.where(scale > 0, np.inf))

        def spread(values: ArrayLike) -> Floats:
            table = np.zeros((len(instructions), len(models)))
            table[x, m] = values
            return table

        return cls(
            list(models),
            pd.Index(instructions),
            spread(1.0),
            spread(judgements["preference"]),
            spread(longer),
            np.log(judgements["reference_length"].clip(lower=1).groupby(x).mean().to_numpy(dtype=float)),
        )


@dataclass(frozen=True)
class _Fit:
    theta: Floats
    psi: Floats
    places: Floats  # [instructions, points]: places on the line of difficulties where an instruction may lie
    posterior: Floats  # [instructions, points]

    def at_equal_lengths(self, table: _Table) -> Floats:
        """Percent, per model."""
        wins = sum(
            weight[:, None] * expit(self.theta + place[:, None] * self.psi)
            for place, weight in zip(self.places.T, self.posterior.T, strict=True)
        )
        return np.asarray(100 * (wins * table.judged).sum(0) / table.judged.sum(0))


def _standardised(values: Floats) -> Floats:
    scale = values.std()
    return (values - values.mean()) / scale if scale > 0 else np.zeros_like(values)


def _fit(table: _Table, known: Floats, inferred: bool) -> _Fit:
    """Posterior mode of θ, φ, ψ, their common means and δ.

    `known`: the known part of the difficulties, [instructions]. `inferred`: whether they are δ · known + ε, or
    `known` itself, which is the same with δ = 1 and ε = 0.
    """
    num_models = len(table.models)
    known = _standardised(known)
    grid = GRID if inferred else np.zeros(1)
    log_prior = -(grid**2) / 2
    precision = np.repeat([SPREAD[name] ** -2.0 for name in ("theta", "phi", "psi")], num_models).reshape(
        3, -1
    )
    if not inferred:
        precision[2] = GIVEN_PSI_SPREAD**-2.0
    common_mean, common_spread = np.array([COMMON[name] for name in ("theta", "phi", "psi")]).T

    def likelihood(each: Floats, delta: float) -> tuple[float, Floats, float, Floats, Floats]:
        """Log-likelihood, its gradients by `each` [3, models] and δ, and the posterior of the places."""
        theta, phi, psi = each
        places = delta * known[:, None] + grid
        given_lengths = theta + phi * table.longer
        fitted, joint = [], np.empty(places.shape)
        for point, place in enumerate(places.T):
            logits = given_lengths + place[:, None] * psi
            losing = log_expit(-logits)
            joint[:, point] = (table.judged * (table.preference * logits + losing)).sum(1)
            fitted.append(-np.expm1(losing))
        joint += log_prior
        posterior = softmax(joint, axis=1)
        top = joint.max(1)
        value = float((top + np.log(np.exp(joint - top[:, None]).sum(1))).sum())
        gradient, by_place = np.zeros_like(each), np.zeros_like(known)
        for wins, place, weight in zip(fitted, places.T, posterior.T, strict=True):
            surprise = weight[:, None] * table.judged * (table.preference - wins)
            gradient += surprise.sum(0), (surprise * table.longer).sum(0), place @ surprise
            by_place += surprise @ psi
        return value, gradient, float(by_place @ known), places, posterior

    def loss(parameters: Floats) -> tuple[float, Floats]:
        each, common, delta = unpack(parameters)
        value, gradient, by_delta, _, _ = likelihood(each, delta)
        off, common_off = each - common[:, None], common - common_mean
        value -= ((precision * off**2).sum() + ((common_off / common_spread) ** 2).sum()) / 2
        gradient -= precision * off
        by_common = (precision * off).sum(1) - common_off / common_spread**2
        if inferred:
            value -= (delta / DELTA_SPREAD) ** 2 / 2
            by_delta -= delta / DELTA_SPREAD**2
        return -value, -np.concatenate([gradient.ravel(), by_common, [by_delta] if inferred else []])

    def unpack(parameters: Floats) -> tuple[Floats, Floats, float]:
        each, common = parameters[: 3 * num_models].reshape(3, -1), parameters[3 * num_models :][:3]
        return each, common, parameters[-1] if inferred else 1.0

    start = np.concatenate([np.repeat(common_mean, num_models), common_mean, [0.0] if inferred else []])
    options = {"maxiter": 2000, "maxfun": 4000, "ftol": 1e-10, "gtol": 1e-5}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    if found.status == 1:
        logger.warning(
            f"length control: no convergence within {options['maxiter']} steps; the values are approximate"
        )
    each, _, delta = unpack(found.x)
    _, _, _, places, posterior = likelihood(each, delta)
    return _Fit(each[0], each[2], places, posterior)
