"""Settings of the iterative loop, checked before anything runs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

# The package is named and `LarPOConfig` is not, so that reading settings does not load torch and transformers.
import larpo_ir.training
from larpo_ir.data.negatives import BestWorst, Sampler, TopBottom, get_sampler
from larpo_ir.data.options import folder, like_the_default, mapping, number, one_of, whole
from larpo_ir.data.pool import MEMORIES
from larpo_ir.data.settings import described, documented

REFERENCES = ("behavior", "initial")
EVALUATED = ("each", "last")
# The lists of the paper's main table; every other objective compares the best response with the worst.
PAPER_SAMPLERS: dict[str, Sampler] = {
    "larpo_contrastive": TopBottom(1, 3),
    "larpo_lambdarank": TopBottom(2, 2),
    "larpo_listmle": TopBottom(2, 2),
}
# Whole numbers, each with the least value that it may have.
LEAST = {"iterations": 1, "num_candidates": 1, "eval_samples": 1, "seed": 0}


@documented
@dataclass
class AlignConfig:
    """Settings of `align`. Raises `ValueError` for unknown names (listing the choices) and numbers out of range."""

    output_dir: str = field(default="runs/align", metadata=described("Run", "folder of the alignment run"))
    objective: str = field(
        default="larpo_lambdarank",
        metadata=described(
            "Objective", "name of the objective; `larpo-ir objectives` prints them with their formulas"
        ),
    )
    objective_parameters: dict[str, Any] = field(
        default_factory=dict,
        metadata=described(
            "Objective",
            "parameters of the objective by name, such as beta; those left out keep the objective's defaults",
        ),
    )
    iterations: int = field(
        default=3,
        metadata=described("Loop", "number of iterations: sample, rank, select lists, train, measure"),
    )
    prompts_per_iteration: int | None = field(
        default=None,
        metadata=described(
            "Loop",
            "number of prompts of an iteration, drawn at random until all were used, and then anew; by default all",
        ),
    )
    num_candidates: int = field(
        default=10, metadata=described("Loop", "number of responses sampled per prompt and iteration")
    )
    temperatures: float | list[float | list[float]] = field(
        default=1.0,
        metadata=described(
            "Loop",
            "sampling temperature: one number, or a list with an entry per iteration, of which the last repeats. An"
            " entry is a number, or several that a prompt's candidates share in turn; 0 is greedy decoding",
        ),
    )
    sampler: Sampler | str | None = field(
        default=None,
        metadata=described(
            "Lists",
            "rule that selects a training list from a prompt's candidates, by class or by name; by default the"
            " paper's for the objective (1 best and 3 worst for larpo_contrastive, 2 and 2 for larpo_lambdarank and"
            " larpo_listmle), and for any other objective the best against the worst",
        ),
    )
    memory: int | str = field(
        default="all",
        metadata=described(
            "Lists",
            "iterations whose candidates are merged: current; previous, which includes the current one; all; or the"
            " number of earlier iterations",
        ),
    )
    reference: Literal["behavior", "initial"] = field(
        default="behavior",
        metadata=described(
            "Objective",
            "policy that is π_ref: behavior is the policy at the start of the iteration, as in the paper; initial is"
            " the one before any alignment",
        ),
    )
    training: dict[str, Any] = field(
        default_factory=dict,
        metadata=described(
            "Training",
            "fields of LarPOConfig by name, such as learning_rate, num_train_epochs and per_device_train_batch_size"
            " (which counts lists, not responses); every iteration trains with them anew",
        ),
    )
    eval_samples: int = field(
        default=16, metadata=described("Evaluation", "number of responses sampled per held-out prompt")
    )
    eval_temperature: float = field(
        default=1.0, metadata=described("Evaluation", "sampling temperature of these responses")
    )
    correct_at: float | None = field(
        default=None,
        metadata=described(
            "Evaluation",
            "reward from which a response counts as correct; by default 1 where all rewards are 0 or 1, and otherwise"
            " accuracy and Pass@N are null",
        ),
    )
    evaluate: Literal["each", "last"] = field(
        default="each",
        metadata=described(
            "Evaluation",
            "when held-out prompts are measured: each is after every iteration; last, which is cheaper, is before"
            " alignment and after the last iteration",
        ),
    )
    seed: int = field(default=0, metadata=described("Run", "seed of sampling, selection and training"))
    task: str = field(default="", metadata=described("Run", "name of the task, for reports alone"))

    def __post_init__(self) -> None:
        self.output_dir = folder(self.output_dir, "output_dir")
        for name, least in LEAST.items():
            whole(getattr(self, name), name, least)
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
        self._check_training()
        if isinstance(self.sampler, str):
            self.sampler = get_sampler(self.sampler)
        self.training_arguments(0, Path(self.output_dir))

    def _check_training(self) -> None:
        """Fields of `LarPOConfig` with values of their kinds; a number in quotes becomes one."""
        fields = {option.name: option for option in dataclasses.fields(larpo_ir.training.LarPOConfig)}
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

    def _check_objective(self) -> None:
        """Numbers where the objective has numbers; unknown names are refused by the objective itself."""
        from larpo_ir.objectives import get_objective

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
        """Sampling temperature of an iteration, or the several that its candidates share."""
        if not isinstance(self.temperatures, list):
            return self.temperatures
        return self.temperatures[min(iteration, len(self.temperatures) - 1)]

    def training_arguments(self, iteration: int, directory: Path) -> larpo_ir.training.LarPOConfig:
        """Settings of the trainer in an iteration, whose checkpoints and logs go to `directory`."""
        parameters = {"beta": None, **self.objective_parameters}
        ours = {
            "output_dir": str(directory),
            "objective": self.objective,
            "beta": parameters.pop("beta"),
            "objective_parameters": parameters,
            "seed": self.seed + iteration,
            "chat": False,  # prompts of the lists are already what the generator asked, a chat or not
        }
        return larpo_ir.training.LarPOConfig(
            **{"save_strategy": "no", "report_to": "none", **self.training, **ours}
        )
