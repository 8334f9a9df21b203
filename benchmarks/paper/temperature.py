"""Sampling temperature of the candidates: cooler candidates are harder, until all of them are alike."""

from benchmarks.paper.claims import Claim
from benchmarks.paper.study import Alignments

TEMPERATURES = (0.4, 0.7, 1.0, 1.3)

STUDY = Alignments(
    name="temperature",
    title="temperature",
    heading="Sampling temperature",
    what="The same loop, candidates sampled cooler or hotter. The paper shows a curve with its optimum inside.",
    overrides={f"T = {t}": {"temperatures": t} for t in TEMPERATURES},
    claims=(
        Claim("there is an optimum: 1.0 beats 0.4", better=("T = 1.0",), worse=("T = 0.4",)),
        Claim("… and 0.7 beats 1.3", better=("T = 0.7",), worse=("T = 1.3",)),
    ),
)
