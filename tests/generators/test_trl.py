"""Answers from a TRL trainer's own vLLM, against a stand-in with TRL's signatures (no GPU here)."""

import inspect
from types import SimpleNamespace

import pytest

from rm_monitor.generators.trl import TrainerGenerator
from rm_monitor.types import Prompt, Sampling
from tests.generators.test_engine import Numbers

END = 1
OURS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "max_completion_length")
OURS += ("structured_outputs_regex", "generation_kwargs")


class Engine:
    """Stands in for `trl.generation.vllm_generation.VLLMGeneration`."""

    def __init__(self):
        self.temperature, self.top_p, self.top_k, self.min_p = 1.0, 1.0, 50, 0.1
        self.repetition_penalty, self.max_completion_length = 1.1, 16
        self.structured_outputs_regex, self.generation_kwargs = "a+", {"seed": 7}
        self.synced, self.seen, self.fails = 0, [], False

    def sync_weights(self):
        self.synced += 1

    def generate(self, prompts, images, num_generations, profiler=None):
        if self.fails:
            raise RuntimeError("out of memory")
        self.seen.append({name: getattr(self, name) for name in OURS} | {"prompts": prompts})
        seed = self.generation_kwargs["seed"] % 50
        said = [
            [ids[-1], 60 + seed, END] if ids[-1] % 2 else [60 + seed] * self.max_completion_length
            for ids in prompts
        ]
        return prompts, said, [[[0.0]] * len(s) for s in said], [[[t] for t in s] for s in said]


@pytest.fixture
def trainer():
    return SimpleNamespace(
        vllm_generation=Engine(),
        state=SimpleNamespace(global_step=8),
        _last_loaded_step=4,
        accelerator=SimpleNamespace(num_processes=1),
        model=SimpleNamespace(config=SimpleNamespace(eos_token_id=END)),
        processing_class=Numbers(),
    )


PROMPTS = [
    Prompt(id=str(i), raw=True, messages=({"role": "user", "content": f"5 {i}"},)) for i in (11, 12, 13)
]
SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=3, samples_per_prompt=2)


def test_the_stand_in_has_the_signatures_of_trl():
    trl = pytest.importorskip("trl.generation.vllm_generation")
    theirs = trl.VLLMGeneration
    for name in ("generate", "sync_weights"):
        ours, real = (list(inspect.signature(getattr(c, name)).parameters) for c in (Engine, theirs))
        assert ours == real
    source = inspect.getsource(theirs.generate)
    for name in OURS:
        assert f"self.{name}" in source, f"TRL no longer reads {name} at each call"


def test_answers_come_prompt_by_prompt_with_their_samples(trainer):
    found = TrainerGenerator(trainer).generate(PROMPTS, SAMPLING, seed=3)
    assert [(c.prompt_id, c.sample) for c in found] == [(p.id, k) for p in PROMPTS for k in (0, 1)]
    assert [c.finish_reason for c in found] == ["stop", "stop", "length", "length", "stop", "stop"]
    assert found[0].text.split()[0] == "11"
    assert found[0].text != found[1].text  # the two samples have noise of their own
    assert [c.n_tokens for c in found] == [3] * 6


def test_our_sampling_is_used_and_the_trainers_comes_back(trainer):
    engine = trainer.vllm_generation
    before = {name: getattr(engine, name) for name in OURS}
    TrainerGenerator(trainer).generate(PROMPTS, SAMPLING)
    assert {name: getattr(engine, name) for name in OURS} == before
    seen = engine.seen[0]
    assert (seen["temperature"], seen["top_p"], seen["top_k"], seen["min_p"]) == (0.7, 0.9, 0, None)
    assert (seen["repetition_penalty"], seen["max_completion_length"]) == (1.0, 3)
    engine.fails = True
    with pytest.raises(RuntimeError, match="out of memory"):
        TrainerGenerator(trainer).generate(PROMPTS, SAMPLING)
    assert {name: getattr(engine, name) for name in OURS} == before


def test_weights_are_pushed_once_a_step(trainer):
    generator = TrainerGenerator(trainer)
    generator.generate(PROMPTS, SAMPLING)
    generator.generate(PROMPTS, SAMPLING)
    assert trainer.vllm_generation.synced == 1
    assert trainer._last_loaded_step == 8  # the trainer does not push them again
    trainer.state.global_step = 9
    generator.generate(PROMPTS, SAMPLING)
    assert trainer.vllm_generation.synced == 2


def test_a_process_with_fewer_prompts_brings_as_many(trainer, monkeypatch):
    trainer.accelerator.num_processes = 2
    monkeypatch.setattr("accelerate.utils.gather_object", lambda mine: [*mine, 4])
    found = TrainerGenerator(trainer).generate(PROMPTS, SAMPLING)
    assert len(found) == 6
    assert len(trainer.vllm_generation.seen[0]["prompts"]) == 4
    assert TrainerGenerator(trainer).generate([], SAMPLING) == []
    assert len(trainer.vllm_generation.seen[-1]["prompts"]) == 4


def test_a_trainer_without_vllm_is_refused():
    with pytest.raises(ValueError, match="use_vllm=True"):
        TrainerGenerator(SimpleNamespace())
