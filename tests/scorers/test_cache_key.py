"""Every field of the cache's key, changed alone, is a miss; what a score does not depend on is not in it."""

import json
import shutil

import pytest
import torch

from rm_monitor.scorers import load_scorer
from rm_monitor.scorers.run import frozen, in_process
from tests.scorers.conftest import CHATML, answers, llama_config, make_tokenizer, prompt, save, scaled

ROWS = answers(["Four.", "<think>Let me see.</think>Four, I think.", "x" * 60])


def keys(folder, rows=ROWS, **options):
    return load_scorer(folder, show=False, **options).keys(*rows)


def copied(folder, tmp_path, **config):
    """The folder elsewhere, with these settings of its config changed."""
    target = tmp_path / "copy"
    shutil.copytree(folder, target)
    known = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(known | config))
    return target


@pytest.fixture(scope="module")
def two_labels(tmp_path_factory, chatml):
    from transformers import LlamaForSequenceClassification

    model = scaled(lambda: LlamaForSequenceClassification(llama_config(chatml, num_labels=2)))
    return save(tmp_path_factory.mktemp("two"), model, chatml)


@pytest.fixture(scope="module")
def policies(tmp_path_factory, chatml):
    from transformers import LlamaForCausalLM

    def made(seed):
        model = scaled(lambda: LlamaForCausalLM(llama_config(chatml)), seed=seed)
        return save(tmp_path_factory.mktemp(f"policy-{seed}"), model, chatml)

    return [made(seed) for seed in range(3)]


# ------------------------------------------------------------------ the model


def test_a_changed_weight_is_a_miss(llama_rm, tmp_path):
    folder = copied(llama_rm, tmp_path)
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(bytes(content))
    assert not set(keys(folder)) & set(keys(llama_rm))


@pytest.mark.parametrize("change", [{"rms_norm_eps": 1e-5}, {"hidden_act": "gelu"}, {"id2label": {"0": "r"}}])
def test_a_changed_config_is_a_miss(llama_rm, tmp_path, change):
    assert not set(keys(copied(llama_rm, tmp_path, **change))) & set(keys(llama_rm))


def test_a_file_merely_saved_again_elsewhere_is_a_hit(llama_rm, tmp_path):
    saved = copied(llama_rm, tmp_path, transformers_version="9.9", _name_or_path="somewhere/else")
    assert keys(saved) == keys(llama_rm)


def test_a_hub_snapshot_is_named_by_its_commit(llama_rm, tmp_path):
    commits = ["a" * 40, "b" * 40]
    folders = [tmp_path / "models--x" / "snapshots" / commit for commit in commits]
    for folder in folders:
        shutil.copytree(llama_rm, folder)
    assert not set(keys(folders[0])) & set(keys(folders[1]))
    assert load_scorer(folders[0], show=False).model_identity["model.weights"] == f"commit:{commits[0]}"


@pytest.mark.parametrize("choice", [{"index": 0}, {"weights": [1.0, 0.5]}, {"weights": [1.0, -0.5]}])
def test_another_choice_of_label_is_a_miss(two_labels, choice):
    assert not set(keys(two_labels, **choice)) & set(keys(two_labels, index=1))


def test_another_kind_on_the_same_files_is_a_miss(policies):
    pair = keys(policies[0], kind="nemotron"), keys(policies[0], kind="implicit", reference=policies[1])
    assert not set(pair[0]) & set(pair[1])


@pytest.mark.parametrize("change", [{"beta": 0.2}, {"length_normalised": True}, {"reference": 2}])
def test_another_setting_of_an_implicit_reward_is_a_miss(policies, change):
    given = {"kind": "implicit", "reference": policies[1], "beta": 0.1}
    changed = change | ({"reference": policies[2]} if "reference" in change else {})
    assert not set(keys(policies[0], **given | changed)) & set(keys(policies[0], **given))


# ------------------------------------------------------------------ the numerics


@pytest.mark.parametrize("change", [{"dtype": "bfloat16"}, {"deterministic": True}])
def test_another_dtype_or_batching_is_a_miss(llama_rm, change):
    assert not set(keys(llama_rm, **change)) & set(keys(llama_rm))


def test_another_attention_is_a_miss(llama_rm):
    from transformers import LlamaForSequenceClassification

    eager, sdpa = (
        load_scorer(
            LlamaForSequenceClassification.from_pretrained(llama_rm, attn_implementation=attention),
            tokenizer=make_tokenizer(),
            show=False,
        ).keys(*ROWS)
        for attention in ("eager", "sdpa")
    )
    assert not set(eager) & set(sdpa)


