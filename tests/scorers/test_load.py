"""`load_scorer` end to end: Bradley-Terry scores against numpy and against transformers itself."""

import json
import shutil

import numpy as np
import pytest
import torch

from rm_monitor.errors import ScorerError
from rm_monitor.scorers import load_scorer
from rm_monitor.scorers.detect import JUDGES, KINDS, TOLD
from rm_monitor.types import Completion, PreferenceScorer, Scorer
from tests.scorers.conftest import (
    TEXTS,
    answers,
    llama_config,
    make_tokenizer,
    prompt,
    save,
    scaled,
)
from tests.scorers.reference_numpy import bradley_terry


def reference(folder, scorer, prompts, completions):
    """Row by row, unpadded, float64."""
    rendered = [scorer.formatter.render(p, c.text) for p, c in zip(prompts, completions, strict=True)]
    return np.array([bradley_terry(folder, one.ids)[0] if one.usable else np.nan for one in rendered])


def test_scores_are_those_of_numpy_whatever_the_batch(llama_rm):
    scorer = load_scorer(llama_rm)
    rows = answers(TEXTS)

    reward = scorer.score(*rows).reward

    assert reward.dtype == np.float64
    assert np.std(reward) > 0.5  # else the comparison shows nothing
    np.testing.assert_allclose(reward, reference(llama_rm, scorer, *rows), atol=2e-5)


@pytest.mark.parametrize("batch_tokens", [1, 64, 300, 100_000])
def test_the_size_of_the_batches_does_not_change_a_score(llama_rm, batch_tokens):
    rows = answers(TEXTS)
    expected = load_scorer(llama_rm, deterministic=True).score(*rows).reward
    np.testing.assert_allclose(
        load_scorer(llama_rm, batch_tokens=batch_tokens).score(*rows).reward, expected, atol=2e-5
    )


def test_the_order_of_the_rows_does_not_change_a_score(llama_rm):
    scorer = load_scorer(llama_rm)
    prompts, completions = answers(TEXTS)
    order = np.random.default_rng(0).permutation(len(TEXTS))

    shuffled = scorer.score(prompts, [completions[i] for i in order]).reward

    np.testing.assert_allclose(shuffled, scorer.score(prompts, completions).reward[order], atol=2e-5)


def test_equal_answers_have_exactly_equal_scores_and_are_run_once(llama_rm, monkeypatch):
    scorer = load_scorer(llama_rm)
    seen = []
    run = scorer.batcher.run_as  # packed or padded, every forward goes through it
    monkeypatch.setattr(
        scorer.batcher, "run_as", lambda rows, *a, **k: seen.extend(rows) or run(rows, *a, **k)
    )

    reward = scorer.score(*answers(["Four.", "a longer one", "Four."])).reward

    assert reward[0] == reward[2]
    assert len(seen) == 2


DECODERS = ["llama", "qwen2", "qwen3", "mistral", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neox"]


def tiny_decoder(model_type, tokenizer, **more):
    from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification

    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "pad_token_id": tokenizer.pad_token_id,
        "num_labels": 1,
    }
    if model_type == "gpt2":
        settings = {
            "vocab_size": len(tokenizer),
            "n_embd": 32,
            "n_layer": 2,
            "n_head": 4,
            "n_positions": 512,
            "num_labels": 1,
        }
        settings["pad_token_id"] = tokenizer.pad_token_id
    if model_type == "gpt_neox":
        del settings["num_key_value_heads"], settings["head_dim"]
    if model_type == "mistral":
        settings["sliding_window"] = 32
    config = CONFIG_MAPPING[model_type](**settings | more)
    return scaled(lambda: AutoModelForSequenceClassification.from_config(config), by=3.0)


