"""Rerankers of responses: a reward is a relevance score, and Best-of-N is reranking.

Every reward is a `pt.Transformer` from results to results: `score := reward`, re-ranked, every other column kept. So
`Generator(...) % 8 >> RewardModel(...)` is Best-of-8, and all of PyTerrier's operators and experiments apply. Equal
rewards keep the order of retrieval (see `larpo_ir.data.results`). A missing reward (NaN) is ranked last.

A judge compares a response with a reference to the same query, see `larpo_ir.rewards.judges`.
"""

from larpo_ir.rewards.ensemble import RewardEnsemble as RewardEnsemble
from larpo_ir.rewards.judges import Judge as Judge
from larpo_ir.rewards.judges import RecordedJudge as RecordedJudge
from larpo_ir.rewards.judges import RewardJudge as RewardJudge
from larpo_ir.rewards.judges import ServedJudge as ServedJudge
from larpo_ir.rewards.logprob import LogProb as LogProb
from larpo_ir.rewards.models import RewardModel as RewardModel
from larpo_ir.rewards.pairwise import PairwiseRewardModel as PairwiseRewardModel
from larpo_ir.rewards.refine import Refine as Refine
from larpo_ir.rewards.reranker import Reranker as Reranker
from larpo_ir.rewards.verifiable import VerifiableReward as VerifiableReward
from larpo_ir.rewards.votes import MajorityVote as MajorityVote
