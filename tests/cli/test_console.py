"""Plain output: transformers, datasets and the hub stay quiet, whether they are loaded before or after."""

from __future__ import annotations

import subprocess
import sys

import pytest

QUIET = "from larpo_ir.data.console import plain_output; plain_output()"
LIBRARIES = "import datasets, transformers, huggingface_hub.utils as hub"
TOLD = """\
print(
    transformers.logging.get_verbosity(), transformers.utils.logging.is_progress_bar_enabled(),
    datasets.are_progress_bars_disabled(), hub.are_progress_bars_disabled(),
)
"""


@pytest.mark.parametrize("order", [(QUIET, LIBRARIES), (LIBRARIES, QUIET)], ids=["before", "after"])
def test_libraries_are_quiet(order):
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*order, TOLD])], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["40", "False", "True", "True"]  # 40 is the level of errors
