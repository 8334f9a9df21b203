"""Tasks: topics from a task's own files, and grades of responses to them.

    table          the tasks that `larpo-ir evaluate --task` knows, and `evaluate_task`
    evaluation     recorded responses, graded one by one, as a folder of files
    gsm8k, math, mixeval     topics and graders
    alpaca_eval    responses compared with a reference's; `verdicts`, `win_rates`: of a judge
    arithmetic     the embedded task of the quickstart

Names are imported on first use, so that a grader loads neither another task nor torch nor PyTerrier.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
