from .config import LarPOConfig as LarPOConfig
from .logprob_cache import LogprobCache as LogprobCache
from .reference import fixed_logprobs as fixed_logprobs
from .reference import frame_logprobs as frame_logprobs
from .trainer import LarPOTrainer as LarPOTrainer
