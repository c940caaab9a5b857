"""A monitor and its callback go to other processes, or say what cannot."""

import copy
import pickle

import pytest

from rm_monitor import RewardMonitor, RewardMonitorCallback
from tests.helpers import CountsGood, Says


def callback(folder, judge, **arguments):
    monitor = RewardMonitor(
        judge, ["a"], references=["b"], generator=Says(len), output_dir=folder, report_to=[], **arguments
    )
    return RewardMonitorCallback(monitor)


def constant(prompts, completions):
    return [0.0] * len(completions)


def quality(step):
    return 0.5


@pytest.mark.parametrize("when", ["before a run", "in a run", "after it"])
@pytest.mark.parametrize(
    "how", [lambda x: pickle.loads(pickle.dumps(x)), copy.deepcopy], ids=["pickle", "copy"]
)
def test_a_copy_has_the_settings_and_no_run(tmp_path, when, how):
    made = callback(tmp_path, CountsGood())
    made.monitor.settings.generator.quality = quality
    if when != "before a run":
        made.monitor.evaluate(step=0)
    if when == "after it":
        made.monitor.close()
    copied = how(made)
    assert copied.monitor is not made.monitor
    assert copied.parts is copied.monitor._parts
    assert copied.monitor.run is None
    made.monitor.close()
    assert copied.monitor.evaluate(step=0).status == "ok"
    copied.monitor.close()


def test_what_cannot_be_pickled_is_named_with_the_way_out(tmp_path):
    made = callback(tmp_path, lambda prompts, completions: [0.0] * len(completions))
    with pytest.raises(TypeError, match=r"`reward_model` cannot be pickled .* function or class of a module"):
        pickle.dumps(made)
    copy.deepcopy(made)
    assert pickle.loads(pickle.dumps(callback(tmp_path, constant).monitor.settings.scorers))


def test_a_generator_that_cannot_be_pickled_is_named(tmp_path):
    made = callback(tmp_path, CountsGood())
    made.monitor.settings.generator.quality = lambda step: 0.5
    with pytest.raises(TypeError, match="`generator` cannot be pickled"):
        pickle.dumps(made)
