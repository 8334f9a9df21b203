"""Settings are documented once: the page, the command line and transformers' parser all tell each field's help."""

from __future__ import annotations

import dataclasses
import runpy
from pathlib import Path

import pytest
from transformers import HfArgumentParser

from larpo_ir import AlignConfig, LarPOConfig, SmallPolicy
from larpo_ir.cli import main
from larpo_ir.cli.quickstart import QuickstartConfig
from larpo_ir.data.settings import settings_of

DOCS = Path(__file__).parents[2] / "docs"


def printed_help(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit):
        main([*arguments])
    return " ".join(capsys.readouterr().out.split())


def test_the_page_is_current():
    page = runpy.run_path(str(DOCS / "configuration.py"))["page"]()
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == page, "run `make docs`"


@pytest.mark.parametrize("kind", [AlignConfig, QuickstartConfig, SmallPolicy], ids=lambda kind: kind.__name__)
def test_every_field_has_help_and_a_group(kind):
    assert [option for option, _ in settings_of(kind)] == list(dataclasses.fields(kind))
    assert all(text and text.group for _, text in settings_of(kind))


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (AlignConfig, ["align", "--help"]),
        (SmallPolicy, ["align", "--policy.help"]),
        (QuickstartConfig, ["quickstart", "--help"]),
    ],
)
def test_the_command_line_tells_each_help(capsys, kind, arguments):
    printed = printed_help(capsys, *arguments)
    for _, text in settings_of(kind):
        assert " ".join(text.split()) in printed


def test_the_trainers_own_fields_have_help_that_transformers_parser_tells():
    own = {name for name in LarPOConfig.__annotations__ if not name.startswith("_")}
    assert {option.name for option, _ in settings_of(LarPOConfig)} == own
    printed = " ".join(HfArgumentParser(LarPOConfig).format_help().split())
    for _, text in settings_of(LarPOConfig):
        assert " ".join(text.split()) in printed
