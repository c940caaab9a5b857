"""Real servers on 127.0.0.1 in a thread: what they answer is a function, what goes wrong is a switch."""

import contextlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Server:
    """A running server.

    ``answer(path, body)`` gives a JSON value, or (status, JSON value); ``fault`` may take a request over.
    """

    url: str
    answer: Any
    fault: Any = None
    asked: list = field(default_factory=list)  # (method, path, body, headers), in order of arrival
    closing: threading.Event = field(default_factory=threading.Event)
    sent: int = 0  # bytes of bodies written
    busy: int = 0
    most_busy: int = 0
    lock: Any = field(default_factory=threading.Lock)
    stop: Any = None  # nobody listens any more


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body are two writes: 40 ms a reply otherwise
    server_says: Server

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.respond(None)

    def do_POST(self):
        self.respond(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def respond(self, body):
        us = self.server_says
        with us.lock:
            us.asked.append((self.command, self.path, body, dict(self.headers)))
            us.busy += 1
            us.most_busy = max(us.most_busy, us.busy)
        try:
            with contextlib.suppress(OSError):
                if us.fault is None or us.fault(self, body) is False:
                    self.say(us.answer(self.path, body))
        finally:
            with us.lock:
                us.busy -= 1

    def say(self, value, status=200, kind="application/json", **headers):
        if isinstance(value, tuple):
            status, value = value
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.begin(status, kind, {"Content-Length": str(len(data)), **headers})
        self.send(data)

    def begin(self, status=200, kind="application/json", headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in dict(headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def send(self, data):
        self.wfile.write(data)
        self.wfile.flush()
        self.server_says.sent += len(data)


@contextlib.contextmanager
def serve(answer, fault=None):
    """A server for the length of a ``with`` block."""
    handler = type("OwnHandler", (Handler,), {})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    http.daemon_threads = True
    http.block_on_close = False
    us = Server(f"http://127.0.0.1:{http.server_port}", answer, fault)
    handler.server_says = us
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()

    def stop():
        us.closing.set()
        http.shutdown()
        http.server_close()
        thread.join()

    us.stop = stop
    try:
        yield us
    finally:
        stop()


# --------------------------------------------------------------------------- what goes wrong


def hang(handler, body):
    """Accepts, reads, and says nothing."""
    handler.server_says.closing.wait(5)


def drip(handler, body):
    """A byte at a time, each within the read time-out."""
    handler.begin(headers={"Content-Length": "1000000"})
    while not handler.server_says.closing.wait(0.01):
        handler.send(b" ")


def drip_headers(handler, body):
    """A header that never ends, a byte at a time: no body is ever reached."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.server_says.closing.wait(0.01):
        handler.wfile.write(b"x")
        handler.wfile.flush()


def status(code, **headers):
    """An error with a page."""

    def fault(handler, body):
        handler.say(b"<html>oops</html>", status=code, kind="text/html", **headers)

    return fault


def html(handler, body):
    """A log-in page where JSON belongs."""
    handler.say(b"<html><script>alert(1)</script>Please log in</html>", kind="text/html; charset=utf-8")


def broken_json(handler, body):
    handler.say(b'{"data": [')


def deep_json(handler, body):
    handler.say(b"[" * 200_000)


def gigabyte(handler, body):
    """Announces 1 GB."""
    handler.begin(headers={"Content-Length": str(2**30)})
    stream(handler)


def endless(handler, body):
    """Does not say how much comes, and sends 1 GB."""
    handler.begin(headers={"Connection": "close"})
    handler.close_connection = True
    stream(handler)


def stream(handler):
    piece = b" " * 2**16
    for _ in range(2**14):
        handler.send(piece)


def packed(handler, body):
    """A small packed body that unpacks to much more."""
    handler.say(b"\x1f\x8b" + b"\0" * 50, Content_Encoding="gzip")


def cut_off(handler, body):
    """Breaks off in the middle of the body."""
    handler.begin(headers={"Content-Length": "1000"})
    handler.send(b'{"data"')
    handler.close_connection = True


def redirect_to(url):
    def fault(handler, body):
        handler.say(b"", status=307, kind="text/plain", Location=f"{url}/steal?token=x")

    return fault


def first(times, fault):
    """A fault that goes away after some requests."""
    left = [times]

    def sometimes(handler, body):
        if left[0] > 0:
            left[0] -= 1
            return fault(handler, body)
        return False

    return sometimes


def echo_key(handler, body):
    """Refuses, and writes the key it was given back, as some gateways do."""
    handler.say((401, {"error": f"Incorrect API key provided: {handler.headers['Authorization']}"}))
