"""A headless Chromium, spoken to through two pipes (the DevTools protocol): no package, no port."""

import json
import os
import shutil
import subprocess

FOUND = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)


class Chromium:
    """One page of one browser.

    Args:
        profile: A folder of its own.
    """

    def __init__(self, profile):
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()

        def fds():  # the protocol speaks on 3 and 4
            a, b = os.dup(read_there), os.dup(write_there)
            os.dup2(a, 3)
            os.dup2(b, 4)

        command = [FOUND, *FLAGS, f"--user-data-dir={profile}"]
        self.process = subprocess.Popen(
            command, preexec_fn=fds, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(read_there)
        os.close(write_there)
        self.out, self.inn = os.fdopen(write_here, "wb", buffering=0), os.fdopen(read_here, "rb", buffering=0)
        self.number, self.rest, self.events, self.session = 0, b"", [], None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "Audits"):
            self.send(f"{domain}.enable")

    def send(self, method, **parameters):
        """Ask, and wait for the answer; what happens meanwhile is kept in ``events``."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.out.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.number:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def open(self, path, *, width=1280, height=900):
        """Load a file, and forget what happened before."""
        self.visit(f"file://{path}", width=width, height=height)

    def visit(self, address, *, width=1280, height=900):
        """Load what an address answers with, and forget what happened before."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 700,
        )
        self.events.clear()
        self.send("Page.navigate", url=address)
        self._loaded()

    def submit(self):
        """Press Enter on what has the focus, and wait for the page that follows."""
        self.events.clear()
        self.press("Enter")
        self._loaded()

    def _loaded(self):
        while not any(e.get("method") == "Page.loadEventFired" for e in self.events):
            self.events.append(self._next())

    def run(self, script):
        """The value of an expression in the page."""
        done = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def press(self, key):
        """A key on whatever has the focus."""
        for kind in ("keyDown", "keyUp"):
            code = {"Tab": 9, "Enter": 13, " ": 32}.get(key, 0)
            text = {"Tab": "", "Enter": "\r"}.get(key, key) if kind == "keyDown" else ""
            self.send("Input.dispatchKeyEvent", type=kind, key=key, text=text, windowsVirtualKeyCode=code)

    def of(self, *methods):
        """What happened since the page was opened."""
        return [e["params"] for e in self.events if e.get("method") in methods]

    def close(self):
        """End the browser."""
        self.session = None
        self.send("Browser.close")
        self.process.wait(20)
        self.out.close()
        self.inn.close()

    def _next(self):
        while b"\0" not in self.rest:
            more = self.inn.read(1 << 20)
            if not more:
                raise RuntimeError(f"the browser ended with {self.process.wait()}")
            self.rest += more
        first, self.rest = self.rest.split(b"\0", 1)
        return json.loads(first)
