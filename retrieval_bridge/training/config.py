"""Settings of the loop that trains a retriever on its own candidates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from larpo_ir.data.negatives import Sampler
from larpo_ir.data.pool import MEMORIES, Memory
from larpo_ir.data.settings import described, documented
from retrieval_bridge.retrieval.measures import MEASURES
from retrieval_bridge.training.negatives import Negatives

REFERENCES = ("behavior", "initial", None)


@documented
@dataclass
class IterativeConfig:
    """Settings of `align_retriever`.

    Raises `ValueError` for unknown names and numbers out of range.
    """

    output_dir: str = field(default="runs/retriever", metadata=described("Run", "folder of the run"))
    iterations: int = field(
        default=3,
        metadata=described("Loop", "number of iterations: retrieve, judge, select lists, train, measure"),
    )
    depth: int = field(
        default=30,
        metadata=described("Loop", "number of candidates: passages retrieved per topic and iteration"),
    )
    sampler: Sampler = field(
        default_factory=Negatives,
        metadata=described("Loop", "sampler that chooses a training list from a topic's candidates"),
    )
    memory: Memory = field(
        default="all",
        metadata=described(
            "Loop",
            "iterations whose candidates are learnt from: current, previous (and current), all, or a number of"
            " earlier iterations",
        ),
    )
    loss: str = field(
        default="lambdarank", metadata=described("Loss", "any loss that larpo-ir losses prints")
    )
    temperature: float = field(default=0.05, metadata=described("Loss", "τ in s = sim/τ"))
    beta: float = field(default=1.0, metadata=described("Loss", "β of the implicit reward"))
    reference: Literal["behavior", "initial"] | None = field(
        default="behavior",
        metadata=described(
            "Loss",
            "reference of the implicit reward: the encoder at the start of the iteration (behavior) or before the"
            " first (initial); null trains s = sim/τ instead",
        ),
    )
    index: str = field(default="Flat", metadata=described("Loop", "FAISS factory string of the index"))
    training: dict[str, Any] = field(
        default_factory=dict,
        metadata=described("Training", "arguments of SentenceTransformerTrainingArguments, as a mapping"),
    )
    measures: list[str] = field(
        default_factory=lambda: list(MEASURES),
        metadata=described("Evaluation", "measures on the held-out topics, as ir_measures names them"),
    )
    seed: int = field(default=0, metadata=described("Run", "seed of the choice of lists and of training"))

    def __post_init__(self) -> None:
        for name in ("iterations", "depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not isinstance(self.memory, int) and self.memory not in MEMORIES:
            raise ValueError(
                f"unknown memory {self.memory!r}; choose {', '.join(MEMORIES)} or a number of iterations"
            )
        if self.reference not in REFERENCES:
            raise ValueError(f"unknown reference {self.reference!r}; choose behavior, initial or none")
        from larpo_ir.losses import get_loss

        get_loss(self.loss)