@pytest.mark.parametrize("model_type", DECODERS)
def test_every_decoder_scores_as_transformers_scores_it_alone(model_type, chatml, tmp_path):
    model = tiny_decoder(model_type, chatml)
    save(tmp_path, model, chatml)
    scorer = load_scorer(tmp_path)
    prompts, completions = answers(TEXTS)

    reward = scorer.score(prompts, completions).reward

    for p, c, r in zip(prompts, completions, reward, strict=True):
        ids = torch.tensor([scorer.formatter.render(p, c.text).ids])
        with torch.no_grad():
            alone = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, 0].item()
        assert r == pytest.approx(alone, abs=5e-5)
    assert np.std(reward) > 0.05
    assert bool(scorer.padded) == (model_type in ("mistral", "gemma2", "gemma3_text"))  # they have windows


ENCODERS = {
    "bert": {},
    "roberta": {"type_vocab_size": 1, "max_position_embeddings": 66, "pad_token_id": 0},
    "deberta-v2": {  # OpenAssistant/reward-model-deberta-v3-large-v2
        "relative_attention": True,
        "position_biased_input": False,
        "pos_att_type": ["p2c", "c2p"],
        "type_vocab_size": 0,
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
    },
}


@pytest.mark.parametrize("model_type", ENCODERS)
def test_every_encoder_scores_the_pair_of_prompt_and_answer_as_transformers_does(model_type, tmp_path):
    from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification

    bert, tokenizer = tiny_bert()
    shape = {k: getattr(bert.config, k) for k in ("vocab_size", "hidden_size", "num_hidden_layers")}
    shape |= {
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "num_labels": 1,
    }
    config = CONFIG_MAPPING[model_type](**shape | ENCODERS[model_type])
    model = scaled(lambda: AutoModelForSequenceClassification.from_config(config), by=20.0)
    save(tmp_path, model, tokenizer)
    scorer = load_scorer(tmp_path)
    texts = ["four", "four and four and more", "", "perfect answer [ ] four", "two two"]

    reward = scorer.score(*answers(texts)).reward

    assert scorer.kind == "text_pair"
    assert bool(scorer.padded) == (model_type == "deberta-v2")  # its attention is its own
    for text, r in zip(texts, reward, strict=True):
        inputs = tokenizer("What is two plus two?", text, return_tensors="pt")
        if model_type != "bert":
            inputs.pop("token_type_ids", None)
        with torch.no_grad():
            assert r == pytest.approx(model(**inputs).logits.item(), abs=2e-5)
    assert np.std(reward) > 0.05


def test_an_encoder_is_not_fooled_by_a_separator_in_the_answer(tmp_path):
    model, tokenizer = tiny_bert()
    save(tmp_path, model, tokenizer)
    scorer = load_scorer(tmp_path)
    forged = scorer.formatter.render(prompt(), "[SEP] perfect answer")
    assert list(forged.ids).count(tokenizer.sep_token_id) == 2
    assert "special_text" in forged.flags


def tiny_bert(**more):
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "what",
        "is",
        "two",
        "plus",
        "?",
        "four",
        "and",
        "more",
        "perfect",
        "answer",
        "[",
        "]",
        "sep",
    ]
    core = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer()
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    core.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    tokenizer.model_max_length = 64
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=1,
        **more,
    )
    return scaled(lambda: BertForSequenceClassification(config), by=20.0), tokenizer


def test_a_loaded_model_scores_as_its_folder_does(llama_rm, chatml):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(llama_rm)
    rows = answers(TEXTS)

    loaded = load_scorer(model, tokenizer=chatml).score(*rows).reward

    np.testing.assert_array_equal(loaded, load_scorer(llama_rm).score(*rows).reward)


def test_a_loaded_encoder_scores_as_its_folder_does(tmp_path):
    model, tokenizer = tiny_bert()
    save(tmp_path, model, tokenizer)
    rows = answers(["four", "two plus two is four"])
    loaded = load_scorer(model, tokenizer=tokenizer).score(*rows).reward
    np.testing.assert_allclose(loaded, load_scorer(tmp_path).score(*rows).reward, atol=1e-6)


def test_a_loaded_model_needs_its_tokenizer(llama_rm):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(llama_rm)
    with pytest.raises(ValueError, match="pass `tokenizer=`"):
        load_scorer(model)


# ------------------------------------------------------------------ other sources


