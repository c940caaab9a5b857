"""How a run was made, in words, from its manifest: the same for a page that is written live and afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["facts"]

_VERSIONS = ("rm_monitor", "torch", "transformers")


def facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Name -> text; what the manifest lacks is left out.

    Example:
        >>> facts({"prompts": {"n": 64, "source": "prompts.jsonl"}, "comparable": {"prompts": "ab12", "seed": 0}})
        {'prompts': '64 from prompts.jsonl (ab12)', 'seed': '0'}
    """
    depends = manifest.get("comparable", {})
    found: dict[str, str] = {}
    prompts = manifest.get("prompts")
    if prompts:
        found["prompts"] = f"{prompts['n']} from {prompts['source']} ({depends.get('prompts', 'unknown')})"
    for name in ("model", "begun"):
        if manifest.get(name):
            found[name] = str(manifest[name])
    references = [
        f"{name}: {r['n']} from {r['source'] or 'the user'} ({depends.get('references', {}).get(name, 'unknown')})"
        for name, r in manifest.get("references", {}).items()
    ]
    if references:
        found["references"] = "; ".join(references)
    scorers = depends.get("scorers", {})
    if scorers:
        found["reward model"] = ", ".join(scorers)
        found["its fingerprint"] = ", ".join(str(f)[:32] for f in scorers.values())
    sampling = depends.get("sampling")
    if sampling:
        found["sampling"] = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in sampling.items())
    if "seed" in depends:
        found["seed"] = str(depends["seed"])
    if manifest.get("every"):
        found["evaluated"] = str(manifest["every"])
    training = manifest.get("training", {})
    if training:
        found["training"] = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in training.items())
    versions = manifest.get("versions", {})
    if versions:
        found["versions"] = ", ".join(f"{name} {versions[name]}" for name in _VERSIONS if name in versions)
    return found
