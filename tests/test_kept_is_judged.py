"""What is kept as the best is what was judged, whoever changes weights between an evaluation and a save."""

import hashlib
import shutil

import pytest
import torch
from transformers import AutoModelForCausalLM, TrainerCallback

from rm_monitor import RewardMonitor, RewardMonitorCallback
from rm_monitor.checkpoints.initial import holds
from tests.faults.animals.training import ScheduleFree
from tests.helpers import CountsGood, Says, tiny_trainer


def digest(model):
    found = hashlib.sha256()
    for _, p in sorted(model.named_parameters()):
        found.update(p.detach().numpy().tobytes())
    return found.hexdigest()[:12]


class Notes(Says):
    """Remembers which weights answered, by step; the last word on a step counts."""

    def __init__(self):
        super().__init__(lambda step: step / 10)
        self.seen = {}

    def generate(self, prompts, sampling, *, model=None, **options):
        self.seen[self.step] = digest(model)
        return super().generate(prompts, sampling, model=model, **options)


class Steps(TrainerCallback):
    def __init__(self, notes):
        self.notes = notes

    def on_step_begin(self, args, state, control, **kwargs):
        self.notes.step = state.global_step + 1


class Swaps(TrainerCallback):
    """Other weights are in the model while the Trainer evaluates and saves, as with an average of weights."""

    def on_evaluate(self, args, state, control, model=None, **kwargs):
        self.kept = [p.detach().clone() for p in model.parameters()]
        for p in model.parameters():
            p.data.mul_(0.5)

    def on_save(self, args, state, control, model=None, **kwargs):
        self.back = True

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        if getattr(self, "back", False):
            for p, kept in zip(model.parameters(), self.kept, strict=True):
                p.data.copy_(kept)
            self.back = False


class WritesOver(TrainerCallback):
    """Saves something else where the Trainer saved, as a merge does."""

    def on_save(self, args, state, control, model=None, **kwargs):
        other = AutoModelForCausalLM.from_config(model.config)
        other.save_pretrained(f"{args.output_dir}/checkpoint-{state.global_step}")


@pytest.mark.parametrize("who", ["nobody", "schedule-free", "average", "written over"])
def test_the_weights_of_every_kept_checkpoint_are_those_that_were_judged(
    tmp_path, tiny_policy, tiny_tokenizer, who, caplog
):
    notes = Notes()
    monitor = RewardMonitor(
        CountsGood(), ["a", "b"], generator=notes, every=2, keep_best=4, output_dir=tmp_path, report_to=[]
    )
    others = {"average": [Swaps()], "written over": [WritesOver()]}.get(who, [])
    how = {} if who == "nobody" else {"eval_strategy": "steps", "eval_steps": 2}
    trainer = tiny_trainer(
        tiny_policy,
        tiny_tokenizer,
        tmp_path,
        callbacks=[Steps(notes), *others, RewardMonitorCallback(monitor)],
        steps=4,
        save_strategy="steps",
        save_steps=2,
        save_only_model=True,
        **how,
    )
    if who == "schedule-free":
        trainer.optimizer = ScheduleFree(tiny_policy.parameters())
    trainer.train()
    kept = {int(p.name.split("-")[1]): p for p in (tmp_path / "_rm_monitor" / "kept").glob("step-*")}
    kept.pop(0, None)  # refers to the folder of the initial policy
    saved = {step: digest(AutoModelForCausalLM.from_pretrained(path)) for step, path in kept.items()}
    assert saved == {step: notes.seen[step] for step in saved}
    if who == "written over":
        assert saved == {}
        assert caplog.text.count("holds other weights than were judged") == 2
    else:
        assert set(saved) == {2, 4}


def test_a_folder_is_compared_tensor_by_tensor(tmp_path, tiny_policy):
    tiny_policy.save_pretrained(tmp_path)
    assert holds(tmp_path, tiny_policy) is True
    with torch.no_grad():
        tiny_policy.model.layers[1].mlp.up_proj.weight[0, 0] += 1
    assert holds(tmp_path, tiny_policy) is False
    assert holds(tmp_path, None) is None
    assert holds(tmp_path, torch.nn.Linear(1, 1)) is None


def test_an_adapter_is_compared_by_its_own_tensors(tmp_path, tiny_policy):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny_policy, LoraConfig(r=2, target_modules=["q_proj"]))
    model.save_pretrained(tmp_path)
    assert holds(tmp_path, model) is True
    with torch.no_grad():
        next(p for n, p in model.named_parameters() if "lora_B" in n).add_(1)
    assert holds(tmp_path, model) is False


@pytest.mark.parametrize("by", ["save", "checkpoint"])
def test_step_0_of_a_loop_stays_when_it_is_the_best_whoever_removes_what_the_loop_saved(
    tmp_path, tiny_policy, tiny_tokenizer, by
):
    notes = Notes()
    monitor = RewardMonitor(
        CountsGood(), ["a", "b"], generator=notes, every=1, output_dir=tmp_path, report_to=[]
    )
    notes.step, rotated = 0, tmp_path / "written"
    tiny_policy.save_pretrained(rotated)
    how = {"save": tiny_policy.save_pretrained} if by == "save" else {"checkpoint": rotated}
    monitor.step(0, tiny_policy, tiny_tokenizer, **how)
    shutil.rmtree(rotated)
    assert monitor.best.step == 0
    kept = AutoModelForCausalLM.from_pretrained(tmp_path / "_rm_monitor" / "best")
    assert digest(kept) == digest(tiny_policy)
    monitor.close()
