"""A server that misbehaves costs a bounded time, and nothing leaves the host it was meant for."""

import logging
import pickle

import pytest

from rm_monitor.http import BadReply, Client, Clock, Limits, Unavailable, in_order
from tests.servers import (
    cut_off,
    drip,
    drip_headers,
    echo_key,
    endless,
    first,
    gigabyte,
    hang,
    html,
    packed,
    redirect_to,
    serve,
    status,
)

SECRET = "SENTINEL-6f1b2c-key"
QUICK = Limits(connect=0.2, read=0.1, total=0.4, attempts=2, backoff=0.01, max_bytes=2**20)
PATIENT = Limits(backoff=0.01, max_bytes=2**20)


class Time:
    """A clock that moves only when somebody waits."""

    def __init__(self):
        self.now = 0.0
        self.waits = []

    def clock(self):
        return Clock(now=lambda: self.now, sleep=self.sleep, chance=lambda: 0.0)

    def sleep(self, seconds):
        self.waits.append(seconds)
        self.now += seconds


def fine(path, body):
    return {"path": path, "got": body}


def test_json_goes_there_and_back():
    with serve(fine) as server:
        client = Client(server.url + "/", limits=PATIENT)
        assert client.post("/a", {"text": "é\ud800"}) == {"path": "/a", "got": {"text": "é\ud800"}}
        assert client.get("/b")["path"] == "/b"


@pytest.mark.parametrize("fault", [hang, drip, drip_headers, cut_off, status(500), status(429)])
def test_a_fault_that_may_pass_is_tried_again_and_then_the_server_is_unavailable(fault):
    with serve(fine, fault) as server:
        with pytest.raises(Unavailable, match=r"no answer in [12] attempt") as caught:
            Client(server.url, limits=QUICK).post("/score", {"x": 1})
        assert 1 <= len(server.asked) <= 2
        assert server.url in str(caught.value)


def test_a_server_that_drips_its_headers_is_cut_off_by_the_total_time():
    # Each byte comes within the read time-out: only a bound on the whole exchange ends this.
    with serve(fine, drip_headers) as server, pytest.raises(Unavailable, match=r"not finished after 0\.3"):
        Client(server.url, limits=Limits(read=0.2, total=0.3, attempts=1)).get("/")


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        (html, "not JSON"),
        (gigabyte, "announced an answer of 1073741824 bytes"),
        (endless, "more than the 1048576 bytes"),
        (packed, "packed"),
        (status(404), "HTTP 404"),
        (status(401), "is the key right"),
    ],
)
def test_an_answer_that_would_be_the_same_again_is_not_asked_for_again(fault, why):
    with serve(fine, fault) as server:
        with pytest.raises(BadReply, match=why):
            Client(server.url, limits=PATIENT).post("/score", {})
        assert len(server.asked) == 1


def test_a_gigabyte_is_not_read():
    with serve(fine, endless) as server:
        with pytest.raises(BadReply):
            Client(server.url, limits=PATIENT).get("/")
        assert server.sent < 2**26  # what fits in the sockets' buffers, not 2**30


def test_a_redirect_is_not_followed_and_the_other_host_hears_nothing():
    with (
        serve(fine) as other,
        serve(fine, redirect_to(other.url.replace("127.0.0.1", "localhost"))) as server,
    ):
        with pytest.raises(BadReply, match=r"redirect .* to localhost, which is not followed"):
            Client(server.url, limits=PATIENT).post("/score", {"text": "private"})
        assert other.asked == []


def test_a_passing_fault_is_waited_out():
    time = Time()
    with serve(fine, first(2, status(503))) as server:
        limits = Limits(attempts=4, backoff=1.0)
        assert Client(server.url, limits=limits, clock=time.clock()).get("/")["path"] == "/"
    assert time.waits == [0.5, 1.0]  # chance 0: half of 1 s, then half of 2 s


@pytest.mark.parametrize(("asked", "waited"), [("7", 7.0), ("100000", 30.0), ("-5", 0.5), ("soon", 0.5)])
def test_retry_after_is_obeyed_within_reason(asked, waited):
    time = Time()
    with serve(fine, first(1, status(429, Retry_After=asked))) as server:
        limits = Limits(attempts=2, backoff=1.0, longest_wait=30.0)
        Client(server.url, limits=limits, clock=time.clock()).get("/")
    assert time.waits == [waited]


def test_a_retry_after_beyond_the_call_ends_it_at_once():
    time = Time()
    with (
        serve(fine, status(429, Retry_After="3600")) as server,
        pytest.raises(Unavailable, match="would come"),
    ):
        Client(server.url, limits=Limits(total=20.0, longest_wait=60.0), clock=time.clock()).get("/")
    assert time.waits == []


