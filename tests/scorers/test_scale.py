"""What a difference of rewards means: no probability is invented, and float noise is a tie."""

import numpy as np
import pytest
import torch

from rm_monitor.evaluation.scorer_set import ScorerSet
from rm_monitor.scorers import load_scorer
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.run.networks import place
from rm_monitor.types import Completion, Prompt, ReferenceSet, Scores
from tests.scorers.conftest import TEXTS, answers, llama_config, scaled

PROMPTS = [Prompt(id=str(i), messages=({"role": "user", "content": "Q"},)) for i in range(4)]
REFERENCES = ReferenceSet(
    name="fixed", completions=tuple(Completion(prompt_id=p.id, text="") for p in PROMPTS)
)
COMPLETIONS = [[Completion(prompt_id=p.id, text="x" * i)] for i, p in enumerate(PROMPTS)]


class Length:
    name, fingerprint = "length", "length"

    def __init__(self, scale, **more):
        self.scale = scale
        self.__dict__.update(more)

    def score(self, prompts, completions):
        return Scores(reward=np.array([float(len(c.text)) for c in completions]))


def values(scorers, **more):
    return ScorerSet(scorers, PROMPTS, **more).values(COMPLETIONS, [REFERENCES])


@pytest.mark.parametrize("scale", ["rating", "unit", "unknown"])
def test_no_probability_is_invented_for_a_scale_that_has_none(scale):
    found = values({"main": Length(scale)})
    assert "win_prob" not in found
    assert "win_rate" in found


def test_a_logit_scale_is_its_own_probability():
    expected = 1 / (1 + np.exp(-np.arange(4.0)))
    np.testing.assert_allclose(values({"main": Length("logit")})["win_prob"][:, 0], expected)


def test_a_fitted_temperature_gives_any_scale_a_probability():
    expected = 1 / (1 + np.exp(-np.arange(4.0) / 2))
    for found in (
        values({"main": Length("unknown", temperature=2.0)}),
        values({"main": Length("unknown")}, temperature=2.0),
        values({"main": Length("unknown", temperature=7.0)}, temperature=2.0),
    ):
        np.testing.assert_allclose(found["win_prob"][:, 0], expected)


def test_the_temperature_of_one_scorer_is_never_used_for_another():
    found = values(
        {"main": Length("logit"), "gold": Length("logit"), "other": Length("unknown")}, temperature=5.0
    )
    np.testing.assert_allclose(found["win_prob"][:, 0], 1 / (1 + np.exp(-np.arange(4.0) / 5)))
    np.testing.assert_allclose(found["gold/win_prob"][:, 0], 1 / (1 + np.exp(-np.arange(4.0))))
    assert "other/win_prob" not in found


def test_a_difference_within_the_scorers_own_noise_is_a_tie():
    found = values({"main": Length("logit", noise=1.0)})
    np.testing.assert_array_equal(found["win_rate"][:, 0], [0.5, 0.5, 1, 1])
    np.testing.assert_array_equal(found["tie_rate"][:, 0], [1, 1, 0, 0])
    assert found["win_prob"][1, 0] == 0.5


@pytest.mark.parametrize("temperature", [0, -1, float("inf"), float("nan")])
def test_a_temperature_that_cannot_divide_is_refused(llama_rm, temperature):
    with pytest.raises(ValueError, match="`temperature` divides differences of rewards and must be above 0"):
        load_scorer(llama_rm, temperature=temperature)


def test_a_temperature_changes_the_fingerprint_and_no_score(llama_rm):
    plain, fitted = load_scorer(llama_rm), load_scorer(llama_rm, temperature=2.0)
    assert plain.fingerprint != fitted.fingerprint
    assert plain.keys(*answers(TEXTS)) == fitted.keys(*answers(TEXTS))
    assert "divided by the temperature 2" in str(fitted.describe())


def test_noise_is_measured_in_the_dtype_in_use(chatml):
    from transformers import LlamaForSequenceClassification

    wide = llama_config(chatml, num_labels=1, num_hidden_layers=4, hidden_size=128, intermediate_size=256)
    model = scaled(lambda: LlamaForSequenceClassification(wide))
    fine = load_scorer(model, tokenizer=chatml)
    spread = np.nanstd(fine.score(*answers(TEXTS)).reward)
    assert fine.noise / spread < 1e-5
    model.bfloat16()
    assert 1e-3 < load_scorer(model, tokenizer=chatml).noise / spread < 0.2  # 1 to 6 % were measured
    assert load_scorer(model, tokenizer=chatml, deterministic=True).noise == 0


def test_an_answer_ties_with_itself_in_any_dtype(llama_rm):
    scorer = load_scorer(llama_rm, dtype="bfloat16")
    prompts, completions = answers(TEXTS[:4])
    scorer_set = ScorerSet({"main": scorer}, prompts)
    found = scorer_set.values(
        [[c] for c in completions], [ReferenceSet(name="same", completions=tuple(completions))]
    )
    np.testing.assert_array_equal(found["win_rate"], 0.5)
    np.testing.assert_array_equal(found["win_prob"], 0.5)


def test_what_was_left_out_is_not_counted_as_a_number_that_came_out_wrong(llama_rm):
    prompts, completions = answers(["Four.", "a" * 600])
    scorer_set = ScorerSet({"rm": load_scorer(llama_rm)}, prompts)
    found = scorer_set.values([[c] for c in completions], [])
    np.testing.assert_array_equal(found["overflow"][:, 0], [0, 1])
    np.testing.assert_array_equal(found["nonfinite"][:, 0], [0, 0])
    plain = ScorerSet({"rm": load_scorer(lambda p, c: [1.0, float("inf")])}, prompts)
    np.testing.assert_array_equal(plain.values([[c] for c in completions], [])["nonfinite"][:, 0], [0, 1])


@pytest.mark.parametrize("rest", [False, True])
def test_ties_in_half_precision_cover_what_it_rounds(llama_rm, rest):
    half, whole = load_scorer(llama_rm, dtype="bfloat16"), load_scorer(llama_rm, dtype="float32")
    network = half.reader.model
    rounded = whole.reader.model
    rounded.load_state_dict(network.state_dict())  # the same weights, so that only numbers are rounded
    kept = {name: p.data_ptr() for name, p in network.named_parameters()}
    if rest:
        half.rest()
    noise = half.noise
    assert {name: p.data_ptr() for name, p in network.named_parameters()} == kept
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())
    assert all(p.dtype == torch.bfloat16 for p in network.parameters())
    prompts, completions = answers(TEXTS)
    ours, exact = half.score(prompts, completions).reward, whole.score(prompts, completions).reward
    theirs, margins = exact[:, None] - exact, ours[:, None] - ours
    assert 0 < noise < 0.2 * np.nanstd(exact)
    swapped = (np.sign(theirs) != np.sign(margins)) & (np.abs(margins) > 2 * noise)
    assert not swapped.any()


@pytest.mark.parametrize("has", ["avx512_bf16", "amx_bf16", None])
def test_a_judge_stored_in_bfloat16_stays_so_where_the_cpu_computes_in_it(has, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {has: True}, raising=False)
    options = Options(device="cpu")
    expected = torch.bfloat16 if has else torch.float32
    assert place(options, "bfloat16")[0] == expected
    assert place(options, "float16")[0] == place(options, "bfloat16", small=True)[0] == torch.float32
    assert place(Options(device="cpu", dtype="float32"), "bfloat16")[0] == torch.float32
