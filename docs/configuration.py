"""Write `docs/configuration.md` from the metadata of the settings classes: `python docs/configuration.py`."""

from __future__ import annotations

from pathlib import Path

from larpo_ir.alignment.config import AlignConfig
from larpo_ir.cli.quickstart import QuickstartConfig
from larpo_ir.cli.reference import reference
from larpo_ir.data.settings import settings_of
from larpo_ir.models.policies import SmallPolicy
from larpo_ir.training.config import LarPOConfig
from retrieval_bridge.training import IterativeConfig, ListConfig

PAGE = Path(__file__).with_suffix(".md")

HEAD = """\
# Configuration

Every setting of the settings classes. `make docs` writes this page from the classes themselves.

A setting may be given on the command line, in a YAML file that `--config` names, or in Python:

    larpo-ir align --config align.yaml --align.iterations 2
    align: {iterations: 2}                  # in align.yaml
    AlignConfig(iterations=2)

The command line counts before the file, in whatever order they are given. `None` is `null` in YAML.
`larpo-ir COMMAND --help` shows these options and those of the command itself, such as `--topics`.
"""

SETTINGS = {
    AlignConfig: "Options `--align.NAME` of `larpo-ir align`.",
    LarPOConfig: "Options in `--align.training` of `larpo-ir align`, as a mapping; and every other field of"
    " `TrainingArguments`.",
    SmallPolicy: "Options `--policy.NAME` of `larpo-ir align`.",
    QuickstartConfig: "Options `--NAME` of `larpo-ir quickstart`.",
    ListConfig: "Options `--lists.NAME` of `retrieval-bridge mine`, `align` and `compare`.",
    IterativeConfig: "Options `--align.NAME` of `retrieval-bridge align`.",
}


def page() -> str:
    """The page as it should be."""
    parts = [reference(kind, text) for kind, text in SETTINGS.items() if any(settings_of(kind))]
    return "\n".join([HEAD, *parts])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
