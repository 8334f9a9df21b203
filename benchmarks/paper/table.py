"""All experiments, in the order of the page."""

from benchmarks.paper import (
    inference,
    list_size,
    main_table,
    memory,
    negatives,
    objectives,
    recall_pass,
    reward_model,
    sft_dpo,
    temperature,
    tuning,
)
from benchmarks.paper.study import PaperStudy

PAPER = (
    main_table,
    objectives,
    negatives,
    temperature,
    list_size,
    memory,
    sft_dpo,
    recall_pass,
    inference,
    reward_model,
)
STUDIES: dict[str, PaperStudy] = {module.STUDY.name: module.STUDY for module in (*PAPER, tuning)}
"""Studies of the paper, and the tuning before them, which runs only if it is named."""
