"""How a training is started and resumed in each host, and what a user wrote for the monitor."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
MONITORED = ("-m", "rm_monitor", "run", "--config", "monitor.yaml", "--")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A place where models are trained.

    Attributes:
        title: As people know it.
        environment: The folder of `integrations` whose requirements it needs.
        package: Whose version is told.
        command: ``(steps, resume)`` -> what stands behind ``python``; it may write files first.
        written: The file with what a user writes for the monitor.
        since: The line from which on it is all the monitor's; empty: the lines that name it.
        axis: The column of a W&B row that holds its step.
    """

    title: str
    environment: str
    package: str
    command: Callable[[int, bool], list[str]]
    written: str = ""
    since: str = ""
    axis: str = "train/global_step"

    def version(self) -> str:
        """Of the host, and of transformers where that is another package."""
        own = f"{self.package} {version(self.package)}"
        return own if self.package == "transformers" else f"{own}, transformers {version('transformers')}"

    def lines(self) -> int:
        """Lines that are there because of the monitor, beside the five of monitor.yaml."""
        if not self.written:
            return 0
        lines = [line.strip() for line in (HERE / self.written).read_text().splitlines()]
        lines = [line for line in lines if line and not line.startswith(("#", '"""'))]
        if self.since:
            return len(lines) - lines.index(self.since)
        return sum("monitor" in line.lower() or "AcceleratorSink" in line for line in lines)


def script(name: str) -> Callable[[int, bool], list[str]]:
    """A script of this folder."""

    def command(steps: int, resume: bool) -> list[str]:
        return [str(HERE / name), f"--steps={steps}", *(["--resume"] if resume else [])]

    return command


def last(steps: int) -> str:
    return f"out/checkpoint-{steps // 2}"


def trl_cli(steps: int, resume: bool) -> list[str]:
    words = ["trl", "sft", "--config", str(HERE / "trl" / "sft.yaml"), "--max_steps", str(steps)]
    return [*MONITORED, *words, *(["--resume_from_checkpoint", last(steps)] if resume else [])]


def axolotl(steps: int, resume: bool) -> list[str]:
    import yaml

    settings = yaml.safe_load((HERE / "axolotl" / "sft.yaml").read_text())
    settings |= {"max_steps": steps, "save_steps": 20, "save_strategy": "steps", "micro_batch_size": 16}
    settings |= {"wandb_project": "rm_monitor", "wandb_mode": "offline"}
    settings["rm_monitor"]["every"] = 20
    if resume:
        settings["resume_from_checkpoint"] = last(steps)
    Path("sft.yaml").write_text(yaml.safe_dump(settings))
    return ["-m", "axolotl.cli.train", "sft.yaml"]


def llamafactory(steps: int, resume: bool) -> list[str]:
    words = ["llamafactory-cli", "train", str(HERE / "llamafactory" / "sft.yaml"), f"max_steps={steps}"]
    words += ["save_strategy=steps", "save_steps=20", "report_to=wandb", "per_device_train_batch_size=16"]
    return [*MONITORED, *words, *([f"resume_from_checkpoint={last(steps)}"] if resume else [])]


def swift(steps: int, resume: bool) -> list[str]:
    from rm_monitor.integrations.swift import PLUGIN

    settings = {
        **{"model": "tiny/policy", "model_type": "llama", "template": "dummy", "tuner_type": "full"},
        **{"dataset": "data/chat.jsonl", "max_length": 64, "torch_dtype": "float32", "output_dir": "out"},
        **{"per_device_train_batch_size": 16, "learning_rate": 3e-3, "lr_scheduler_type": "constant"},
        **{"max_steps": steps, "save_steps": 20, "eval_strategy": "no", "logging_steps": 10},
        **{"report_to": "wandb", "add_version": "false", "warmup_ratio": 0.0},
        **{"external_plugins": PLUGIN, "callbacks": "rm_monitor"},
    }
    settings |= {"resume_from_checkpoint": last(steps)} if resume else {}
    return ["-m", "swift.cli.sft", *(w for k, v in settings.items() for w in (f"--{k}", str(v)))]


HOSTS = {
    "transformers": Host(
        title="transformers `Trainer`",
        environment="trl",
        package="transformers",
        command=script("transformers/train.py"),
        written="transformers/train.py",
    ),
    "trl": Host(title="TRL, `trl sft`", environment="trl", package="trl", command=trl_cli),
    "axolotl": Host(
        title="axolotl",
        environment="axolotl",
        package="axolotl",
        command=axolotl,
        written="axolotl/sft.yaml",
        since="plugins:",
    ),
    "llamafactory": Host(
        title="LLaMA-Factory",
        environment="llamafactory",
        package="llamafactory",
        command=llamafactory,
    ),
    "ms-swift": Host(title="ms-swift", environment="ms-swift", package="ms-swift", command=swift),
    "lightning": Host(
        title="Lightning",
        environment="lightning",
        package="lightning",
        command=script("lightning/train.py"),
        written="lightning/train.py",
    ),
    "fabric": Host(
        title="Lightning Fabric",
        environment="lightning",
        package="lightning",
        command=script("fabric/train.py"),
        written="fabric/train.py",
    ),
    "accelerate": Host(
        title="accelerate loop",
        environment="accelerate",
        package="accelerate",
        command=script("accelerate/train.py"),
        written="accelerate/train.py",
        axis="_step",
    ),
    "composer": Host(
        title="Composer",
        environment="composer",
        package="mosaicml",
        command=script("composer/train.py"),
        written="composer/train.py",
        axis="_step",
    ),
    "ray": Host(
        title="Ray Train",
        environment="ray",
        package="ray",
        command=script("ray/train.py"),
        written="ray/train.py",
    ),
}


COLUMNS = {
    "curve": "curve until step 80",
    "resume": "resumed in a new process",
    "alarm": "alarm after a blow-up",
    "best": "best kept",
    "wandb": "W&B rows at their step",
}


def table(results: Path) -> None:
    """Put what was found, one JSON file a host, into README.md."""
    lines = [
        f"| host | versions | lines | {' | '.join(COLUMNS.values())} |",
        "|" + "---|" * (3 + len(COLUMNS)),
    ]
    for name, host in HOSTS.items():
        path = results / f"{name}.json"
        found = (
            json.loads(path.read_text()) if path.is_file() else {"version": "not run", "lines": host.lines()}
        )
        cells = [found.get(column, "**no**" if path.is_file() else "") for column in COLUMNS]
        lines.append(f"| {host.title} | {found['version']} | {found['lines']} | {' | '.join(cells)} |")
    readme = HERE / "README.md"
    before, rest = readme.read_text().split("<!-- table -->\n")
    after = rest.partition("<!-- end -->")[2]
    readme.write_text(before + "<!-- table -->\n" + "\n".join(lines) + "\n<!-- end -->" + after)
