"""The divergence from the initial policy, against plain numpy, and without a trace in training."""

import copy

import numpy as np
import pytest
import torch

from rm_monitor import RewardMonitor, Sampling
from rm_monitor.generators.chat import prompt_ids
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.generators.initial_adapter import forget, keep, kept
from rm_monitor.generators.kl import InitialPolicy
from rm_monitor.prompts import load_prompts
from rm_monitor.training.undisturbed import undisturbed
from tests.helpers import CountsGood

SAMPLING = Sampling(temperature=1.0, max_new_tokens=6)


def by_hand(policy, initial, ids, answer):
    """float64 numpy, position by position."""
    policy.eval(), initial.eval()
    total = 0.0
    for j in range(len(answer)):
        context = torch.tensor([ids + answer[:j]])
        with torch.no_grad():
            now, before = (m(input_ids=context).logits[0, -1].double().numpy() for m in (policy, initial))
        p, q = (x - x.max() - np.log(np.exp(x - x.max()).sum()) for x in (now, before))
        total += float((np.exp(p) * (p - q)).sum())
    return total / len(answer)


def answers(model, tokenizer, prompts):
    with undisturbed(model, tokenizer):
        return HFGenerator().generate(prompts, SAMPLING, model=model, tokenizer=tokenizer)


def kl(initial, prompts, completions, model, tokenizer, step=10):
    with undisturbed(model, tokenizer):
        measured = initial.measured(prompts, completions, model=model, tokenizer=tokenizer, step=step)
    return [c.kl for c in measured]


@pytest.fixture
def prompts():
    return list(load_prompts(["Hello there", "What is it?", "Why"]))


def nudge(model, match=""):
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(3)
        for name, p in model.named_parameters():
            if match in name:
                p.add_(0.1 * torch.randn_like(p))


