"""Inclusiveness: the number of candidates retrieved per prompt."""

from benchmarks.paper.claims import Claim
from benchmarks.paper.study import Alignments, sampler

SIZES = (4, 6, 8, 10)

STUDY = Alignments(
    name="list_size",
    title="candidates",
    heading="Candidate lists: inclusiveness",
    what="The best of 4 to 10 candidates against all others, contrastive loss. The paper shows a curve: more is "
    "better.",
    overrides={
        f"{size} candidates": {
            "objective": "larpo_contrastive", "num_candidates": size, "sampler": sampler("TopVersusRest"),
        }
        for size in SIZES
    },
    claims=(
        Claim("10 candidates beat 4", better=("10 candidates",), worse=("4 candidates",)),
        Claim(
            "longer lists (8, 10) beat shorter ones (4, 6)",
            better=("8 candidates", "10 candidates"), worse=("4 candidates", "6 candidates"),
        ),
    ),
)  # fmt: skip
