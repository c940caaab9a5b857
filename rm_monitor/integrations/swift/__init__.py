"""ms-swift: ``--external_plugins $(python -m rm_monitor.integrations.swift) --callbacks rm_monitor``.

The settings are read from ``$RM_MONITOR_CONFIG``, else from ``monitor.yaml`` where swift is started.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rm_monitor.integrations.settings import callback_of, read

__all__ = ["PLUGIN", "register"]

# Alone in a folder: swift puts the folder of a plug-in on sys.path, where its neighbours' names would count.
PLUGIN = Path(__file__).with_name("plugin") / "rm_monitor_swift.py"


def register() -> None:
    """Add ``rm_monitor`` to the callbacks that swift knows by name.

    Raises:
        ValueError: If the settings break a rule.
        FileNotFoundError: If there are none.
    """
    from swift.callbacks import callbacks_map  # noqa: PLC0415  the host

    where = os.environ.get("RM_MONITOR_CONFIG", "monitor.yaml")
    read(where)  # refused here, before a model is loaded

    def build(args: Any, trainer: Any) -> Any:
        callback = callback_of(where)
        # Swift always sets `metric_for_best_model`. Where nothing is evaluated nobody selects by it.
        if (
            callback.select_best == "auto"
            and str(getattr(args.eval_strategy, "value", args.eval_strategy)) == "no"
        ):
            callback.select_best = True
        return callback

    callbacks_map["rm_monitor"] = build
