"""The page in a headless Chromium: it draws, filters, switches, and does nothing else."""

import os
from pathlib import Path

import pytest

from rm_monitor.report.page import page
from tests.report.browser import FOUND, Chromium
from tests.report.example import HOSTILE, example

pytestmark = [
    pytest.mark.skipif(FOUND is None, reason="needs Chromium: apt-get install chromium"),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    try:
        chromium = Chromium(tmp_path_factory.mktemp("profile"))
    except (OSError, RuntimeError) as problem:
        pytest.skip(f"Chromium does not start here: {problem}")
    yield chromium
    chromium.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    one = example(t=10, n=24, failed=(6,), partial=(8,))
    made = {
        "one": page(one),
        "three": page(
            [
                one,
                example(t=10, n=24, seed=1, name="ipo", failed=(), partial=()),
                example(t=6, n=24, seed=2, name="long " * 9, failed=(), partial=()),
            ]
        ),
        "hostile": page(example(t=4, n=42, hostile=True, name=HOSTILE[0], failed=(2,), partial=())),
    }
    for name, html in made.items():
        (folder / f"{name}.html").write_text(html, encoding="utf-8", newline="\n")
    return {name: folder / f"{name}.html" for name in made}


COMPLAINTS = ("Log.entryAdded", "Runtime.exceptionThrown", "Audits.issueAdded", "Runtime.consoleAPICalled")
SET = (
    "(() => {{ const e = document.getElementById('{0}'); e.value = '{1}'; "
    "e.dispatchEvent(new Event('input')) }})()"
)
KINDS = "[...document.querySelectorAll('.row')].filter(r => r.checkVisibility()).map(r => r.dataset.kind)"
OPEN = "[...document.querySelectorAll('.row')].map(r => r.open).indexOf(true)"
MAKE = "(() => { try { document.body.innerHTML = '<b>x</b>'; return 'made' } catch (e) { return e.name } })()"
STRANGERS = "document.querySelectorAll('.text *, .q *, img, iframe, base, link, object, embed, form').length"
AUDIT = (
    "axe.run().then(r => r.violations.map(v => [v.id, v.impact, "
    "v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + n.failureSummary)]))"
)


def quiet(browser, path):
    """No violation, no warning, no exception, and no request but for the file itself."""
    assert browser.of(*COMPLAINTS) == []
    assert [r["request"]["url"] for r in browser.of("Network.requestWillBeSent")] == [f"file://{path}"]
    return True


def rows(browser):
    return browser.run(
        "[...document.querySelectorAll('.row')].filter(r => r.checkVisibility()).map(r => r.dataset.i)"
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_it_draws_at_any_width_without_a_violation_or_a_request(browser, pages, width):
    browser.open(pages["one"], width=width)
    box = browser.run(
        "(() => { const s = [...document.querySelectorAll('#chart svg')].filter(x => x.checkVisibility());"
        " const b = s[0].getBoundingClientRect(); return [s.length, b.width, b.height] })()"
    )
    assert box[0] == 1
    assert box[1] > 0.8 * min(width, 1040)
    assert box[2] > 250
    assert browser.run("getComputedStyle(document.querySelector('.band')).fill") == "rgb(0, 99, 177)"
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert quiet(browser, pages["one"])


def test_search_filter_and_order_work(browser, pages):
    browser.open(pages["one"])
    all_rows = rows(browser)
    assert len(all_rows) == 24
    browser.run(SET.format("find", "question 7:"))
    assert rows(browser) == ["7"]
    assert browser.run("document.getElementById('count').textContent") == "1 of 24"
    browser.run(SET.format("find", ""))
    browser.run(SET.format("tag", "code"))
    assert sorted(map(int, rows(browser))) == [0, 8, 16]
    browser.run(SET.format("tag", ""))
    browser.run(SET.format("order", "i"))
    assert rows(browser) == [str(i) for i in range(24)]
    browser.run(SET.format("order", "-d"))
    assert rows(browser) == all_rows[::-1]
    browser.run(SET.format("kind", "better"))
    assert set(browser.run(KINDS)) == {"better"}
    assert quiet(browser, pages["one"])


def test_the_keyboard_reaches_the_search_and_the_answers(browser, pages):
    browser.open(pages["one"])
    browser.press("/")
    assert browser.run("document.activeElement.id") == "find"
    browser.run("document.activeElement.blur()")
    browser.press("j")
    browser.press("j")
    assert browser.run(OPEN) == 1
    browser.press("k")
    assert browser.run(OPEN) == 0


def test_a_link_to_a_prompt_opens_it_and_says_when_the_page_shows_another_step(browser, pages):
    browser.open(pages["one"])
    place = browser.run("document.querySelectorAll('.sides')[5].id")
    step, number = place.split("-")[1::2]
    browser.run(f"location.hash = '#{place}'; new Promise(r => setTimeout(r, 50))")
    assert browser.run(OPEN) == 5
    browser.run("document.querySelectorAll('.row').forEach(r => { r.open = false })")
    browser.run(f"location.hash = '#step-7-prompt-{number}'; new Promise(r => setTimeout(r, 50))")
    assert browser.run(OPEN) == 5
    assert "step 7" in browser.run("document.getElementById('moved').textContent")
    assert step != "7"


def test_what_changed_is_marked_and_unmarked_word_by_word(browser, pages):
    browser.open(pages["one"])
    sides = "document.querySelectorAll('.row[open] [data-side]')"
    texts = f"[...{sides}].map(x => x.textContent)"
    browser.run("document.querySelector('.row').open = true")
    before = browser.run(texts)
    browser.run("document.getElementById('marks').click()")
    marks = browser.run(
        "[...document.querySelectorAll('mark')].map(m => [m.className, m.textContent.trim()])"
    )
    kept = browser.run(
        f"[...{sides}].map(x => [...x.childNodes].filter(n => n.nodeName !== 'MARK')"
        ".map(n => n.textContent).join(' '))"
    )
    assert {name for name, _ in marks} <= {"gone", "new"}
    assert kept[0].split() == kept[1].split()
    assert browser.run(texts) == before
    browser.run("document.getElementById('marks').click()")
    assert browser.run("document.querySelectorAll('mark').length") == 0
    assert browser.run(texts) == before
    assert quiet(browser, pages["one"])


def test_the_slider_says_each_evaluation(browser, pages):
    browser.open(pages["one"])
    browser.run(SET.format("step", "6"))
    text = browser.run("document.getElementById('read0').textContent")
    spoken = browser.run("document.getElementById('step').getAttribute('aria-valuetext')")
    most = browser.run("document.getElementById('step').max")
    assert text == spoken
    assert text.startswith("Step 300: no number, the evaluation failed")
    assert most == "9"


def test_the_switch_changes_words_curve_and_answers_together(browser, pages):
    browser.open(pages["three"])
    seen = "[...document.querySelectorAll('.claim')].filter(x => x.checkVisibility()).length"
    assert browser.run(seen) == 1
    browser.run("document.getElementById('f2').click()")
    assert browser.run(seen) == 1
    assert browser.run("document.querySelector('.rows[data-run=\"2\"]').checkVisibility()")
    assert not browser.run("document.querySelector('.rows[data-run=\"0\"]').checkVisibility()")
    assert browser.run("document.getElementById('step').max") == "5"
    assert browser.run("document.getElementById('read2').checkVisibility()")
    assert quiet(browser, pages["three"])


def test_the_theme_button_goes_both_ways(browser, pages):
    browser.open(pages["one"])
    ground = "getComputedStyle(document.body).backgroundColor"
    light = browser.run(ground)
    browser.run("document.getElementById('theme').click()")
    assert browser.run(ground) == "rgb(20, 24, 29)"
    browser.run("document.getElementById('theme').click()")
    assert browser.run(ground) == light == "rgb(255, 255, 255)"


def test_hostile_answers_do_nothing_at_all(browser, pages):
    browser.open(pages["hostile"])
    browser.run("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert "PWNED" not in browser.run("document.title")[:6]
    assert browser.run(STRANGERS) == 0
    assert quiet(browser, pages["hostile"])


def test_html_made_from_text_is_refused_by_the_browser(browser, pages):
    """The meta-check: the policy is in force, and `quiet` would notice."""
    browser.open(pages["one"])
    assert browser.run(MAKE) == "TypeError"
    browser.run(
        "(() => { const i = new Image(); i.src = 'https://example.com/x.png'; document.body.append(i) })()"
    )
    browser.run("new Promise(r => setTimeout(r, 50))")
    with pytest.raises(AssertionError):
        quiet(browser, pages["one"])


def test_without_javascript_it_is_whole(browser, pages):
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(pages["three"])
        taken = browser.send("DOMSnapshot.captureSnapshot", computedStyles=[])
        document, strings = taken["documents"][0], taken["strings"]
        text = " ".join(strings[i] for i in document["layout"]["text"] if i >= 0)
        boxes = [
            [strings[i] for i in document["nodes"]["attributes"][n]] for n in document["layout"]["nodeIndex"]
        ]
        assert "Answers at step" in text
        assert "The same numbers as a table" in text
        assert sum("row" in names for names in boxes) == 24  # of the run in focus, and of no other
        assert not any("tools" in names for names in boxes)
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)


AXE = Path(os.environ.get("RM_MONITOR_AXE", "axe.min.js"))


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: RM_MONITOR_AXE=path/to/axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["one", "three", "hostile"])
def test_axe_finds_nothing(browser, pages, name, width, scheme):
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.open(pages[name], width=width)
    browser.run("document.querySelectorAll('details').forEach((d, i) => { d.open = i < 4 })")
    browser.run(AXE.read_text(encoding="utf-8") + "; 1")
    found = browser.run(AUDIT)
    browser.send("Emulation.setEmulatedMedia", features=[])
    assert found == []


VIEWED = 20  # runs


@pytest.fixture(scope="module")
def viewed(tmp_path_factory):
    """The address of `rm-monitor view` on many runs."""
    import shutil
    import threading

    from rm_monitor.runs.served import Gallery, serve
    from tests.report.test_runs import falling, train

    folder = tmp_path_factory.mktemp("viewed")
    train(folder / "run-00", falling, 5)
    for i in range(1, VIEWED):
        shutil.copytree(folder / "run-00", folder / f"run-{i:02}")
    server = serve(Gallery([folder]))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://localhost:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_view_is_used_by_keyboard_alone(browser, viewed):
    browser.visit(viewed)
    assert browser.run("document.querySelectorAll('tbody tr').length") == VIEWED
    for key in ("Tab", " ", "Tab", "Tab", " "):  # tick a run, pass its link, tick the next
        browser.press(key)
    assert browser.run("document.querySelectorAll('input:checked').length") == 2
    browser.submit()
    assert browser.run("document.querySelectorAll('input[name=focus]').length") == 2
    assert browser.of("Log.entryAdded", "Runtime.exceptionThrown") == []


@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: RM_MONITOR_AXE=path/to/axe.min.js")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_in_the_list_of_runs(browser, viewed, width, scheme):
    browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.send("Page.setBypassCSP", enabled=True)
    try:
        browser.visit(viewed, width=width)
        browser.run(AXE.read_text(encoding="utf-8") + "; 1")
        assert browser.run(AUDIT) == []
        assert browser.run("document.documentElement.scrollWidth") <= width
    finally:
        browser.send("Page.setBypassCSP", enabled=False)
        browser.send("Emulation.setEmulatedMedia", features=[])
