"""Main table: offline baselines, iterative DPO and LarPO with its three losses."""

from benchmarks.paper.claims import Claim
from benchmarks.paper.study import Alignments, sampler

# The baselines learn from one round of candidates, the best against the worst. The configuration gives them more
# epochs, so that they take as many steps as the iterative methods.
OFFLINE = {
    "RRHF": "rrhf",
    "SLiC-HF": "slic_hf",
    "DPO": "dpo",
    "IPO": "ipo",
    "CPO": "cpo",
    "KTO": "kto",
    "R-DPO": "rdpo",
    "SimPO": "simpo",
}
LARPO = {
    "LarPO contrastive": ("larpo_contrastive", sampler("TopBottom", top=1, bottom=3)),
    "LarPO LambdaRank": ("larpo_lambdarank", sampler("TopBottom", top=2, bottom=2)),
    "LarPO ListMLE": ("larpo_listmle", sampler("TopBottom", top=2, bottom=2)),
}

STUDY = Alignments(
    name="main_table",
    title="method",
    heading="Main table: LarPO against preference optimisation",
    what="Offline methods learn from the best and the worst of 10 candidates of the SFT policy, in as many steps as "
    "the others take; iterative DPO from 2 fresh candidates per prompt and iteration; LarPO from 10, earlier ones "
    "remembered. The paper (reward model PairRM): AlpacaEval 2 LC win rate / win rate, MixEval, MixEval-Hard.",
    overrides={
        **{
            name: {"objective": objective, "num_candidates": 10, "sampler": sampler("BestWorst")}
            for name, objective in OFFLINE.items()
        },
        "Iterative DPO": {
            "objective": "dpo",
            "num_candidates": 2,
            "memory": "current",
            "sampler": sampler("BestWorst"),
        },
        **{
            name: {"objective": objective, "num_candidates": 10, "memory": "all", "sampler": chosen}
            for name, (objective, chosen) in LARPO.items()
        },
    },
    reported={
        name: {"Mistral-Base": base, "Mistral-Instruct": instruct}
        for name, base, instruct in (
            ("SFT", "8.4 / 6.2, 0.602, 0.279", "17.1 / 14.7, 0.707, 0.361"),
            ("RRHF", "11.6 / 10.2, 0.600, 0.312", "25.3 / 24.8, 0.700, 0.380"),
            ("SLiC-HF", "10.9 / 8.9, 0.679, 0.334", "24.1 / 24.6, 0.700, 0.381"),
            ("DPO", "15.1 / 12.5, 0.686, 0.341", "26.8 / 24.9, 0.702, 0.355"),
            ("IPO", "11.8 / 9.4, 0.673, 0.326", "20.3 / 20.3, 0.695, 0.376"),
            ("CPO", "9.8 / 8.9, 0.632, 0.307", "23.8 / 28.8, 0.699, 0.405"),
            ("KTO", "13.1 / 9.1, 0.704, 0.351", "24.5 / 23.6, 0.692, 0.358"),
            ("R-DPO", "17.4 / 12.8, 0.693, 0.355", "27.3 / 24.5, 0.695, 0.364"),
            ("SimPO", "21.5 / 20.8, 0.672, 0.347", "32.1 / 34.8, 0.702, 0.363"),
            ("Iterative DPO", "18.9 / 16.7, 0.660, 0.341", "20.4 / 24.8, 0.719, 0.389"),
            ("LarPO contrastive", "31.6 / 30.8, 0.703, 0.409", "32.7 / 38.6, 0.718, 0.418"),
            ("LarPO LambdaRank", "34.9 / 37.2, 0.695, 0.452", "32.9 / 38.9, 0.720, 0.417"),
            ("LarPO ListMLE", "31.1 / 32.1, 0.669, 0.390", "29.7 / 36.2, 0.709, 0.397"),
        )
    },
    claims=(
        *(
            Claim(f"{name} improves on SFT", better=(name,), worse=("SFT",))
            for name in (*OFFLINE, "Iterative DPO", *LARPO)
        ),
        *(
            Claim(f"LarPO (mean of its losses) beats {name}", better=tuple(LARPO), worse=(name,))
            for name in (*OFFLINE, "Iterative DPO")
        ),
    ),
)
