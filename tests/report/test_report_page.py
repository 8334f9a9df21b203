"""The report's page in a real browser: sort, search, open a list, model text as text, no errors, no requests.

Needs Chromium (`apt-get install chromium`; another place in $CHROMIUM) and `playwright`, which drives it and needs no
download of its own.
"""

from __future__ import annotations

import os
import shutil
import time

import pytest

from larpo_ir.report.writing import report
from tests.saved_runs import HOSTILE, make_run

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

if CHROMIUM is None:
    pytest.skip("needs Chromium: apt-get install chromium, or set CHROMIUM", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")

CELLS = "rows => rows.map(row => row.cells[{}].textContent)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with playwright.sync_playwright() as driver:
        context = driver.chromium.launch_persistent_context(
            tmp_path_factory.mktemp("profile"), executable_path=CHROMIUM, headless=True, args=FLAGS
        )
        yield context
        context.close()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    runs = [make_run(folder / name, objective=name, seed=seed) for seed, name in enumerate(("dpo", "<i>ipo"))]
    report([str(run) for run in runs], output=str(folder / "report"))
    return folder / "report" / "report.html"


@pytest.fixture
def page(browser, path):
    """The page, opened from disk; whatever it complains of or asks for fails the test."""
    page = browser.new_page()
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: (troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    page.on(
        "request", lambda request: request.url.startswith(("data:", "file:")) or troubles.append(request.url)
    )
    page.goto(path.as_uri())
    yield page
    page.close()
    assert troubles == []


def column(page, number: int, table: str = "#found") -> list[str]:
    return page.locator(f"{table} tbody tr").evaluate_all(CELLS.format(number))


def numbers(texts: list[str]) -> list[float]:
    return [float(text.replace("−", "-")) for text in texts if text != "–"]


def status(page, text: str) -> None:
    page.wait_for_function("text => document.getElementById('status').textContent.startsWith(text)", arg=text)


def test_pictures_are_drawn(page):
    widths = page.locator("figure img").evaluate_all("images => images.map(image => image.naturalWidth)")
    assert len(widths) == 4
    assert min(widths) > 100


def test_lists_are_sorted_by_a_click_on_the_header(page):
    status(page, "68 of 68 lists")
    head = page.locator("#found th", has_text="mean reward")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    down = numbers(column(page, 6))
    assert down == sorted(down, reverse=True)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    up = numbers(column(page, 6))
    assert up == sorted(up)
    assert up[0] < up[-1]


def test_search_finds_prompts_and_responses(page):
    page.fill("#search", "Answer 2 of T3")  # a response, whatever the case
    status(page, "4 of 68 lists")
    assert page.locator("#found mark").first.text_content() == "answer 2 of t3"
    page.fill("#search", "what is h1?")  # a prompt
    status(page, "6 of 68 lists")
    page.fill("#search", "</script>")
    status(page, "68 of 68 lists")
    page.fill("#search", "no such text")
    status(page, "0 of 68 lists")
    assert page.locator("#found tbody tr").count() == 0


def test_filters(page):
    page.select_option("#run", "<i>ipo")
    status(page, "34 of 68 lists")
    page.select_option("#iteration", "2")
    status(page, "6 of 68 lists")
    assert set(column(page, 2)) == {"held out"}
    page.select_option("#kind", "pool")
    status(page, "0 of 68 lists")


def test_a_list_is_opened_and_sorted(page):
    page.select_option("#kind", "pool")
    page.select_option("#iteration", "1")
    page.locator("#found tbody tr").first.click()
    assert page.locator("dialog").get_attribute("open") is not None
    assert page.locator("#where").text_content() == "dpo · pool · t0"
    rewards = numbers(column(page, 2, "#responses"))
    assert len(rewards) == 4
    assert rewards == sorted(rewards, reverse=True)
    assert HOSTILE in column(page, 0, "#responses")
    assert page.locator("#prompt").text_content() == f"What is t0? {HOSTILE}"
    # implicit reward: log π of iteration 1 minus that of iteration 0, for the same response
    after = dict(zip(column(page, 0, "#responses"), column(page, 4, "#responses"), strict=True))
    implicit = dict(zip(column(page, 0, "#responses"), column(page, 3, "#responses"), strict=True))
    page.select_option("#which", "0")
    before = dict(zip(column(page, 0, "#responses"), column(page, 4, "#responses"), strict=True))
    for text in after:
        (moved,), (now,), (was,) = (numbers([values[text]]) for values in (implicit, after, before))
        assert moved == pytest.approx(now - was, abs=0.0021)
    page.select_option("#which", "all")
    assert len(column(page, 0, "#responses")) == 8
    assert set(column(page, 5, "#responses")) == {"0", "1"}
    page.locator("#responses th", has_text="tokens").get_by_role("button").click()
    tokens = numbers(column(page, 7, "#responses"))
    assert tokens == sorted(tokens, reverse=True)


def test_model_text_is_text(page):
    page.locator("#found tbody tr").first.click()
    assert page.locator("dialog script, dialog b, #found b").count() == 0
    assert page.evaluate("document.querySelectorAll('script').length") == 2


def test_keys_are_enough(page):
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert page.locator("dialog").get_attribute("open") is not None
    second = page.locator("#where").text_content()
    page.keyboard.press("ArrowLeft")
    assert page.locator("#where").text_content() != second
    page.keyboard.press("ArrowRight")
    assert page.locator("#where").text_content() == second
    page.keyboard.press("Escape")
    assert page.locator("dialog").get_attribute("open") is None
    # back where it was opened
    assert page.evaluate("document.activeElement.closest('tr').rowIndex") == 2


def test_a_measure_is_chosen(page):
    shown = "tables => tables.filter(table => table.offsetParent).map(table => table.caption.textContent)"
    assert page.locator("#comparison table").evaluate_all(shown) == ["Pass@1"]
    page.select_option("#comparison select", "log π of the best response")
    assert page.locator("#comparison table").evaluate_all(shown) == ["log π of the best response"]


def test_tables_fit_on_a_screen_and_figures_everywhere(page):
    page.set_viewport_size({"width": 1400, "height": 900})
    hidden = "boxes => boxes.filter(box => box.scrollWidth > box.clientWidth).map(box => box.ariaLabel)"
    assert page.locator(".wide").evaluate_all(hidden) == []
    page.set_viewport_size({"width": 500, "height": 900})
    assert page.locator("figure").evaluate_all(hidden) == []


def test_bars_begin_below_each_other(page):
    starts = "bars => bars.filter(bar => bar.checkVisibility()).map(bar => bar.getBoundingClientRect().left)"
    assert len(set(page.locator("#comparison .bar").evaluate_all(starts))) == 1


def test_nothing_is_wider_than_a_telephone(page):
    page.set_viewport_size({"width": 420, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == 420
    page.locator("#found tbody tr").first.click()
    assert page.evaluate("document.querySelector('dialog').scrollWidth") <= 420


def test_thousands_of_lists_are_quick(browser, tmp_path):
    run = make_run(tmp_path / "run", iterations=2, prompts=1500, per_list=8, held_out=2, text="word " * 60)
    report([str(run)], max_lists=2000)
    page = browser.new_page()
    start = time.perf_counter()
    page.goto((run / "report" / "report.html").as_uri())
    status(page, "2000 of 2000 lists; the page holds 2000 of 3006 lists, spread evenly over")
    opened = time.perf_counter() - start
    # rows are made when they are needed
    assert page.locator("#found tbody tr").count() <= 120
    start = time.perf_counter()
    page.fill("#search", "answer 7 of t77?")
    status(page, "0 of 2000")
    page.fill("#search", "answer 7 of t")
    status(page, "1994 of 2000")
    searched = time.perf_counter() - start
    page.close()
    assert opened < 10
    assert searched < 5