@pytest.mark.parametrize(
    ("where", "what", "value"),
    [
        (in_process, "SCHEMA", 999),
        (in_process, "device_name", lambda device: "cuda (NVIDIA H100)"),
        (frozen.torch, "__version__", "2.99.0"),
        (frozen.transformers, "__version__", "5.99.0"),
    ],
    ids=["schema", "device", "torch", "transformers"],
)
def test_another_version_or_device_is_a_miss(llama_rm, monkeypatch, where, what, value):
    scorer = load_scorer(llama_rm, show=False)
    before = scorer.keys(*ROWS)
    monkeypatch.setattr(where, what, value)
    assert not set(scorer.keys(*ROWS)) & set(before)


@pytest.mark.parametrize(
    ("switch", "back"),
    [
        (
            lambda: torch.set_float32_matmul_precision("medium"),
            lambda: torch.set_float32_matmul_precision("highest"),
        ),
        (lambda: torch.use_deterministic_algorithms(True), lambda: torch.use_deterministic_algorithms(False)),
    ],
    ids=["matmul", "deterministic"],
)
def test_another_numeric_switch_is_a_miss(llama_rm, switch, back):
    scorer = load_scorer(llama_rm, show=False)
    before = scorer.keys(*ROWS)
    switch()
    try:
        assert not set(scorer.keys(*ROWS)) & set(before)
    finally:
        back()
    assert scorer.keys(*ROWS) == before


def test_tf32_is_among_the_facts_of_a_gpu():
    before, facts = torch.backends.cudnn.allow_tf32, []
    try:
        for allowed in (True, False):
            torch.backends.cudnn.allow_tf32 = allowed
            facts.append(frozen.library_versions(torch.device("cuda")))
    finally:
        torch.backends.cudnn.allow_tf32 = before
    assert facts[0] != facts[1]


# ------------------------------------------------------------------ the ids and where they are read


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        ({"chat_template": CHATML.replace("\n{% endfor", "{% endfor")}, [0, 1, 2]),
        ({"bos": "one"}, [0, 1, 2]),
        ({"strip_think": False}, [1]),
        ({"input_format": "plain"}, [0, 1, 2]),
        ({"max_length": 80, "on_overflow": "truncate_prompt_middle"}, [2]),
    ],
    ids=["template", "bos", "think", "format", "truncation"],
)
def test_other_ids_are_a_miss_and_the_same_ids_are_a_hit(llama_rm, change, rows):
    before, after = keys(llama_rm), keys(llama_rm, **change)
    assert [i for i in range(3) if before[i] != after[i]] == rows


def test_another_tokenizer_is_a_miss_where_it_gives_other_ids(llama_rm):
    other = make_tokenizer()
    other.add_tokens(["Four"])
    before, after = keys(llama_rm), keys(llama_rm, tokenizer=other)
    assert before[0] != after[0]
    assert before[2] == after[2]  # these ids are the same, so the score is


def test_another_prompt_or_answer_is_a_miss():
    # Without marks between the turns, text moved from prompt to answer gives the same ids.
    tokenizer = make_tokenizer("{% for m in messages %}{{ m['content'] }}{% endfor %}")
    from transformers import LlamaForSequenceClassification

    model = scaled(lambda: LlamaForSequenceClassification(llama_config(tokenizer, num_labels=1)))
    scorer = load_scorer(model, tokenizer=tokenizer, show=False)
    one = scorer.keys(*answers(["bc"], prompt("a")))
    assert one == scorer.keys(*answers(["c"], prompt("ab")))
    assert one != scorer.keys(*answers(["d"], prompt("ab")))


def test_another_place_to_read_is_a_miss(tmp_path):
    from transformers import LlamaForSequenceClassification

    tokenizer = make_tokenizer(CHATML.replace("<|im_end|>\n", "<|im_end|>"), pad="<|im_end|>")
    model = scaled(lambda: LlamaForSequenceClassification(llama_config(tokenizer, num_labels=1)))
    folder = save(tmp_path / "pad-is-end", model, tokenizer)
    assert not set(keys(folder, pooling="hf")) & set(keys(folder, pooling="mask"))


@pytest.mark.parametrize(
    "change", [{"batch_tokens": 77}, {"name": "another"}, {"max_length": 400}, {"on_overflow": "error"}]
)
def test_what_a_score_does_not_depend_on_is_not_in_the_key(llama_rm, change):
    assert keys(llama_rm, **change) == keys(llama_rm)


def test_the_name_of_a_prompt_is_not_in_the_key(llama_rm):
    assert keys(llama_rm, answers(["Four."], prompt(id="other"))) == keys(llama_rm, answers(["Four."]))