def test_after_three_failed_calls_the_server_is_left_alone_and_then_tried_once():
    time = Time()
    limits = Limits(attempts=1, open_after=3, cooldown=30.0)
    with serve(fine, status(500)) as server:
        client = Client(server.url, limits=limits, clock=time.clock())
        for _ in range(3):
            with pytest.raises(Unavailable, match="HTTP 500"):
                client.get("/")
        with pytest.raises(Unavailable, match="left alone for another 30 s"):
            client.get("/")
        assert len(server.asked) == 3
        time.now = 31.0
        server.fault = None
        assert client.get("/")["path"] == "/"
        assert client.get("/")["path"] == "/"


def test_nobody_listening_is_unavailable():
    with serve(fine) as server:
        gone = server.url
    with pytest.raises(Unavailable, match="connection failed"):
        Client(gone, limits=QUICK).get("/")


def test_the_key_is_sent_and_never_shown(monkeypatch, caplog):
    monkeypatch.setenv("MY_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    said = []
    faults = [
        hang,
        drip,
        html,
        gigabyte,
        cut_off,
        echo_key,
        status(500),
        redirect_to(f"http://{SECRET}.example"),
    ]
    for fault in faults:
        with serve(fine, fault) as server:
            client = Client(server.url, key_env="MY_KEY", limits=QUICK)
            with pytest.raises((BadReply, Unavailable)) as caught:
                client.post("/score", {})
            assert server.asked[0][3]["Authorization"] == f"Bearer {SECRET}"
            error = caught.value
            while error is not None:
                said += [str(error), repr(error)]
                error = error.__cause__ or error.__context__
            said += [repr(client), str(vars(client)), str(caught.getrepr(style="long", showlocals=False))]
    assert SECRET not in "\n".join(said) + caplog.text


def test_a_key_with_a_line_end_is_refused_without_being_shown(monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET + "\nX-Evil: 1")
    with pytest.raises(ValueError, match="'MY_KEY' holds characters") as caught:
        Client("http://127.0.0.1:1", key_env="MY_KEY")
    assert SECRET not in str(caught.value)


def test_a_key_does_not_travel_in_the_clear(monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    with pytest.raises(ValueError, match="plain http"):
        Client("http://far.example:8000", key_env="MY_KEY")
    Client("http://far.example:8000", key_env="MY_KEY", plain_http=True)
    Client("https://far.example:8000", key_env="MY_KEY")


def test_without_a_key_nothing_is_sent_from_netrc(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with serve(fine) as server:
        Client(server.url).get("/")
        assert "Authorization" not in server.asked[0][3]


@pytest.mark.parametrize(
    "url", ["ftp://host", "host:8000", "http://me:pw@host", "http://host/?key=1", "http://", "http://host/#x"]
)
def test_an_address_that_is_none_or_carries_a_secret_is_refused(url):
    with pytest.raises(ValueError, match="`url`") as caught:
        Client(url)
    assert "pw" not in str(caught.value)


def test_proxies_are_those_of_the_environment_but_never_for_this_machine(monkeypatch):
    with serve(fine) as proxy, serve(fine) as server:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("NO_PROXY", "near.example")
        monkeypatch.setenv("no_proxy", "near.example")
        Client(server.url).get("/here")
        assert [path for _, path, _, _ in server.asked] == ["/here"]
        assert proxy.asked == []
        Client("http://far.example:8000").get("/there")
        assert [path for _, path, _, _ in proxy.asked] == ["http://far.example:8000/there"]
        with pytest.raises(Unavailable):
            Client("http://near.example:1", limits=QUICK).get("/")
        assert len(proxy.asked) == 1


def test_cookies_are_not_kept():
    def fault(handler, body):
        handler.say({}, Set_Cookie="session=1; Path=/")

    with serve(fine, fault) as server:
        client = Client(server.url)
        client.get("/")
        client.get("/")
        assert "Cookie" not in server.asked[1][3]


def test_a_client_is_not_pickled():
    with pytest.raises(TypeError, match="build it there"):
        pickle.dumps(Client("http://127.0.0.1:1"))


def test_no_more_requests_are_under_way_than_agreed():
    with serve(fine) as server:
        client = Client(server.url)
        paths = [f"/{i}" for i in range(12)]
        answers = in_order(client.get, paths, concurrency=3)
        assert [a["path"] for a in answers] == paths
        assert 1 <= server.most_busy <= 3


def test_the_first_failure_stops_what_has_not_begun():
    asked = []

    def ask(i):
        asked.append(i)
        raise BadReply(f"number {i}")

    with pytest.raises(BadReply, match="number 0"):
        in_order(ask, range(100), concurrency=1)
    assert len(asked) < 100
