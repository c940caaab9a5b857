"""History, rows, the score cache, and what is kept."""

from __future__ import annotations

from tests.mutants.mutant import CRASH, LINES, STORAGE, TEXT, broken

MUTANTS = (
    # ---- records
    broken(
        "rows: checksum ignored",
        "records/rows.py",
        '        if zlib.crc32(data) != rows["crc"]:\n            return None\n',
        "",
        STORAGE,
    ),
    broken(
        "rows: any name",
        "records/rows.py",
        '        if not _NAME.fullmatch(rows["file"]):\n            return None\n',
        "",
        LINES,
    ),
    broken(
        "rows: their folder is not synced",
        "records/rows.py",
        "        files.sync(folder)",
        "        pass",
        CRASH,
    ),
    broken(
        "rows: text not capped",
        "records/rows.py",
        "getattr(completion, name)[:LONGEST_TEXT]",
        "getattr(completion, name)",
        STORAGE,
    ),
    broken(
        "history: rollback ignored",
        "records/history.py",
        'all(isinstance(resumed, int) and record["step"] <= resumed for resumed in later)',
        "True",
        STORAGE,
    ),
    broken(
        "history: what waits is dropped",
        "records/history.py",
        "            self._append(*self._waiting[0])\n            self._waiting.pop(0)",
        "            self._append(*self._waiting.pop(0))",
        STORAGE,
    ),
    broken(
        "history: rows under an old name",
        "records/history.py",
        'f"rows/{point.step}-{self._seq}.jsonl"',
        'f"rows/{point.step}-0.jsonl"',
        STORAGE,
    ),
    broken(
        "history: forged lines believed",
        "records/history.py",
        "        if _is_whole(record):\n",
        "        if True:\n",
        STORAGE,
    ),
    broken(
        "cache: checksum ignored",
        "cache/scores.py",
        "        if checksum(key, value) == crc:",
        "        if True:",
        LINES,
    ),
    # ---- checkpoints
    broken(
        "pin: no check after linking",
        "checkpoints/keeper.py",
        "            why = problem(building)\n",
        "            why = None\n",
        "tests/faults/test_keeper.py",
    ),
    broken(
        "pin: built under its final name",
        "checkpoints/keeper.py",
        'building = self.kept / f".building-{step}"\n        files.remove(building)\n        building.mkdir',
        "building = self._free(step)\n        building.mkdir",
        STORAGE,
        CRASH,
    ),
    broken(
        "pin: not synced",
        "checkpoints/keeper.py",
        "        files.sync(building)\n        target",
        "        target",
        CRASH,
    ),
    broken(
        "best link: removed, then made",
        "checkpoints/keeper.py",
        "        os.replace(new, link)\n",
        "        files.remove(link)\n        new.rename(link)\n",
        "tests/faults/test_keeper.py",
    ),
    broken(
        "prune: the marked best not spared",
        "checkpoints/keeper.py",
        " | ({marked} if marked else set())",
        "",
        "tests/faults/test_keeper.py",
    ),
    broken(
        "prune: taken apart in place",
        "checkpoints/keeper.py",
        "                os.replace(path, away)\n                files.remove(away)\n",
        "                files.remove(path)\n",
        "tests/faults/test_keeper.py",
    ),
    broken("marked: any name", "checkpoints/keeper.py", "_KEPT.fullmatch(name) and ", "", STORAGE),
    broken(
        "kept that is not whole: silent",
        "checkpoints/keeper.py",
        "        if why is not None and (path.name",
        "        if False and (path.name",
        "tests/faults/test_keeper.py",
    ),
    broken(
        "a checkpoint that cannot be looked at is gone",
        "checkpoints/selection.py",
        "                return path\n        return None\n\n    def elect",
        "        return None\n\n    def elect",
        "tests/faults/test_keeper.py",
    ),
    broken(
        "disk: size not compared",
        "checkpoints/disk.py",
        "    if size != 8 + length + end:",
        "    if False:",
        STORAGE,
    ),
    broken(
        "disk: trainer_state not asked for",
        "checkpoints/disk.py",
        '    if path.name.startswith("checkpoint-") and step_of(path) is not None:',
        "    if False:",
        STORAGE,
    ),
    broken(
        "disk: shards elsewhere",
        "checkpoints/disk.py",
        "not isinstance(name, str) or Path(name).name != name",
        "False",
        STORAGE,
        *TEXT,
    ),
)
