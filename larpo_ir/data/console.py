"""Messages for people: which are shown, and how."""

from __future__ import annotations

import logging
import os
import sys
import warnings

logger = logging.getLogger("larpo_ir")


def announce(message: str) -> None:
    """Say something that must not go unnoticed: by the log, or where that is silent, as in Python, on stderr."""
    if logger.isEnabledFor(logging.INFO):
        logger.info(message)
    else:
        print(message, file=sys.stderr)


def plain_output() -> None:
    """Plain lines for people: our own messages, no library's housekeeping."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault(
        "OMP_WAIT_POLICY", "PASSIVE"
    )  # threads that spin ruin a machine that others use, too
    if os.environ.get("RANK", "0") != "0":  # of the processes of a launch the first speaks
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("larpo_ir").setLevel(logging.INFO)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    warnings.filterwarnings("ignore", module=r"torch\..*|transformers\..*|trl\..*|pyterrier\..*")
    import datasets
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
        transformers_logging.disable_progress_bar()
