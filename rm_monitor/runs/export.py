"""The best checkpoint as a model folder of its own: weights, tokenizer, generation settings, card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from rm_monitor.errors import NotFoundError
from rm_monitor.report.model_card import write_card
from rm_monitor.runs.best import best_of
from rm_monitor.runs.read import folder_of, load_run

__all__ = ["export", "push"]

_SAFE = {"use_safetensors": True, "trust_remote_code": False}  # nothing that is read can run code


def export(run: str | Path, to: str | Path, *, merge: bool = True, base: str | None = None) -> Path:
    """Write the best checkpoint of a run where `from_pretrained` and others load it.

    Args:
        run: Its ``output_dir``.
        to: A folder that is not there, or is empty.
        merge: Write a LoRA adapter as whole weights, merged into its base; False: as the adapter it is.
        base: The base of an adapter; None: the one it names.

    Returns:
        The folder, with a card that says how the training went.

    Raises:
        NotFoundError: If no best checkpoint is kept.
        ValueError: If the folder holds something, or an adapter names no base.
    """
    found = best_of(run)
    if found is None:
        raise NotFoundError(f"no best checkpoint is kept in {folder_of(run)}")
    source, to = Path(found["path"]), Path(to)
    if to.exists() and any(to.iterdir()):
        raise ValueError(f"`to` must be a new folder, and {to} holds {len(list(to.iterdir()))} files")
    to.mkdir(parents=True, exist_ok=True)
    places: list[str | Path] = [source, folder_of(run).parent]
    if merge and (source / "adapter_config.json").is_file():
        places.insert(1, _merge(source, to, base))
    else:
        for path in source.iterdir():
            if path.is_file():
                shutil.copy2(path.resolve(), to / path.name)
    _add_tokenizer(to, places)
    write_card(load_run(run).view(), to)
    return to


def push(folder: str | Path, where: str, *, private: bool = False) -> str:
    """Upload an exported folder to the Hub.

    Args:
        folder: What `export` wrote.
        where: ``user/model``, or ``user/model@branch``; both are made if they are not there.
        private: Of a repository that is made.

    Returns:
        The address of the commit.
    """
    from huggingface_hub import HfApi  # noqa: PLC0415  half a second

    repo, _, branch = where.partition("@")
    api = HfApi()
    api.create_repo(repo, private=private, exist_ok=True)
    if branch:
        api.create_branch(repo, branch=branch, exist_ok=True)
    done: Any = api.upload_folder(
        repo_id=repo,
        folder_path=str(folder),
        revision=branch or None,
        commit_message="The best checkpoint, chosen by rm_monitor",
    )
    return str(done.commit_url)


def _merge(adapter: Path, to: Path, base: str | None) -> str:
    """Whole weights from an adapter and its base."""
    from peft import PeftModel  # noqa: PLC0415  only for adapters
    from transformers import AutoModelForCausalLM  # noqa: PLC0415  needs torch

    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    base = base or config.get("base_model_name_or_path")
    if not base:
        raise ValueError(f"{adapter} is an adapter that names no base model: pass `base`")
    policy = AutoModelForCausalLM.from_pretrained(base, **_SAFE)
    PeftModel.from_pretrained(policy, str(adapter)).merge_and_unload().save_pretrained(to)
    return str(base)


def _add_tokenizer(to: Path, places: list[str | Path]) -> None:
    """The tokenizer that answers were asked with: beside the weights, else the base's, else the run's."""
    if any(to.glob("tokenizer*")):
        return
    from transformers import AutoTokenizer  # noqa: PLC0415  needs torch

    for place in places:
        if Path(place).is_dir() and not any(Path(place).glob("tokenizer*")):
            continue
        AutoTokenizer.from_pretrained(str(place), trust_remote_code=False).save_pretrained(to)
        return
