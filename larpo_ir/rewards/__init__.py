"""Rerankers of responses: a reward is a relevance score, and Best-of-N is reranking.

Every reward is a `pt.Transformer` from results to results: `score := reward`, re-ranked, every other column kept. So
`Generator(...) % 8 >> RewardModel(...)` is Best-of-8, and all of PyTerrier's operators and experiments apply. Equal
rewards keep the order of retrieval (see `larpo_ir.data.results`). A missing reward (NaN) is ranked last.

A judge compares a response with a reference to the same query, see `larpo_ir.rewards.judges`.
"""

from larpo_ir.rewards.ensemble import RewardEnsemble
from larpo_ir.rewards.judges import Judge, RecordedJudge, RewardJudge, ServedJudge
from larpo_ir.rewards.logprob import LogProb
from larpo_ir.rewards.models import RewardModel
from larpo_ir.rewards.pairwise import PairwiseRewardModel
from larpo_ir.rewards.refine import Refine
from larpo_ir.rewards.reranker import Reranker
from larpo_ir.rewards.verifiable import VerifiableReward
from larpo_ir.rewards.votes import MajorityVote

__all__ = [
    "Judge",
    "LogProb",
    "MajorityVote",
    "PairwiseRewardModel",
    "RecordedJudge",
    "Refine",
    "Reranker",
    "RewardEnsemble",
    "RewardJudge",
    "RewardModel",
    "ServedJudge",
    "VerifiableReward",
]
