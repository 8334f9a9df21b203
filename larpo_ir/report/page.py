"""The page in HTML: one file that holds its style, script, pictures and data, and opens from disk without a network.

The text of models enters the page only as JSON, in a block that no browser executes, with all special characters of
HTML escaped; the script shows it as text. All other text is escaped here.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Sequence
from importlib import resources
from string import Template
from typing import Any

import pandas as pd

from larpo_ir.evaluation.figures import data_url
from larpo_ir.evaluation.tables import cell, is_number
from larpo_ir.report.comparison import Outcome
from larpo_ir.report.sections import Section

_INSIDE = re.compile(r" (?![\[(])")  # spaces that must not break a number and its interval into lines
_HTML = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def page(
    title: str, sections: Sequence[Section], notes: Sequence[str] = (), data: dict[str, Any] | None = None
) -> str:
    """The page of these sections, with the browser of candidate lists if there is `data` (`browser_data`)."""
    files = {name: _file(name) for name in ("page.html", "page.css", "page.js", "browser.html")}
    shown = data is not None and bool(data["lists"])
    links = [(section.name, section.title) for section in sections]
    links += [("lists", "Candidate lists")] if shown else []
    return Template(files["page.html"]).substitute(
        title=html.escape(title),
        style=files["page.css"],
        script=files["page.js"],
        style_hash=_hash(files["page.css"]),
        script_hash=_hash(files["page.js"]),
        notes="".join(f'<p class="note">{html.escape(note)}.</p>' for note in notes),
        links="".join(f'<a href="#{name}">{html.escape(text)}</a>' for name, text in links),
        sections="\n".join(map(_section, sections)),
        browser=files["browser.html"] if shown else "",
        data=json_block(data) if shown else "null",
    )


def json_block(data: Any) -> str:
    """JSON that is safe in a `<script>`, whatever text it holds: pure ASCII, without `<`, `>` or `&`.

    >>> json_block("</script>\\u2028")
    '"\\\\u003c/script\\\\u003e\\\\u2028"'
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character, escaped in _HTML.items():
        text = text.replace(character, escaped)
    return text


def _file(name: str) -> str:
    return resources.files("larpo_ir.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """Hash by which the page's content security policy allows this style or script and no other."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _section(section: Section) -> str:
    body = [f'<section id="{section.name}"><h2>{html.escape(section.title)}</h2>']
    if section.text:
        body.append(f"<p>{html.escape(section.text)}</p>")
    if section.figure is not None:
        body.append(
            f'<figure><img alt="{html.escape(section.alt)}" src="{data_url(section.figure)}"></figure>'
        )
    if section.choose:
        options = "".join(f"<option>{html.escape(caption)}</option>" for caption in section.tables)
        body.append(
            f'<p class="choice" hidden><label>Measure <select data-choice>{options}</select></label></p>'
        )
    body += [html_table(table, caption) for caption, table in section.tables.items()]
    return "\n".join([*body, "</section>"])


def html_table(frame: pd.DataFrame, caption: str) -> str:
    """A frame as a table, its index left out; numbers are aligned to the right."""
    kinds = ["number" if is_number(frame[name]) else "text" for name in frame]
    head = "".join(
        f'<th scope="col" class="{kind}">{html.escape(str(name))}</th>'
        for kind, name in zip(kinds, frame, strict=True)
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}">{_cell(value, kind)}</td>' for kind, value in zip(kinds, row, strict=True)
        )
        + "</tr>"
        for row in frame.itertuples(index=False, name=None)
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{html.escape(caption)}"><table>'
        f"<caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(value: Any, kind: str) -> str:
    if isinstance(value, Outcome):
        return _bar(value)
    text = html.escape(cell(value))
    return _INSIDE.sub("\u00a0", text) if kind == "number" else text


def _bar(outcome: Outcome) -> str:
    """Counts with a bar of their shares."""
    total = sum(outcome) or 1
    start, parts = 0.0, []
    for name, count in zip(outcome._fields, outcome, strict=True):
        width = 100 * count / total
        parts.append(f'<rect class="{name}" x="{start:.2f}" width="{width:.2f}" height="8"></rect>')
        start += width
    frame = 'class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true"'
    return f"<svg {frame}>{''.join(parts)}</svg> {outcome}"
