"""Words of a command line in the form that the parser reads."""

from __future__ import annotations

import pytest

from larpo_ir.cli import COMMANDS
from larpo_ir.cli.arguments import lists_as_json
from larpo_ir.cli.engine import parser_of


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["--objectives", "dpo", "ipo"], ["dpo", "ipo"]),
        (["--objectives=dpo"], ["dpo"]),
        (["--objectives", "dpo", "--lists", "x"], ["dpo"]),
        (["--objectives", '["dpo", "ipo"]'], ["dpo", "ipo"]),
        (["--objectives", "null"], None),
    ],
)
def test_lists_of_names_need_no_brackets(given, expected):
    parser = parser_of("larpo-ir", COMMANDS, "align")
    assert parser.parse_args(lists_as_json(given, parser)).objectives == expected


def test_numbers_stay_numbers():
    parser = parser_of("larpo-ir", COMMANDS, "align")
    given = lists_as_json(["--align.temperatures", "0.7"], parser)
    assert parser.parse_args(given).align.temperatures == 0.7
