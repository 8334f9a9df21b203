"""Hard-negative samplers: from one prompt's ranked candidates to a training list.

A sampler is called with one prompt's candidates (a results frame) and a random generator. It returns the rows to
learn from, best first, with all their columns, or None when there is nothing to learn: fewer than two distinct
responses, or all rewards equal. `score` is the relevance. These rules hold for all of them:

* rows without a finite score are dropped, and of rows with one `docno` the best stays;
* rewards tie all the time (right or wrong), so ties are broken at random by `rng`, also at a cut;
* no row occurs twice, however few there are;
* the rows may come in any order.

How hard the negatives are, easiest first: responses to unrelated prompts (`FromOtherPrompts()`), to related ones
(`FromOtherPrompts(related=True)`), worse responses to this prompt sampled hot (`Temperature(1.0)`), and sampled
cooler (`Temperature(0.7)`); Jin et al., *LLM Alignment as Retriever Optimization*, ICML 2025, arXiv:2502.03699.

    own_prompt         negatives are other responses to the same prompt
    other_prompts      negatives are responses to other prompts
    false_negatives    a filter in front of another sampler
    table              the samplers by name
    training_lists     lists of all prompts
"""

from larpo_ir.data.negatives.false_negatives import WithoutFalseNegatives
from larpo_ir.data.negatives.other_prompts import FromOtherPrompts
from larpo_ir.data.negatives.own_prompt import BestWorst, RandomPair, Temperature, TopBottom, TopVersusRest
from larpo_ir.data.negatives.table import SAMPLERS, available_samplers, get_sampler
from larpo_ir.data.negatives.training_lists import SamplerLike, rng_of, sample_lists
from larpo_ir.data.sampling import Sampler

__all__ = [
    "SAMPLERS",
    "BestWorst",
    "FromOtherPrompts",
    "RandomPair",
    "Sampler",
    "SamplerLike",
    "Temperature",
    "TopBottom",
    "TopVersusRest",
    "WithoutFalseNegatives",
    "available_samplers",
    "get_sampler",
    "rng_of",
    "sample_lists",
]
