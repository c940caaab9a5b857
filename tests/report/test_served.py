"""`rm-monitor view`: what lies below a folder, listed and shown, to this machine only."""

import base64
import hashlib
import http.client
import re
import threading
from urllib.parse import quote

import pytest

from rm_monitor import load_run
from rm_monitor.errors import NotFoundError
from rm_monitor.report.page import page
from rm_monitor.runs.served import Gallery, serve
from tests.report.test_runs import falling, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    train(folder / "sweep" / "<b>fell & fell", falling, 5)
    train(folder / "fine", lambda k, i: 8 + k + (i * 7 + k * 3) % 4, 3)
    (folder / "broken" / "_rm_monitor").mkdir(parents=True)
    (folder / "broken" / "_rm_monitor" / "history.jsonl").write_text("not one of ours\n")
    return folder


@pytest.fixture(scope="module")
def ask(folder):
    server = serve(Gallery([folder]))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def get(path, host="localhost", method="GET"):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
        connection.request(method, path, headers={"Host": f"{host}:{server.server_port}"})
        answer = connection.getresponse()
        return answer, answer.read().decode()

    yield get
    server.shutdown()
    server.server_close()


def test_every_run_below_the_folder_is_listed_with_its_verdict_and_its_best(ask, folder):
    text = ask("/")[1]
    for key, run in Gallery([folder]).found().items():
        if "broken" not in key:
            found = load_run(run)
            line = next(row for row in text.split("<tr>") if quote(key, safe="") in row)
            assert f'<span class="st">{found.verdict.state}</span>' in line
            assert f"step {found.verdict.best.step}, " in line
    assert text.count('type="checkbox"') >= 2


def test_the_page_of_a_run_is_the_page_of_the_report(ask, folder):
    key = str(folder / "fine")
    served = ask(f"/run?r={quote(key)}")[1]
    written = page(load_run(folder / "fine").view(name=key))
    assert served[served.index("<main>") : served.index("</main>")] in written
    assert "fetch(" in served
    assert "fetch(" not in written


def test_chosen_runs_are_shown_together(ask, folder):
    keys = [key for key in Gallery([folder]).found() if "broken" not in key]
    text = ask("/runs?" + "&".join(f"r={quote(key)}" for key in keys))[1]
    assert len(set(re.findall(r'class="focus run(\d)"', text))) == 2


def test_a_run_that_goes_on_is_read_again(tmp_path):
    train(tmp_path / "run", falling, 2)
    gallery = Gallery([tmp_path])
    before = gallery.list()
    train(tmp_path / "run", falling, 4)
    assert "step 300" not in before
    assert "step 300" in gallery.list()


def test_what_changes_when_a_run_goes_on_is_the_state_that_a_page_asks_for(tmp_path):
    train(tmp_path / "a", falling, 2)
    train(tmp_path / "b", falling, 2)
    gallery = Gallery([tmp_path])
    a, b = sorted(gallery.found())
    before = gallery.state(()), gallery.state([a]), gallery.state([b])
    assert f'data-state="{before[1]}"' in gallery.page([a])
    train(tmp_path / "a", falling, 3)
    assert gallery.state(()) != before[0]
    assert gallery.state([a]) != before[1]
    assert gallery.state([b]) == before[2]


def test_a_name_from_the_disk_is_text_and_the_policy_allows_one_script_of_ours(ask):
    text = ask("/")[1]
    assert "<b>fell" not in text
    assert "&lt;b&gt;fell &amp; fell" in text
    allowed = re.findall(r"sha256-([^']+)'", text.split("style-src")[0])
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert allowed == [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    assert len(scripts) == 1


@pytest.mark.parametrize("path", ["/run?r=/etc", "/run?r=../..", "/run", "/etc/passwd", "/run?r=%00", "//x/"])
def test_nothing_but_the_runs_found_is_served(ask, path):
    assert ask(path)[0].status == 404


def test_a_name_that_was_made_to_point_here_is_refused(ask):
    assert ask("/", host="evil.example")[0].status == 403


def test_nothing_can_be_changed_from_the_browser(ask):
    assert ask("/", method="POST")[0].status == 501


def test_the_server_is_heard_by_this_machine_only():
    with serve(Gallery(["."])) as server:
        assert server.server_address[0] == "127.0.0.1"


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="nowhere"):
        Gallery([tmp_path / "nowhere"])
