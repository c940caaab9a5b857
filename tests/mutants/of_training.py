"""Text made inert, training left as it was, a run's life."""

from __future__ import annotations

from tests.mutants.mutant import TEXT, UNDISTURBED, WAITS, broken

MUTANTS = (
    # ---- text and secrets
    broken(
        "escape: html not escaped",
        "text/escape.py",
        "return html.escape(visible(text), quote=True)",
        "return visible(text)",
        *TEXT,
    ),
    broken(
        "escape: invisible characters pass",
        "text/escape.py",
        'return _INVISIBLE.sub(lambda m: m.group() if _joins(m) else f"[U+{ord(m.group()):04X}]", shown)',
        "return shown",
        *TEXT,
    ),
    broken(
        "redact: environment not looked at",
        "text/escape.py",
        "for value in sorted(known, key=len, reverse=True):",
        "for value in ():",
        *TEXT,
    ),
    # ---- training
    broken(
        "modules: mode flags not restored",
        "training/module_state.py",
        "        part.training = training\n",
        "        pass\n",
        *UNDISTURBED,
    ),
    broken(
        "modules: new attributes stay",
        "training/module_state.py",
        "        del now[name]\n",
        "        pass\n",
        *UNDISTURBED,
    ),
    broken(
        "modules: contents of containers stay",
        "training/module_state.py",
        "            _refill(bound[name], saved)\n",
        "            pass\n",
        *UNDISTURBED,
    ),
    broken(
        "modules: merged weights stay",
        "training/module_state.py",
        "            parameter.data.copy_(saved)",
        "            pass",
        *UNDISTURBED,
    ),
    broken(
        "modules: buffers replaced stay",
        "training/module_state.py",
        "        part._buffers[name] = self._tensor\n",
        "",
        "tests/faults/test_zoo.py",
        *UNDISTURBED,
    ),
    broken("hooks: said each time", "training/hooks.py", "        _said.add(hook)\n", "", *UNDISTURBED),
    broken(
        "threads: all at once",
        "training/undisturbed.py",
        "        after.enter_context(_one_at_a_time)\n",
        "",
        *UNDISTURBED,
    ),
    broken(
        "torch state not restored",
        "training/random_states.py",
        "    yield lambda: torch.set_rng_state(cpu)\n",
        "",
        *UNDISTURBED,
    ),
    broken(
        "ranks: missing ones not named",
        "training/ranks.py",
        "        if waited > next_line:\n",
        "        if False:\n",
        WAITS,
    ),
    broken(
        "ranks: waited for without an end",
        "training/ranks.py",
        "        if waited > COMES:\n",
        "        if False and waited:\n",
        WAITS,
    ),
    # ---- life
    broken(
        "border: an event's failure gets out",
        "monitor/border.py",
        "        except Exception as problem:\n            if self",
        "        except ZeroDivisionError as problem:\n            if self",
        "tests/faults/test_outages.py",
        "tests/test_callback.py",
    ),
    broken(
        "evaluation: its failure gets out",
        "evaluation/evaluator.py",
        "        except Exception as problem:\n            error = problem\n        facts",
        "        except ZeroDivisionError as problem:\n            error = problem\n        facts",
        "tests/faults/test_rows.py",
    ),
    broken(
        "overlap: stuck process waited for",
        "monitor/overlap/worker.py",
        "            if waited >= patience:\n",
        "            if False:\n",
        WAITS,
    ),
    broken(
        "overlap: no experience",
        "monitor/overlap/queue.py",
        "max(SHORTEST, TIMES * self._dearest) if self._dearest else FIRST",
        "FIRST",
        WAITS,
    ),
    broken(
        "watch: forged numbers are sizes",
        "sweep/ready.py",
        "    if newest // every > MOST_DUE:",
        "    if False:",
        "tests/sweep/test_ready.py",
    ),
    broken(
        "watch: a turn for each gap",
        "sweep/watcher.py",
        "            self._record_gaps(new)\n",
        "            for step in new:\n                self._record_gaps([step])\n",
        "tests/sweep/test_ready.py",
    ),
    broken(
        "watch: what was gone before is put on the curve",
        "sweep/watcher.py",
        "([] if self._looked else [s for s in gone if s not in self._seen])",
        "[]",
        "tests/sweep/test_ready.py",
    ),
)
