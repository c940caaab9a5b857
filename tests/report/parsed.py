"""A page as a strict reader sees it: every tag closed, every attribute quoted, nothing that acts."""

from html.parser import HTMLParser

VOID = {"meta", "input", "br", "link", "img", "hr", "base"}
SHAPES = {"path", "circle", "rect", "polygon"}


class Page(HTMLParser):
    """Elements with their attributes and text; complains where a browser would have to guess."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.elements, self.open, self.blocks = [], [], {}
        self.html = html
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice: {names}"
        element = {
            "tag": tag,
            "attributes": dict(attributes),
            "text": "",
            "in": [e["tag"] for e in self.open],
        }
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1]["tag"] == tag, f"</{tag}> closes <{self.open[-1]['tag']}>"
        self.open.pop()

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def handle_comment(self, data):
        raise AssertionError(f"a comment: {data!r}")

    def all(self, tag=None, kind=None):
        return [
            e
            for e in self.elements
            if (tag is None or e["tag"] == tag)
            and (kind is None or kind in (e["attributes"].get("class") or "").split())
        ]

    @property
    def text(self):
        return "\n".join(e["text"] for e in self.all("body"))


def coordinates(page):
    """Of every shape of the two large drawings: absolute ones lie inside the picture."""
    for element in page.elements:
        if element["tag"] in SHAPES:
            for name in ("d", "x", "y", "cx", "cy", "width", "height", "points", "data-x"):
                if name in element["attributes"]:
                    yield element, name, element["attributes"][name]
