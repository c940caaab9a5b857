"""An option is read or refused: by every family, every sort of source, with the name that was meant."""

from importlib import import_module

import pytest
import torch

from rm_monitor.errors import ScorerError
from rm_monitor.scorers import load_scorer
from rm_monitor.scorers.detect import JUDGES, KINDS
from rm_monitor.scorers.judge.load import reads
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.reads import DEFAULTS
from rm_monitor.testing import TableScorer
from tests.scorers.conftest import answers, llama_config, make_tokenizer, save, scaled
from tests.scorers.test_families import H, layer, publish

SOMETHING = {
    "index": 0,
    "weights": [1.0],
    "dtype": "float32",
    "device": "cpu",
    "revision": "main",
    "max_length": 64,
    "on_overflow": "error",
    "name": "x",
    "batch_tokens": 99,
    "strip_think": False,
    "scale": "unit",
    "temperature": 2.0,
    "chat_template": "{{ messages }}",
    "input_format": "plain",
    "bos": "one",
    "pooling": "mask",
    "reference": "r",
    "beta": 0.7,
    "length_normalised": True,
    "idle": "cpu",
    "deterministic": True,
    "principle": "x",
    "judge_prompt": "x",
    "rubric": "x",
    "unit_test": "x",
    "max_tokens": 3,
}
SEVERAL = {
    "inform": (layer("score.0", H, H) | layer("score.2", 3, H), {}),
    "grm": (layer("v_head.summary", 3, H), {}),
    "ultrarm": ({"regression_head.weight": layer("x", 3, H)["x.weight"]}, {}),
    "openrlhf": ({"value.weight": layer("x", 3, H)["x.weight"]}, {"value_head_prefix": "value"}),
    "beaver": (layer("score_head", 3, H), {"architecture": "LlamaForScore", "score_type": "reward"}),
    "bradley_terry": ({"score.weight": layer("x", 3, H)["x.weight"]}, {}),
}


def read_by(kind):
    return reads(kind) if kind in JUDGES else import_module(f"rm_monitor.scorers.families.{kind}").READS


def test_every_family_says_which_options_it_reads_and_there_are_no_others():
    for kind in KINDS:
        assert set(DEFAULTS) >= read_by(kind), kind
    assert set(Options.__dataclass_fields__) == set(DEFAULTS)
    for name, value in DEFAULTS.items():
        assert Options.__dataclass_fields__[name].default == value, name


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_what_a_family_does_not_read_is_refused_before_its_weights_are(kind, tmp_path):
    publish(tmp_path, {"score.weight": layer("x", 1, H)["x.weight"]}, architecture="LlamaForCausalLM")
    for name in sorted(set(SOMETHING) - read_by(kind)):
        with pytest.raises(ValueError, match=f"`{name}` is not read for .*{kind}"):
            load_scorer(tmp_path, kind=kind, show=False, **{name: SOMETHING[name]})


@pytest.mark.parametrize("kind", sorted(SEVERAL))
def test_a_head_with_several_numbers_is_refused_until_the_user_says_which_counts(kind, tmp_path):
    heads, config = SEVERAL[kind]
    publish(tmp_path, heads, **config)
    with pytest.raises(ScorerError, match=r"gives 3 numbers .* pass `index=`"):
        load_scorer(tmp_path, show=False)
    rows = answers(["Four.", "Five, I think.", "no"])
    each = [load_scorer(tmp_path, index=i, show=False).score(*rows).reward for i in range(3)]
    weighted = load_scorer(tmp_path, weights=[1.0, 0.0, -2.0], show=False)
    assert weighted.kind == kind
    assert weighted.score(*rows).reward == pytest.approx(each[0] - 2 * each[2], rel=1e-4, abs=1e-4)
    assert weighted.scale == "unknown"
    with pytest.raises(ValueError, match="`index` must be below the 3"):
        load_scorer(tmp_path, index=3, show=False)


@pytest.mark.parametrize("name", sorted(set(SOMETHING) - {"name", "scale", "temperature"}))
def test_a_function_reads_name_scale_temperature_and_fingerprint_alone(name):
    with pytest.raises(ValueError, match=f"`{name}` is not read for a function"):
        load_scorer(lambda p, c: [0.0] * len(c), show=False, **{name: SOMETHING[name]})


def test_the_version_of_a_function_is_in_its_fingerprint():
    scorer = load_scorer(lambda p, c: [0.0] * len(c), fingerprint="v1", name="mine", show=False)
    assert scorer.fingerprint == "function:mine:v1"


@pytest.mark.parametrize("name", ["kind", *SOMETHING])
def test_a_ready_scorer_reads_nothing(name):
    given = {**SOMETHING, "kind": "grm"}[name]
    with pytest.raises(ValueError, match=f"`{name}` is not read for a scorer that is ready"):
        load_scorer(TableScorer(good=1.0), show=False, **{name: given})


@pytest.mark.parametrize("source", [lambda p, c: [0.0] * len(c), TableScorer(good=1.0), "http://127.0.0.1:9"])
def test_an_option_that_does_not_exist_is_named_with_the_one_that_was_meant(source, tmp_path):
    with pytest.raises(TypeError, match="no argument 'max_lenght': did you mean 'max_length'"):
        load_scorer(source, show=False, max_lenght=3)
    publish(tmp_path, {"score.weight": layer("x", 1, H)["x.weight"]})
    with pytest.raises(TypeError, match="no argument 'temprature': did you mean 'temperature'"):
        load_scorer(tmp_path, show=False, temprature=3)