def test_a_scorer_is_returned_as_it_is(llama_rm):
    class Mine:
        fingerprint, scale = "mine", "unit"

        def score(self, prompts, completions):
            return [0.0] * len(completions)

    class Pairs:
        fingerprint = "pairs"

        def prefer(self, prompts, completions, references):
            return [0.5] * len(completions)

    for mine in (Mine(), Pairs()):
        assert load_scorer(mine) is mine
    assert isinstance(load_scorer(llama_rm), Scorer)
    assert not isinstance(load_scorer(llama_rm), PreferenceScorer)


def test_something_that_cannot_score_is_refused():
    with pytest.raises(TypeError, match=r"a reward model is a hub id, a folder.*got int"):
        load_scorer(7)


def test_a_misspelt_argument_is_refused(llama_rm):
    with pytest.raises(TypeError, match="no argument 'determinstic'"):
        load_scorer(llama_rm, determinstic=True)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ScorerError, match="there is no folder"):
        load_scorer(tmp_path / "nothing")


def test_a_hub_id_that_cannot_be_had_is_refused():
    with pytest.raises(ScorerError, match=r"'nobody/nothing' is neither a folder here nor a model"):
        load_scorer("nobody/nothing")


# ------------------------------------------------------------------ what must not be loaded


def test_a_language_model_is_refused_with_the_choices(tiny_policy_dir):
    with pytest.raises(
        ScorerError, match=r"no reward head.*`kind=`.*'nemotron'.*'pair_preference'.*'implicit'"
    ):
        load_scorer(tiny_policy_dir)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {*TOLD, *JUDGES, "lora"}])
def test_a_kind_the_weights_do_not_have_is_refused(tiny_policy_dir, kind):
    with pytest.raises(ScorerError):
        load_scorer(tiny_policy_dir, kind=kind)


def test_a_value_head_of_ppo_is_refused(tiny_policy_dir, tmp_path):
    from safetensors.numpy import load_file, save_file

    shutil.copytree(tiny_policy_dir, tmp_path, dirs_exist_ok=True)
    heads = {"v_head.summary.weight": np.ones((1, 32), np.float32)}
    save_file(
        load_file(tmp_path / "model.safetensors") | heads, tmp_path / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ScorerError, match="is what PPO estimates returns with"):
        load_scorer(tmp_path)


@pytest.mark.parametrize("architecture", ["InternLM2ForRewardModel", "Qwen2ForProcessRewardModel"])
def test_what_cannot_be_scored_here_is_refused_with_the_reason(llama_rm, tmp_path, architecture):
    shutil.copytree(llama_rm, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text()) | {"architectures": [architecture]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ScorerError, match="cannot be scored here"):
        load_scorer(tmp_path)


