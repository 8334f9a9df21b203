"""Recall@N of a language model, Pass@N, over N and sampling temperature."""

from functools import partial
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from benchmarks.paper.claims import Claim
from benchmarks.paper.setup import Setup
from benchmarks.paper.study import Measurements
from larpo_ir.evaluation.figures import Panel, curves_figure
from larpo_ir.evaluation.studies import Study
from larpo_ir.evaluation.tables import curve

TEMPERATURES = (0.3, 0.5, 0.7, 1.0, 1.3)
NS = (1, 2, 4, 8, 16, 32, 64)


def sampled(temperature: float, setup: Setup, seed: int, folder: Path) -> pd.DataFrame:
    """Pass@N of the policy before alignment at a temperature."""
    from larpo_ir.evaluation.measures import evaluate_per_query, judge

    generator, reward = setup.parts(seed)
    generator = generator.replace(temperature=temperature, num_candidates=setup.sampling["num_samples"])
    samples = (generator >> reward).transform(setup.held_out)
    return evaluate_per_query(samples, judge(samples), [f"Pass@{n}" for n in NS])


def drawn(study: Study) -> Figure:
    """A curve per temperature."""
    curves = {name: curve(study.per_query(name), "Pass") for name in study.values}
    return curves_figure([Panel("policy before alignment", curves)])


STUDY = Measurements(
    name="recall_pass",
    title="temperature",
    heading="Recall@N and Pass@N",
    what="The policy before alignment sampled at several temperatures; Pass@N by the unbiased estimator. The "
    "paper shows Mathstral on GSM8K beside E5 on NQ: both rise alike with N, and the curves of two temperatures "
    "cross. The retriever's half is in [nq.md](nq.md).",
    figure=drawn,
    measured={f"T = {t}": partial(sampled, t) for t in TEMPERATURES},
    claims=(
        Claim("at N = 1 cool sampling (0.3) beats hot (1.0)", ("T = 0.3",), ("T = 1.0",), "Pass@1"),
        Claim("at N = 64 hot sampling (1.0) beats cool (0.3)", ("T = 1.0",), ("T = 0.3",), "Pass@64"),
    ),
)
