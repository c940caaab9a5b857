"""Ways of answering prompts with the checkpoint as it stands; one a file.

A package of somebody else's brings one under a name with the entry-point group ``rm_monitor.generators``.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from pathlib import Path
from typing import Any

from rm_monitor.files.plugins import bring, brought
from rm_monitor.types import Generator
from rm_monitor.types.checks import did_you_mean

__all__ = ["load_generator"]

GROUP = "rm_monitor.generators"  # of entry points


def load_generator(spec: Any = None) -> Generator:
    """A way of answering.

    Args:
        spec: None: the model being trained, in this process; ``"vllm"``, or ``{"vllm": {...}}`` with the
            arguments of `VLLMGenerator`: the same by vLLM; a URL, or the arguments of `ServerGenerator` as a
            mapping: a server; a path: recorded completions; a name that another package brings, or
            ``{"source": name, **options}``; a generator: itself.

    Raises:
        ValueError: If vLLM is asked for and not installed, a mapping has other keys than these, or
            ``source`` is brought by nobody.
        TypeError: If it is none of these.
    """
    if spec is None:
        from rm_monitor.generators.engine import EngineGenerator  # noqa: PLC0415  needs torch

        return EngineGenerator()
    if spec == "vllm" or (isinstance(spec, Mapping) and "vllm" in spec):
        from rm_monitor.generators.vllm import VLLMGenerator  # noqa: PLC0415  needs torch

        options = spec["vllm"] if isinstance(spec, Mapping) else {}
        if isinstance(spec, Mapping) and (len(spec) > 1 or not isinstance(options or {}, Mapping)):
            raise ValueError(
                "`generator` with `vllm` has that one key, and its options as a mapping, got "
                f"{dict(spec)!r}: write {{'vllm': {{'memory': 2_000_000_000}}}}, or 'vllm'"
            )
        return VLLMGenerator(**(options or {}))
    if isinstance(spec, Mapping) and "source" in spec:
        return _brought(**spec)
    if isinstance(spec, str) and not Path(spec).exists() and spec in brought(GROUP):
        return _brought(spec)
    if isinstance(spec, Mapping) or (isinstance(spec, str) and spec.startswith(("http://", "https://"))):
        from rm_monitor.generators.server import ServerGenerator  # noqa: PLC0415

        if isinstance(spec, str):
            return ServerGenerator(spec)
        known = list(signature(ServerGenerator).parameters)
        for name in spec:
            if name not in known:
                raise ValueError(
                    f"`generator` has no setting {name!r}{did_you_mean(name, known)}; a server's are {known}"
                )
        return ServerGenerator(**spec)
    if isinstance(spec, str):
        from rm_monitor.generators.recorded import RecordedGenerator  # noqa: PLC0415

        return RecordedGenerator(spec)
    if not isinstance(spec, Generator):
        raise TypeError(
            "`generator` is a URL, a path to recorded completions, 'vllm', or an object with "
            "generate(prompts, sampling, *, seed, model, tokenizer, progress) -> completions; "
            f"got {type(spec).__name__}"
        )
    return spec


def _brought(source: str, **options: Any) -> Generator:
    known = brought(GROUP)
    if source not in known:
        raise ValueError(
            f"`source` of a generator names what another package brings, got {source!r}; installed are "
            f"{sorted(known)} (entry points of the group {GROUP}); a server is given as {{url: ...}}"
        )
    generator: Generator = bring(known[source], **options)
    return generator