def test_it_equals_plain_numpy(tiny_policy, tiny_tokenizer, prompts):
    before = copy.deepcopy(tiny_policy)
    nudge(tiny_policy)
    given = answers(tiny_policy, tiny_tokenizer, prompts)
    found = kl(InitialPolicy(before), prompts, given, tiny_policy, tiny_tokenizer)
    expected = [
        by_hand(tiny_policy, before, prompt_ids(p, tiny_tokenizer), list(c.tokens))
        for p, c in zip(prompts, given, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert min(found) > 0.01


def test_a_folder_and_a_copy_kept_at_step_0_say_the_same(
    tiny_policy, tiny_policy_dir, tiny_tokenizer, prompts
):
    kept = InitialPolicy(True)
    first = answers(tiny_policy, tiny_tokenizer, prompts)
    assert kl(kept, prompts, first, tiny_policy, tiny_tokenizer, step=0) == [0.0] * 3
    nudge(tiny_policy)
    later = answers(tiny_policy, tiny_tokenizer, prompts)
    by_copy = kl(kept, prompts, later, tiny_policy, tiny_tokenizer)
    by_folder = kl(InitialPolicy(str(tiny_policy_dir)), prompts, later, tiny_policy, tiny_tokenizer)
    np.testing.assert_allclose(by_copy, by_folder, rtol=1e-5)


def test_with_adapters_the_base_is_the_initial_policy_and_training_sees_nothing(
    tiny_policy, tiny_tokenizer, prompts
):
    from peft import LoraConfig, get_peft_model

    base = copy.deepcopy(tiny_policy)
    model = get_peft_model(
        tiny_policy, LoraConfig(r=4, target_modules=["q_proj", "v_proj"], lora_dropout=0.1)
    )
    nudge(model, "lora_")
    model.train()
    given = answers(model, tiny_tokenizer, prompts)
    grads = {n: p.requires_grad for n, p in model.named_parameters()}
    modes = {n: m.training for n, m in model.named_modules()}
    state = {n: p.detach().clone() for n, p in model.state_dict().items()}
    rng = torch.get_rng_state()
    found = kl(InitialPolicy(True), prompts, given, model, tiny_tokenizer)
    assert {n: p.requires_grad for n, p in model.named_parameters()} == grads
    assert {n: m.training for n, m in model.named_modules()} == modes
    assert all(torch.equal(p, state[n]) for n, p in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng)
    assert model.get_model_status().enabled is True
    expected = [
        by_hand(model, base, prompt_ids(p, tiny_tokenizer), list(c.tokens))
        for p, c in zip(prompts, given, strict=True)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    assert min(found) > 0


def test_at_step_0_it_is_0_also_where_training_goes_on_with_an_adapter(tiny_policy, tiny_tokenizer, prompts):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny_policy, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    nudge(model, "lora_")  # an adapter that was trained before
    initial = copy.deepcopy(model)
    kept = InitialPolicy(True)
    assert (
        kl(kept, prompts, answers(model, tiny_tokenizer, prompts), model, tiny_tokenizer, step=0) == [0.0] * 3
    )
    nudge(model, "lora_")
    held = {n: (p.data_ptr(), p.detach().clone()) for n, p in model.named_parameters()}
    given = answers(model, tiny_tokenizer, prompts)
    found = kl(kept, prompts, given, model, tiny_tokenizer, step=5)
    expected = kl(InitialPolicy(initial), prompts, given, model, tiny_tokenizer, step=5)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert min(found) > 0
    assert all(p.data_ptr() == held[n][0] and p.equal(held[n][1]) for n, p in model.named_parameters())


def test_a_resumed_run_and_a_second_process_compare_with_the_adapter_that_training_began_with(
    tmp_path, tiny_policy, tiny_tokenizer, prompts, caplog
):
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(tiny_policy, LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    nudge(model, "lora_")  # an adapter that was trained before
    initial = copy.deepcopy(model)
    first = answers(model, tiny_tokenizer, prompts)
    kl(InitialPolicy(True, tmp_path / "run"), prompts, first, model, tiny_tokenizer, step=0)
    nudge(model, "lora_")
    given = answers(model, tiny_tokenizer, prompts)
    resumed = kl(InitialPolicy(True, tmp_path / "run"), prompts, given, model, tiny_tokenizer, step=5)
    expected = kl(InitialPolicy(initial), prompts, given, model, tiny_tokenizer, step=5)
    np.testing.assert_allclose(resumed, expected, rtol=1e-5)
    assert not caplog.records
    forget(tmp_path / "run")
    kl(InitialPolicy(True, tmp_path / "run"), prompts, given, model, tiny_tokenizer, step=5)
    assert "with its adapters off" in caplog.text


@pytest.mark.parametrize("damage", [b"", b"not weights at all, but long enough to be a header"])
def test_a_damaged_copy_of_the_initial_adapter_is_said_and_not_used(tmp_path, tiny_policy, damage, caplog):
    (tmp_path / "initial-adapter.safetensors").write_bytes(damage)
    assert kept(tmp_path, tiny_policy) is None
    keep(tmp_path, {"another.weight": torch.zeros(2)})
    assert kept(tmp_path, tiny_policy) is None
    assert "cannot be read" in caplog.text
    assert "of another model" in caplog.text


def test_a_copy_made_late_is_no_initial_policy_and_the_kl_is_unknown(
    tiny_policy, tiny_tokenizer, prompts, caplog
):
    given = answers(tiny_policy, tiny_tokenizer, prompts)
    assert np.isnan(kl(InitialPolicy(True), prompts, given, tiny_policy, tiny_tokenizer, step=5)).all()
    assert "kl='folder or hub id'" in caplog.text


def test_it_is_on_the_curve_with_its_interval_and_survives_the_disk(tmp_path, tiny_policy, tiny_tokenizer):
    def monitor():
        return RewardMonitor(
            CountsGood(),
            ["Hi", "Bye", "Why"],
            output_dir=tmp_path,
            report_to="none",
            sampling=SAMPLING,
            kl=True,
        )

    first = monitor()
    assert first.evaluate(tiny_policy, tiny_tokenizer, step=0).metrics["kl"].value == 0.0
    nudge(tiny_policy)
    estimate = first.evaluate(tiny_policy, tiny_tokenizer, step=10).metrics["kl"]
    assert 0 < estimate.value < estimate.high
    assert estimate.n == 3
    first.close()
    again = monitor()
    again.begin(resume_step=10)
    assert again.curve[1].values["kl"].mean() == pytest.approx(estimate.value)
    again.close()


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="`kl` is True"):
        InitialPolicy(3)
