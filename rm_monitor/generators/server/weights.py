"""How a server comes to have the weights that are to be judged."""

from __future__ import annotations

import hashlib
import logging
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from rm_monitor.errors import GenerationError
from rm_monitor.http import BadReply, Client, HTTPFailure, Unavailable
from rm_monitor.text.waiting import Waiting
from rm_monitor.training.unwrap import unwrap

__all__ = ["LoraHotLoad", "ReloadFromDisk", "RunCommand", "Weights", "in_words", "written"]

log = logging.getLogger("rm_monitor")


class Weights(Protocol):
    """A way of giving a server a checkpoint."""

    def load(self, client: Client, checkpoint: Path | None, base: str | None) -> str | None:
        """Make the server answer with a checkpoint.

        Args:
            client: The server.
            checkpoint: A folder; None: the model before training.
            base: The model before training, as a folder or id, where it is known.

        Returns:
            The model's name to ask for; None: the only one the server lists.

        Raises:
            GenerationError: If the server does not have it now.
        """


@dataclass(slots=True)
class LoraHotLoad:
    """LoRA adapters onto the served base model, without a restart.

    vLLM: ``VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve BASE --enable-lora --max-lora-rank R``.
    SGLang: ``--enable-lora``. An adapter's name holds a digest of its weights, so a name never stands for two
    adapters; the one before is unloaded.

    Args:
        mounted: ``(here, there)``: a folder's path on this machine and on the server's.
    """

    mounted: tuple[str, str] | None = None
    _loaded: str | None = field(default=None, init=False, repr=False)

    def load(self, client: Client, checkpoint: Path | None, base: str | None) -> str | None:
        """See `Weights`; the model before training is the served base model."""
        previous, name = self._loaded, None
        if checkpoint is not None:
            name = self._load(client, checkpoint)
        self._loaded = name
        if previous not in (None, name):
            self._tell(client, "unload_lora_adapter", {"lora_name": previous}, forgive=(400, 404))
        return name

    def _load(self, client: Client, checkpoint: Path) -> str:
        if not (checkpoint / "adapter_config.json").is_file():
            raise GenerationError(
                f"{checkpoint} holds no LoRA adapter, and hot-loading loads nothing else: use RunCommand or "
                "ReloadFromDisk for full weights"
            )
        name = f"rm-monitor-{_digest(checkpoint)}"
        if name == self._loaded:
            return name
        path = str(checkpoint.resolve())
        if self.mounted is not None:
            here, there = self.mounted
            if not Path(path).is_relative_to(Path(here).resolve()):
                raise GenerationError(f"{path} is not below {here}, the folder that the server can see")
            path = str(Path(there) / Path(path).relative_to(Path(here).resolve()))
        try:
            self._tell(client, "load_lora_adapter", {"lora_name": name, "lora_path": path})
        except BadReply as problem:
            if not (problem.status == 400 and "already" in str(problem)):  # by another rank: the same weights
                raise GenerationError(f"the adapter was not loaded: {problem}") from None
        return name

    def _tell(self, client: Client, what: str, body: dict[str, Any], forgive: Sequence[int] = ()) -> None:
        """Tell a server: vLLM has these below ``/v1``, SGLang has not."""
        for path in (f"/v1/{what}", f"/{what}"):
            try:
                client.order(path, body)
                return
            except BadReply as problem:
                if problem.status == 404 and path.startswith("/v1/"):
                    continue
                if problem.status not in forgive:
                    raise


@dataclass(frozen=True, slots=True)
class ReloadFromDisk:
    """SGLang's ``/update_weights_from_disk``: full weights of the same architecture, in place."""

    def load(self, client: Client, checkpoint: Path | None, base: str | None) -> str | None:
        """See `Weights`."""
        path = _path_or_base(checkpoint, base)
        try:
            said = client.post("/update_weights_from_disk", {"model_path": path})
        except BadReply as problem:
            raise GenerationError(f"the server did not load {path}: {problem}") from None
        if not isinstance(said, dict) or said.get("success") is not True:
            why = said.get("message") if isinstance(said, dict) else said
            raise GenerationError(f"the server did not load {path}: {str(why)[:200]!a}")
        return None


