"""Chat templates that no conversation needs: each is refused within its time and memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator

from rm_monitor.errors import TemplateError
from rm_monitor.text.trial import Trials

MEMORY = {
    "a long text": "{{ 'x' * 3000000000 }}",
    "a wide field": "{{ '%9999999999d' % 3 }}",
    "a method": "{{ 'a'.center(9999999999) }}",
    "a filter": "{{ 'a'|indent(10**9) }}",
    "a format": "{{ '{:>9999999999}'.format(1) }}",
    "a text that doubles": "{% set ns = namespace(x='aa') %}{% for i in range(60) %}"
    "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "a list that doubles": "{% set ns = namespace(x=[1, 1]) %}{% for i in range(60) %}"
    "{% set ns.x = ns.x + ns.x %}{% endfor %}",
}
TIME = {
    "nested loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "one C call": "{{ 2 ** (10 ** 9) }}",
    "shared lists": "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}"
    "{% endfor %}{{ (ns.x|tojson)[:5] }}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}"
    "{% endmacro %}{{ f(99) }}",
}
OTHERS = {
    "draws": ("{{ [1, 2]|random }}", "draws random numbers"),
    "more than is read": ("{% for i in range(9999) %}{{ 'x' * 1000 }}{% endfor %}", "writes 9,999,000 char"),
}


def campaign() -> Iterator[tuple[str, str, str]]:
    """Every one of them, with the time and the memory it took this process."""
    trials, wrong, longest = Trials(seconds=2), [], 0.0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    bombs = {**MEMORY, **TIME, **{name: template for name, (template, _) in OTHERS.items()}}
    for name, template in bombs.items():
        began = time.monotonic()
        try:
            trials(template, {"messages": [{"role": "user", "content": "hello"}]})
            wrong.append(name)
        except TemplateError:
            longest = max(longest, time.monotonic() - began)
    trials.close()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    got = f"{len(bombs) - len(wrong)} of {len(bombs)}, the longest {longest:.1f} s, {grown} MB more here"
    yield "hostile chat templates refused", f"{len(bombs)} of {len(bombs)}", f"{got} {wrong or ''}"