def test_a_loaded_model_is_where_it_is_and_of_the_kind_it_is():
    from transformers import LlamaForSequenceClassification

    tokenizer = make_tokenizer()
    model = scaled(lambda: LlamaForSequenceClassification(llama_config(tokenizer, num_labels=1)))
    for name, value in {"dtype": torch.float32, "device": "cpu", "kind": "grm", "revision": "x"}.items():
        with pytest.raises(ValueError, match=f"`{name}` is not read for a model that is loaded already"):
            load_scorer(model, tokenizer=tokenizer, show=False, **{name: value})


@pytest.mark.parametrize("value", [0, 0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_that_cannot_divide_is_refused_by_name_wherever_it_comes_from(value, llama_rm):
    for source in (llama_rm, lambda p, c: [0.0] * len(c)):
        with pytest.raises(ValueError, match="`temperature` divides differences"):
            load_scorer(source, temperature=value, show=False)
    ready = TableScorer(good=1.0)
    ready.temperature = value
    with pytest.raises(ValueError, match="`temperature` of TableScorer divides differences"):
        load_scorer(ready, show=False)


def test_a_format_without_a_template_reads_no_template(tmp_path, llama_rm):
    for more in ({"bos": "one"}, {"chat_template": "x"}):
        with pytest.raises(ValueError, match=f"`{next(iter(more))}` is read with input_format='chat' only"):
            load_scorer(llama_rm, input_format="plain", show=False, **more)


@pytest.mark.parametrize(
    ("architecture", "name", "config"),
    [
        ("Qwen2ForPrmModel", "model", {}),
        ("LlamaForProcessRewardModel", "model", {}),
        ("MyPRM", "model", {}),
        ("Custom", "Some-o1-PRM-7B", {}),
        ("Custom", "model", {"step_tag_id": 12902}),
        ("Qwen2ForTokenClassification", "model", {}),
    ],
)
def test_what_rates_steps_is_refused_with_the_way_out(architecture, name, config, tmp_path):
    for heads in (layer("v_head.summary", 1, H), layer("score.0", H, H) | layer("score.2", 2, H)):
        publish(tmp_path / name, heads, architecture=architecture, **config)
        with pytest.raises(ScorerError, match=r"steps of a solution.*give that as a function"):
            load_scorer(tmp_path / name, show=False)


def test_rows_on_both_sides_of_a_longrope_switch_score_as_they_do_alone(tmp_path):
    import numpy as np
    from transformers import Phi3Config, Phi3ForSequenceClassification

    tokenizer = make_tokenizer()
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    rope |= {"original_max_position_embeddings": 128, "rope_theta": 10000.0, "factor": 4.0}
    config = llama_config(tokenizer).to_dict()
    sizes = {k: config[k] for k in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")}
    sizes |= {k: config[k] for k in ("num_attention_heads", "num_key_value_heads", "pad_token_id")}
    made = Phi3Config(
        **sizes,
        num_labels=1,
        max_position_embeddings=512,
        original_max_position_embeddings=128,
        rope_parameters=rope,
        bos_token_id=config["bos_token_id"],
        eos_token_id=config["eos_token_id"],
    )
    save(tmp_path, scaled(lambda: Phi3ForSequenceClassification(made)), tokenizer)
    scorer = load_scorer(tmp_path, batch_tokens=100_000, show=False)
    texts = ["a" * n for n in range(40, 160, 7)]
    rows = answers(texts)
    lengths = [len(scorer.formatter.render(p, c.text).ids) for p, c in zip(*rows, strict=True)]
    assert min(lengths) < 128 < max(lengths)
    alone = np.concatenate([scorer.score(rows[0][:1], [c]).reward for c in rows[1]])
    np.testing.assert_allclose(scorer.score(*rows).reward, alone, atol=1e-4 * np.abs(alone).max())


def test_a_padding_token_that_the_network_does_not_have_is_not_used(tmp_path):
    import numpy as np
    from transformers import MistralConfig, MistralForSequenceClassification

    tokenizer = make_tokenizer()
    config = llama_config(tokenizer).to_dict()
    sizes = {k: config[k] for k in ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers")}
    sizes |= {k: config[k] for k in ("num_attention_heads", "num_key_value_heads", "pad_token_id")}
    made = MistralConfig(**sizes, num_labels=1, sliding_window=64, max_position_embeddings=512)
    save(tmp_path, scaled(lambda: MistralForSequenceClassification(made)), tokenizer)
    rows = answers(["Four.", "Four, yes", "a longer answer"])
    before = load_scorer(tmp_path, show=False).score(*rows).reward
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(tmp_path)
    scorer = load_scorer(tmp_path, show=False)
    np.testing.assert_allclose(scorer.score(*rows).reward, before, atol=1e-6)
    asked = answers(["Four.", "Four, yes"])
    asked[0][1] = type(asked[0][0])(id="q", messages=({"role": "user", "content": "What is [PAD]?"},))
    asked[1][1] = type(asked[1][0])(prompt_id="q", text="A token.")
    said = scorer.score(*asked)
    assert np.isfinite(said.reward).tolist() == [True, False]
    assert said.flags["unrendered"].tolist() == [False, True]


@pytest.mark.parametrize("labels", [1, 2])
def test_a_loaded_model_that_rates_steps_is_refused(labels):
    from transformers import LlamaForTokenClassification

    tokenizer = make_tokenizer()
    model = LlamaForTokenClassification(llama_config(tokenizer, num_labels=labels))
    with pytest.raises(ScorerError, match="rates the steps"):
        load_scorer(model, tokenizer=tokenizer, show=False)


def test_a_process_model_is_refused_even_where_its_kind_is_told(tmp_path):
    publish(tmp_path, layer("v_head.summary", 1, H), architecture="Qwen2ForPrmModel")
    with pytest.raises(ScorerError, match="rates the steps"):
        load_scorer(tmp_path, kind="grm", show=False)
