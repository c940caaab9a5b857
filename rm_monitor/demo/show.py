"""Run the demo and say what happened."""

from __future__ import annotations

from pathlib import Path

import typer

from rm_monitor.demo.run import BLOW_UP, Outcome, run
from rm_monitor.report.standalone import standalone
from rm_monitor.runs import load_run

__all__ = ["show"]


def show(output_dir: Path, *, seed: int) -> int:
    """Run, print, and return the exit code: 0 when the demo showed what it is meant to show."""
    typer.echo(
        f"A tiny policy learns to count in words; after step {BLOW_UP} its learning rate blows up.\n"
        "A toy reward model, trained here first, judges its answers to prompts it never trained on.\n"
    )
    outcome = run(output_dir, seed=seed)
    picture = standalone(load_run(output_dir).view())
    (output_dir / "curve.svg").write_text(picture, encoding="utf-8", newline="\n")
    typer.echo("\n" + story(outcome, output_dir))
    return 0 if as_meant(outcome) else 1


def as_meant(outcome: Outcome) -> bool:
    """Flagged after the blow-up and not before, with a best checkpoint from before it."""
    best = outcome.monitor.best
    flagged_after = outcome.flagged is not None and outcome.flagged > BLOW_UP
    return flagged_after and best is not None and 0 < best.step <= BLOW_UP


def story(outcome: Outcome, output_dir: Path) -> str:
    """What happened, and what to look at next."""
    best = outcome.monitor.best
    folder = output_dir / "_rm_monitor"
    lines = [f"The learning rate blew up after step {BLOW_UP}."]
    if outcome.flagged is None or best is None:
        lines.append("rm_monitor did not see it: please report this with the seed you used.")
    else:
        lines.append(
            f"rm_monitor saw it at step {outcome.flagged} and kept step {best.step}: {folder / 'best'}"
        )
    lines += [
        f"The curve, and the answers side by side: {folder / 'report.html'}",
        f"The curve alone, as a picture: {output_dir / 'curve.svg'}",
        f"What W&B was sent: {output_dir / 'wandb'} (`wandb sync` uploads it)",
        f"({outcome.seconds:.0f} s, no network; the reward model is a toy that ranks "
        f"{outcome.accuracy:.0%} of fresh "
        "pairs rightly)",
    ]
    return "\n".join(lines)
