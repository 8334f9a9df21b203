"""Settings of the iterative loop, checked before anything runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from larpo_ir.data.negatives import BestWorst, Sampler, TopBottom, get_sampler
from larpo_ir.data.options import folder, like_the_default, mapping, number, one_of, whole
from larpo_ir.objectives import get_objective
from larpo_ir.training.config import LarPOConfig

MEMORIES = ("current", "previous", "all")
REFERENCES = ("behavior", "initial")
EVALUATED = ("each", "last")
# The lists of the paper's main table; every other objective compares the best response with the worst.
PAPER_SAMPLERS: dict[str, Sampler] = {
    "larpo_contrastive": TopBottom(1, 3),
    "larpo_lambdarank": TopBottom(2, 2),
    "larpo_listmle": TopBottom(2, 2),
}


@dataclass
class AlignConfig:
    """Settings of `align`.

    **Loop.** `iterations`; `prompts_per_iteration` (None: all, every iteration); `num_candidates` per prompt;
    `temperatures`: one number, or one entry per iteration (the last repeats), an entry being a number or several
    to share among a prompt's candidates.

    **Lists.** `memory`: which iterations' candidates are merged, `current`, `previous` (and current), `all`,
    or a number of earlier iterations. `sampler`: how a training list is selected, by object or by name; None
    takes the paper's for the objective (`PAPER_SAMPLERS`, otherwise best against worst).

    **Objective.** `objective` and its `objective_parameters` (`beta`, …). `reference`: π_ref is the policy at the
    start of the iteration (`behavior`, the paper's) or the one before any alignment (`initial`).

    **Training.** `training`: any field of `LarPOConfig`, such as `learning_rate`, `num_train_epochs`,
    `per_device_train_batch_size` (lists, not responses), anew in every iteration.

    **Evaluation.** `eval_samples` at `eval_temperature` per held-out prompt; `correct_at`: the reward from which
    a response counts as correct (None: 1 if all rewards are 0 or 1, otherwise accuracy and Pass@N are null).
    `evaluate`: after `each` iteration, or, cheaper, before alignment and after the `last` alone.

    Raises `ValueError` for unknown names (listing the choices) and numbers out of range.
    """

    output_dir: str = "runs/align"
    objective: str = "larpo_lambdarank"
    objective_parameters: dict[str, Any] = field(default_factory=dict)
    iterations: int = 3
    prompts_per_iteration: int | None = None
    num_candidates: int = 10
    temperatures: float | list[float | list[float]] = 1.0
    sampler: Sampler | str | None = None
    memory: int | str = "all"
    reference: Literal["behavior", "initial"] = "behavior"
    training: dict[str, Any] = field(default_factory=dict)
    eval_samples: int = 16
    eval_temperature: float = 1.0
    correct_at: float | None = None
    evaluate: Literal["each", "last"] = "each"
    seed: int = 0
    task: str = ""

    def __post_init__(self) -> None:
        self.output_dir = folder(self.output_dir, "output_dir")
        for name in ("iterations", "num_candidates", "eval_samples"):
            whole(getattr(self, name), name, 1)
        whole(self.seed, "seed", 0)
        if self.prompts_per_iteration is not None:
            whole(self.prompts_per_iteration, "prompts_per_iteration", 1)
        number(self.eval_temperature, "eval_temperature", 0)
        if self.correct_at is not None:
            number(self.correct_at, "correct_at")
        if isinstance(self.memory, int) and not isinstance(self.memory, bool):
            whole(self.memory, "memory", 0)
        elif self.memory not in MEMORIES:
            raise ValueError(
                f"unknown memory {self.memory!r}; choose {', '.join(MEMORIES)} or a number of iterations"
            )
        one_of(self.evaluate, "evaluate", EVALUATED)
        one_of(self.reference, "reference", REFERENCES)
        self._check_temperatures()
        self._check_objective()
        fields = {option.name: option for option in dataclasses.fields(LarPOConfig)}
        unknown = set(mapping(self.training, "training")) - set(fields)
        if unknown:
            raise ValueError(
                f"training has no setting {', '.join(sorted(unknown))}; it takes the fields of LarPOConfig"
            )
        self.training = {
            name: like_the_default(value, fields[name], f"training.{name}")
            for name, value in self.training.items()
        }
        if "chat" in self.training:
            raise ValueError("training.chat is said by the generator here: give it generator.chat")
        if isinstance(self.sampler, str):
            self.sampler = get_sampler(self.sampler)
        self.training_arguments(0, Path(self.output_dir))

    def _check_objective(self) -> None:
        """Numbers where the objective has numbers; unknown names are refused by the objective itself."""
        mapping(self.objective_parameters, "objective_parameters")
        defaults = get_objective(self.objective).parameters
        for name, value in self.objective_parameters.items():
            if isinstance(defaults.get(name), float) and value is not None:
                number(value, f"objective_parameters.{name}")

    def _check_temperatures(self) -> None:
        if isinstance(self.temperatures, list) and not self.temperatures:
            raise ValueError("temperatures is empty; give one number, or one entry per iteration")
        entries = self.temperatures if isinstance(self.temperatures, list) else [self.temperatures]
        for entry in entries:
            for value in entry if isinstance(entry, list) and entry else [entry]:
                number(value, "temperatures", 0)

    @property
    def chosen_sampler(self) -> Sampler:
        """The sampler, or where none is given the paper's for the objective."""
        if self.sampler is None:
            return PAPER_SAMPLERS.get(self.objective, BestWorst())
        return cast("Sampler", self.sampler)  # a name has become an object when the settings were checked

    def temperature(self, iteration: int) -> float | list[float]:
        if not isinstance(self.temperatures, list):
            return self.temperatures
        return self.temperatures[min(iteration, len(self.temperatures) - 1)]

    def training_arguments(self, iteration: int, directory: Path) -> LarPOConfig:
        parameters = {"beta": None, **self.objective_parameters}
        ours = {
            "output_dir": str(directory),
            "objective": self.objective,
            "beta": parameters.pop("beta"),
            "objective_parameters": parameters,
            "seed": self.seed + iteration,
            "chat": False,  # prompts of the lists are already what the generator asked, a chat or not
        }
        return LarPOConfig(**{"save_strategy": "no", "report_to": "none", **self.training, **ours})