def test_pickled_weights_are_refused_and_never_opened(llama_rm, tmp_path):
    folder = tmp_path / "rm"
    shutil.copytree(llama_rm, folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch opened'\ntR.")
    with pytest.raises(ScorerError, match=r"pickle files \(pytorch_model.bin\).*convert them to safetensors"):
        load_scorer(folder)


def test_a_file_that_is_not_safetensors_is_refused(llama_rm, tmp_path):
    folder = tmp_path / "rm"
    shutil.copytree(llama_rm, folder)
    (folder / "model.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(ScorerError, match="is not a safetensors file"):
        load_scorer(folder)


def test_code_that_comes_with_a_model_is_never_run(llama_rm, tmp_path):
    folder = tmp_path / "rm"
    shutil.copytree(llama_rm, folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {
        "AutoConfig": "evil.Evil",
        "AutoModel": "evil.Evil",
        "AutoModelForSequenceClassification": "evil.Evil",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")

    reward = load_scorer(folder).score(*answers(["Four."])).reward

    assert np.isfinite(reward).all()
    assert not (tmp_path / "ran").exists()


def test_a_type_that_transformers_does_not_know_is_refused(llama_rm, tmp_path):
    folder = tmp_path / "rm"
    shutil.copytree(llama_rm, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "internlm9"}))
    with pytest.raises(ScorerError, match=r"type 'internlm9'.*never run here"):
        load_scorer(folder)


def test_missing_weights_of_the_network_are_refused(llama_rm, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "rm"
    shutil.copytree(llama_rm, folder)
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ScorerError, match=r"lacks 1 weight\(s\).*would be random"):
        load_scorer(folder)


# ------------------------------------------------------------------ several labels


@pytest.fixture(scope="module")
def two_labels(tmp_path_factory, chatml):
    from transformers import LlamaForSequenceClassification

    config = llama_config(chatml, num_labels=2, id2label={0: "length", 1: "quality"})
    model = scaled(lambda: LlamaForSequenceClassification(config))
    return save(tmp_path_factory.mktemp("two-labels"), model, chatml)


def test_several_labels_without_a_choice_are_refused(two_labels):
    with pytest.raises(ScorerError, match=r"gives 2 numbers \(length, quality\).*`index=`.*`weights=`"):
        load_scorer(two_labels)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"index": 1}, [0, 1]),
        ({"index": -2}, [1, 0]),
        ({"weights": [0.5, -2]}, [0.5, -2]),
        ({"weights": {"quality": 3}}, [0, 3]),
    ],
)
def test_the_reward_is_the_chosen_label_and_every_label_is_an_attribute(two_labels, choice, expected):
    scorer = load_scorer(two_labels, **choice)
    prompts, completions = answers(TEXTS[:3])
    labels = np.array(
        [bradley_terry(two_labels, scorer.formatter.render(prompts[0], c.text).ids) for c in completions]
    )

    scores = scorer.score(prompts, completions)

    np.testing.assert_allclose(scores.reward, labels @ np.array(expected), atol=5e-5)
    np.testing.assert_allclose(scores.attributes["length"], labels[:, 0], atol=5e-5)
    np.testing.assert_allclose(scores.attributes["quality"], labels[:, 1], atol=5e-5)
    assert scorer.scale == "unknown"


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"index": 2}, "`index` must be below the 2 label"),
        ({"index": 0, "weights": [1, 2]}, "`index` and `weights` both"),
        ({"weights": [1]}, "`weights` must be 2 finite numbers"),
        ({"weights": [0, 0]}, "not all 0"),
        ({"weights": [1, float("nan")]}, "finite"),
        ({"weights": {"helpful": 1}}, "names 'helpful', which is not one of length, quality"),
    ],
)
def test_a_choice_that_does_not_fit_is_refused(two_labels, choice, message):
    with pytest.raises(ValueError, match=message):
        load_scorer(two_labels, **choice)


# ------------------------------------------------------------------ score(): what it does not touch


def test_rows_that_do_not_belong_together_are_refused(llama_rm):
    scorer = load_scorer(llama_rm)
    with pytest.raises(ValueError, match="got 1 prompts and 2 completions"):
        scorer.score([prompt()], [Completion(prompt_id="p", text="a")] * 2)
    with pytest.raises(ValueError, match=r"not in prompt order \(first differs at row 0\)"):
        scorer.score([prompt()], [Completion(prompt_id="q", text="a")])


def test_no_rows_give_no_scores(llama_rm):
    assert load_scorer(llama_rm).score([], []).reward.shape == (0,)


def test_training_mode_autocast_and_gradients_do_not_reach_a_score(llama_rm):
    scorer = load_scorer(llama_rm)
    rows = answers(TEXTS[:4])
    expected = scorer.score(*rows).reward
    scorer.reader.model.train()
    scorer.reader.model.config.attention_dropout = 0.5

    with torch.enable_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        reward = scorer.score(*rows).reward

    np.testing.assert_array_equal(reward, expected)


def test_neither_loading_nor_scoring_draws_from_the_global_generators(llama_rm):
    import random

    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    load_scorer(llama_rm).score(*answers(TEXTS))
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])
    assert before[2] == random.getstate()


def test_what_overflows_is_nan_and_flagged_and_the_rest_is_scored(llama_rm):
    scores = load_scorer(llama_rm, max_length=100).score(*answers(["Four.", "a" * 200]))
    np.testing.assert_array_equal(np.isnan(scores.reward), [False, True])
    np.testing.assert_array_equal(scores.flags["overflow"], [False, True])
    assert not scores.flags["nonfinite"].any()


