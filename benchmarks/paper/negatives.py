"""Hard negatives: the source of the worse response of a pair."""

from benchmarks.paper.claims import Claim
from benchmarks.paper.study import Alignments, sampler

STUDY = Alignments(
    name="negatives",
    title="negative",
    heading="Negatives, easy to hard",
    what="A correct response against one worse response: to an unrelated prompt, to the most related other prompt "
    "(BM25), a wrong one to this prompt sampled at T = 1, and one sampled at T = 0.7. The paper shows curves: "
    "accuracy on GSM8K rises with hardness.",
    overrides={
        "easy: unrelated prompt": {"sampler": sampler("FromOtherPrompts", num_negatives=1)},
        "medium: related prompt": {"sampler": sampler("FromOtherPrompts", num_negatives=1, related=True)},
        "hard: T = 1": {"sampler": sampler("RandomPair"), "temperatures": 1.0},
        "hardest: T = 0.7": {"sampler": sampler("RandomPair"), "temperatures": 0.7},
    },
    claims=(
        Claim(
            "related prompts' responses beat unrelated ones",
            better=("medium: related prompt",), worse=("easy: unrelated prompt",),
        ),
        Claim(
            "wrong responses to the prompt beat other prompts' responses",
            better=("hard: T = 1", "hardest: T = 0.7"),
            worse=("easy: unrelated prompt", "medium: related prompt"),
        ),
        Claim(
            "cooler negatives beat hotter ones (greedy)",
            better=("hardest: T = 0.7",), worse=("hard: T = 1",), measure="greedy",
        ),
        Claim("cooler negatives beat hotter ones", better=("hardest: T = 0.7",), worse=("hard: T = 1",)),
    ),
)  # fmt: skip
