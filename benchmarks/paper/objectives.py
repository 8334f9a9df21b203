"""Objective study: four ranking losses under one loop."""

from benchmarks.paper.claims import Claim
from benchmarks.paper.study import Alignments, sampler

LISTS = {"num_candidates": 4, "sampler": sampler("TopBottom", top=2, bottom=2)}

STUDY = Alignments(
    name="objectives",
    title="objective",
    heading="Objectives",
    what="Two candidates a prompt for the pairwise loss, four for the others; the best against the rest under the "
    "contrastive loss, all four under ListMLE and LambdaRank. The paper: AlpacaEval 2, LC win rate / win rate.",
    overrides={
        "pairwise (DPO)": {"objective": "dpo", "num_candidates": 2, "sampler": sampler("BestWorst")},
        "contrastive": {
            "objective": "larpo_contrastive",
            "num_candidates": 4,
            "sampler": sampler("TopVersusRest"),
        },
        "ListMLE": {"objective": "larpo_listmle", **LISTS},
        "LambdaRank": {"objective": "larpo_lambdarank", **LISTS},
    },
    reported={
        "SFT": {"Gemma2-2b-it": "36.4 / 38.3", "Mistral-7b-it": "21.1 / 14.2"},
        "pairwise (DPO)": {"Gemma2-2b-it": "41.4 / 54.6", "Mistral-7b-it": "36.4 / 41.9"},
        "contrastive": {"Gemma2-2b-it": "43.4 / 56.8", "Mistral-7b-it": "38.4 / 42.6"},
        "ListMLE": {"Gemma2-2b-it": "49.8 / 62.1", "Mistral-7b-it": "38.0 / 43.0"},
        "LambdaRank": {"Gemma2-2b-it": "43.8 / 60.6", "Mistral-7b-it": "40.3 / 46.2"},
    },
    claims=(
        Claim(
            "every loss improves on SFT: pairwise",
            better=("pairwise (DPO)",),
            worse=("SFT",),
        ),
        Claim("… contrastive", better=("contrastive",), worse=("SFT",)),
        Claim("… ListMLE", better=("ListMLE",), worse=("SFT",)),
        Claim("… LambdaRank", better=("LambdaRank",), worse=("SFT",)),
        Claim("contrastive beats pairwise", better=("contrastive",), worse=("pairwise (DPO)",)),
        Claim("ListMLE beats pairwise", better=("ListMLE",), worse=("pairwise (DPO)",)),
        Claim("LambdaRank beats pairwise", better=("LambdaRank",), worse=("pairwise (DPO)",)),
        Claim(
            "losses over whole lists (ListMLE, LambdaRank) beat contrastive",
            better=("ListMLE", "LambdaRank"),
            worse=("contrastive",),
        ),
    ),
)
