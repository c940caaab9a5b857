"""A chat template is a stranger's program: one that loops or eats the memory is rendered nowhere."""

import copy
import os
import signal

import pytest
from transformers.utils.chat_template_utils import render_jinja_template

from rm_monitor.errors import TemplateError
from rm_monitor.prompts.rendering import prompt_text
from rm_monitor.scorers.text.encodings import ChatEncoding
from rm_monitor.text import trial
from rm_monitor.text.trial import Trials
from rm_monitor.types import Prompt
from tests.faults.templates import MEMORY, OTHERS, TIME

USER = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def trials():
    made = Trials(seconds=1, memory=256 * 2**20)
    yield made
    made.close()


@pytest.mark.parametrize("bomb", MEMORY)
def test_a_template_that_eats_the_memory_is_refused(trials, bomb):
    with pytest.raises(TemplateError, match=r"needs too much memory|did not end within"):
        trials(MEMORY[bomb], {"messages": USER})


@pytest.mark.parametrize("bomb", ["nested loops"])
def test_a_template_that_does_not_end_is_refused_and_not_tried_again(trials, bomb, monkeypatch):
    with pytest.raises(TemplateError, match=r"did not end within 1 s|needs too much memory"):
        trials(TIME[bomb], {"messages": USER})
    monkeypatch.setattr(trials, "_ask", lambda asked: pytest.fail("tried again"))
    with pytest.raises(TemplateError, match="rendered nowhere"):
        trials(TIME[bomb], {"messages": []})


@pytest.mark.parametrize("name", OTHERS)
def test_what_no_conversation_needs_is_refused_in_words(trials, name):
    template, words = OTHERS[name]
    with pytest.raises(TemplateError, match=words):
        trials(template, {"messages": USER})


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no system turn') }}",
        "{{ ''.__class__.__mro__ }}",
        "{% for message in messages %}{{ message.nothing.more }}{% endfor %}",
        "{% what is this %}",
    ],
)
def test_a_template_that_says_no_says_it_itself(trials, template):
    trials(template, {"messages": USER})
    with pytest.raises(Exception, match=r".") as said:
        render_jinja_template([USER], chat_template=template)
    assert not isinstance(said.value, TemplateError)


def test_a_bomb_that_waits_for_one_text_is_refused_at_that_text(trials):
    template = "{% if 'now' in messages[0].content %}{{ 'x' * 3000000000 }}{% endif %}fine"
    trials(template, {"messages": USER})
    with pytest.raises(TemplateError):
        trials(template, {"messages": [{"role": "user", "content": "now"}]})


def test_a_process_that_was_ended_by_somebody_is_begun_again(trials):
    trials("{{ messages }}", {"messages": USER})
    os.kill(trials._process.pid, signal.SIGKILL)
    trials._process.wait()
    trials("{{ messages }}!", {"messages": USER})


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_a_process_that_is_stopped_is_ended_and_its_template_refused(monkeypatch, size):
    made = Trials()
    made("{{ messages }}", {"messages": USER})
    stopped = made._process
    os.kill(stopped.pid, signal.SIGSTOP)
    monkeypatch.setattr(trial, "PATIENCE", 0.05)
    with pytest.raises(TemplateError, match="did not end"):
        made("{{ messages }}", {"messages": [{"role": "user", "content": "x" * size}]})
    assert stopped.returncode == -signal.SIGKILL


def test_a_conversation_that_ended_well_is_not_tried_twice(trials):
    trials("{{ messages }}?", {"messages": USER})
    trials._process.stdin.close()
    trials("{{ messages }}?", {"messages": USER})
    trials.close()


def test_without_a_process_templates_are_rendered_and_it_is_said_once(monkeypatch, caplog):
    def refuses(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    made = Trials()
    monkeypatch.setattr(trial.subprocess, "Popen", refuses)
    made("{{ messages }}", {"messages": USER})
    made("{{ messages }}!", {"messages": USER})
    assert [r.getMessage() for r in caplog.records] == [
        "rm_monitor: chat templates are rendered untried, as no process could be started: [Errno 11] "
        "Resource temporarily unavailable"
    ]


def test_a_forked_child_has_a_process_of_its_own(trials):
    trials("{{ messages }} of a parent", {"messages": USER})
    child = os.fork()
    if child == 0:
        forgotten = trials._process is None
        os._exit(0 if forgotten else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert trials._process.poll() is None


def test_policy_and_judge_are_rendered_by_templates_that_end_alone(tiny_tokenizer, trials, monkeypatch):
    monkeypatch.setattr(trial, "try_template", trials)
    hostile = MEMORY["a long text"]
    prompt = Prompt(id="1", messages=tuple(USER))
    tiny_tokenizer = copy.deepcopy(tiny_tokenizer)
    tiny_tokenizer.chat_template = hostile
    with pytest.raises(ValueError, match="rendered nowhere"):
        prompt_text(prompt, tiny_tokenizer)
    with pytest.raises(TemplateError, match="rendered nowhere"):
        ChatEncoding.of(tiny_tokenizer)(prompt, "an answer")
