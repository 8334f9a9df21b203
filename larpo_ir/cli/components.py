"""Kinds of components that options of `larpo-ir` take. The classes imported here may be given by their bare names.

`--generator OpenAIGenerator` needs no import path, because that class is loaded when the options are read.
"""

from __future__ import annotations

from typing import TypeAlias

from larpo_ir.models.generators import Generator
from larpo_ir.models.responses import ResponseGenerator
from larpo_ir.models.served import OpenAIGenerator
from larpo_ir.rewards import Reranker
from larpo_ir.rewards.judges import Judge

# A command line that gives options of a generator and no class means `Generator`, because it stands first.
AnyGenerator: TypeAlias = Generator | ResponseGenerator
AnyJudge: TypeAlias = Judge | ResponseGenerator

__all__ = ["AnyGenerator", "AnyJudge", "OpenAIGenerator", "Reranker"]
