"""A page as a picture, for the README: `make pictures`, or

python -m tests.report.picture demo/_rm_monitor/report.html docs/images/page.png --height 860
"""

import argparse
import base64
import tempfile
from pathlib import Path

from tests.report.browser import Chromium


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("picture", type=Path)
    parser.add_argument("--width", type=int, default=1100)
    parser.add_argument("--height", type=int, default=860)
    parser.add_argument("--dark", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as profile:
        browser = Chromium(profile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if args.dark else "light"}
        browser.send("Emulation.setEmulatedMedia", features=[scheme])
        browser.open(args.page.resolve(), width=args.width, height=args.height)
        data = browser.send("Page.captureScreenshot", format="png")["data"]
        browser.process.terminate()
        browser.process.wait()
    args.picture.parent.mkdir(parents=True, exist_ok=True)
    args.picture.write_bytes(base64.b64decode(data))


if __name__ == "__main__":
    main()
