"""A training that blows up in whatever host: with this folder in PYTHONPATH and RM_MONITOR_PLANTED=40.

From its 41st optimizer step on the learning rate is 0.3, in every process: torch calls us before each step.
Python loads this module by its name when it starts.
"""

import os
import sys
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from weakref import WeakKeyDictionary

BLOWN_UP = 0.3
MODULE = "torch.optim.optimizer"


class Planter(MetaPathFinder):
    """Lets every optimizer blow up behind `at` steps, once torch's are imported by whoever needs them."""

    def __init__(self, at):
        self.at = at

    def find_spec(self, name, path=None, target=None):
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        load = spec.loader.exec_module

        def then(module):
            load(module)
            module.register_optimizer_step_pre_hook(blow_up(self.at))

        spec.loader.exec_module = then
        return spec


def blow_up(at):
    """What torch calls before each step of each optimizer."""
    steps: WeakKeyDictionary = WeakKeyDictionary()

    def before(optimizer, args, kwargs):
        steps[optimizer] = steps.get(optimizer, 0) + 1
        if steps[optimizer] > at:
            for group in optimizer.param_groups:
                group["lr"] = BLOWN_UP

    return before


if "RM_MONITOR_PLANTED" in os.environ:
    sys.meta_path.insert(0, Planter(int(os.environ["RM_MONITOR_PLANTED"])))
