"""Messages for people: which are shown, and how."""

from __future__ import annotations

import logging
import os
import sys
import warnings

logger = logging.getLogger("larpo_ir")


def announce(message: str) -> None:
    """Show a message that must not go unnoticed: in the log, or on stderr where the log is silent, as in Python."""
    if logger.isEnabledFor(logging.INFO):
        logger.info(message)
    else:
        print(message, file=sys.stderr)


def plain_output() -> None:
    """Show our own messages as plain lines, and no library's housekeeping."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Threads that spin ruin a machine that others use, too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if os.environ.get("RANK", "0") != "0":  # of the processes of a launch the first speaks
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("larpo_ir").setLevel(logging.INFO)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    warnings.filterwarnings("ignore", module=r"torch\..*|transformers\..*|trl\..*|pyterrier\..*")
    quiet_libraries(progress=sys.stderr.isatty())


def quiet_libraries(progress: bool) -> None:
    """Let transformers show errors alone; without `progress`, switch off the bars of it, of datasets and of the hub.

    A library that is not loaded yet will read the environment. So a command that needs none of them stays quick.
    """
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    if not progress:
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    # Libraries that are loaded have read the environment already. None is imported here.
    transformers, datasets = sys.modules.get("transformers"), sys.modules.get("datasets")
    if transformers is not None:
        transformers.utils.logging.set_verbosity_error()
        if not progress:
            transformers.utils.logging.disable_progress_bar()
    if datasets is not None and not progress:
        datasets.disable_progress_bars()