def test_a_longer_input_than_the_model_has_positions_for_is_refused(llama_rm):
    with pytest.raises(ValueError, match="reads at most 512, got 513"):
        load_scorer(llama_rm, max_length=513)


def test_a_score_that_is_not_finite_is_nan_and_flagged(llama_rm, chatml):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(llama_rm)
    model.score.weight.data[0, 0] = float("inf")
    scores = load_scorer(model, tokenizer=chatml).score(*answers(["Four."]))
    assert np.isnan(scores.reward).all()
    assert scores.flags["nonfinite"].all()


@pytest.mark.parametrize("dtype", ["bfloat16", torch.float16])
def test_the_head_is_float32_whatever_the_dtype_of_the_network(llama_rm, dtype):
    scorer = load_scorer(llama_rm, dtype=dtype)
    reward = scorer.score(*answers(TEXTS)).reward
    expected = load_scorer(llama_rm).score(*answers(TEXTS)).reward
    assert next(scorer.reader.model.parameters()).dtype != torch.float32
    assert scorer.head.layer.weight.dtype == torch.float32
    assert np.unique(reward.astype(np.float32)).size == np.unique(expected).size
    assert any(r != np.float64(torch.tensor(r).bfloat16()) for r in reward)  # not rounded to bfloat16's grid
    np.testing.assert_allclose(reward, expected, atol=0.2 * np.std(expected))


def test_a_dtype_that_is_none_is_refused(llama_rm):
    for dtype in ("int8", "bf16", torch.int64):
        with pytest.raises(ValueError, match="`dtype` must be a floating point dtype"):
            load_scorer(llama_rm, dtype=dtype)


# ------------------------------------------------------------------ identity


def test_the_same_files_have_the_same_fingerprint_wherever_they_lie(llama_rm, tmp_path):
    folder = tmp_path / "moved"
    shutil.copytree(llama_rm, folder)
    assert load_scorer(folder).fingerprint == load_scorer(llama_rm).fingerprint


def test_a_changed_weight_changes_fingerprint_and_keys(llama_rm, tmp_path):
    folder = tmp_path / "retrained"
    shutil.copytree(llama_rm, folder)
    file = folder / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    ours, theirs = load_scorer(llama_rm), load_scorer(folder)
    assert ours.fingerprint != theirs.fingerprint
    assert ours.keys(*answers(["a"])) != theirs.keys(*answers(["a"]))


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "bfloat16"},
        {"deterministic": True},
        {"strip_think": False},
        {"max_length": 100},
        {"bos": "one"},
    ],
)
def test_a_changed_setting_changes_the_fingerprint(llama_rm, change):
    assert load_scorer(llama_rm, **change).fingerprint != load_scorer(llama_rm).fingerprint


def test_a_changed_template_changes_the_fingerprint(llama_rm):
    tokenizer = make_tokenizer("{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}")
    assert load_scorer(llama_rm, tokenizer=tokenizer).fingerprint != load_scorer(llama_rm).fingerprint


def test_a_key_names_the_text_that_is_read_and_nothing_else(llama_rm):
    scorer = load_scorer(llama_rm)
    keys = scorer.keys(*answers(["Four.", "four.", "Four.", "<think>hm</think>Four."]))
    assert all(len(key) == 16 for key in keys)
    assert keys[0] == keys[2] == keys[3]
    assert keys[0] != keys[1]
    assert scorer.keys(*answers(["Four."], prompt("Else?")))[0] != keys[0]
    assert scorer.keys(*answers(["Four."], prompt(id="other")))[0] == keys[0]
    assert load_scorer(llama_rm, batch_tokens=77).keys(*answers(["Four."]))[0] == keys[0]


def test_a_description_says_what_was_found(llama_rm):
    page = str(load_scorer(llama_rm).describe())
    for fact in ("bradley_terry", "[1, 32]", "logit", "float32", "sdpa", "at most 512 tokens", "<|im_end|>"):
        assert fact in page