@dataclass(frozen=True, slots=True)
class RunCommand:
    """The user's command, then waiting until the server answers.

    Args:
        command: With ``{checkpoint}`` where the folder belongs. It is run without a shell, and must not
            return before the old server is gone: ``"bash serve.sh {checkpoint}"``.
        timeout: Seconds the command may take.
        ready_timeout: Seconds the server may take to answer afterwards.

    Raises:
        ValueError: If the command has no ``{checkpoint}``.
    """

    command: str | Sequence[str]
    timeout: float = 600.0
    ready_timeout: float = 1800.0

    def __post_init__(self) -> None:
        if not any("{checkpoint}" in word for word in self._words):
            raise ValueError(f"`command` needs {{checkpoint}} where the folder belongs, got {self.command!r}")

    @property
    def _words(self) -> list[str]:
        return shlex.split(self.command) if isinstance(self.command, str) else list(self.command)

    def load(self, client: Client, checkpoint: Path | None, base: str | None) -> str | None:
        """See `Weights`."""
        path = _path_or_base(checkpoint, base)
        words = [word.replace("{checkpoint}", path) for word in self._words]
        try:
            with Waiting(f"training waits for the command {words[0]!r} to bring up the server"):
                done = subprocess.run(
                    words,
                    capture_output=True,
                    text=True,
                    timeout=self.timeout,
                    stdin=subprocess.DEVNULL,
                    check=False,
                )
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise GenerationError(
                f"the command {words[0]!r} for {path} did not run: {type(problem).__name__}"
            ) from None
        if done.returncode != 0:
            tail = client.key.hide((done.stderr or done.stdout)[-400:])
            raise GenerationError(
                f"the command {words[0]!r} for {path} ended with {done.returncode}: {tail!a}"
            )
        with Waiting(f"training waits for the server at {client.url} to come up"):
            self._wait(client, path)
        return None

    def _wait(self, client: Client, path: str) -> None:
        began = client.clock.now()
        while True:
            try:
                client.get("/v1/models")
                return
            except HTTPFailure as problem:
                reason = str(problem)
            if client.clock.now() - began > self.ready_timeout:
                raise GenerationError(
                    f"the server did not come up with {path} in {self.ready_timeout:.0f} s: {reason}"
                ) from None
            client.clock.sleep(1.0)


def in_words(words: str) -> Weights | None:
    """What a settings file can say: ``synced`` (None), ``lora``, ``disk``, or a command.

    Raises:
        ValueError: If it is none of these.

    Example:
        >>> in_words("lora"), in_words("bash serve.sh {checkpoint}").command
        (LoraHotLoad(mounted=None), 'bash serve.sh {checkpoint}')
    """
    if words == "synced":
        return None
    if words == "lora":
        return LoraHotLoad()
    if words == "disk":
        return ReloadFromDisk()
    if "{checkpoint}" in words:
        return RunCommand(words)
    raise ValueError(
        "`weights` must be 'lora', 'disk', 'synced', a command with {checkpoint} in it, or an object such "
        f"as RunCommand(...), got {words!r}"
    )


def written(model: Any, spool: str | None) -> tuple[Path, tempfile.TemporaryDirectory[str]]:
    """The weights of the model being trained, in a folder of their own; a LoRA model's adapter only.

    Raises:
        GenerationError: If the weights are spread over processes.
    """
    model = unwrap(model)
    spread = any(
        type(p).__name__ == "DTensor" or hasattr(p, "ds_id") or hasattr(p, "_is_flat_param")
        for p in model.parameters()
    )
    if spread:
        raise GenerationError(
            "the weights are spread over processes (FSDP, ZeRO-3) and a server needs them whole: judge the "
            "saved checkpoints with `rm-monitor watch`, or let the trainer keep the server current "
            "(weights='synced')"
        )
    folder = tempfile.TemporaryDirectory(prefix="rm-monitor-", dir=spool)
    model.save_pretrained(folder.name)
    return Path(folder.name), folder


def _path_or_base(checkpoint: Path | None, base: str | None) -> str:
    if checkpoint is not None:
        return str(checkpoint.resolve())
    if base is None:
        raise GenerationError("the model before training is to answer and is not known: pass base=")
    return os.path.abspath(base) if Path(base).is_dir() else base


def _digest(folder: Path) -> str:
    """Names an adapter by what is in it."""
    digest = hashlib.blake2b(digest_size=8)
    files = [p for p in sorted(folder.iterdir()) if p.name.startswith("adapter_")]
    for path in files:
        digest.update(path.name.encode())
        with path.open("rb") as file:
            while piece := file.read(2**22):
                digest.update(piece)
    return digest.hexdigest()


def unavailable(problem: HTTPFailure) -> GenerationError:
    """What a generator raises for a server's failure."""
    later = " (it may be back at the next evaluation)" if isinstance(problem, Unavailable) else ""
    return GenerationError(f"{problem}{later}")
