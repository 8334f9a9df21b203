"""Memorisation: candidates of one or more iterations, sampled at one temperature or two."""

from benchmarks.paper.claims import Claim
from benchmarks.paper.study import Alignments, sampler

PAIRS = {"objective": "dpo", "num_candidates": 2, "sampler": sampler("BestWorst"), "temperatures": 1.0}

STUDY = Alignments(
    name="memory",
    title="candidates of",
    heading="Candidate lists: memory, and diverse temperatures",
    what="Iterative DPO on the best and the worst of 2 new candidates per prompt and those remembered; in the last "
    "row one of the two is sampled at T = 0.5. The paper: AlpacaEval 2 by an open judge, LC win rate / win "
    "rate, Gemma2-2b-it.",
    overrides={
        "current": {**PAIRS, "memory": "current"},
        "+ previous": {**PAIRS, "memory": "previous"},
        "+ all previous": {**PAIRS, "memory": "all"},
        "+ all previous, T in {1, 0.5}": {**PAIRS, "memory": "all", "temperatures": [[1.0, 0.5]]},
    },
    reported={
        "SFT": {"paper": "47.0 / 48.4"},
        "current": {"paper": "55.1 / 66.6"},
        "+ previous": {"paper": "55.6 / 70.9"},
        "+ all previous": {"paper": "56.0 / 72.5"},
    },
    claims=(
        Claim("the previous iteration's candidates help", better=("+ previous",), worse=("current",)),
        Claim("all earlier candidates help more", better=("+ all previous",), worse=("+ previous",)),
        Claim("all earlier candidates help", better=("+ all previous",), worse=("current",)),
        Claim(
            "two temperatures beat one",
            better=("+ all previous, T in {1, 0.5}",), worse=("+ all previous",),
        ),
    ),
)  # fmt: skip
