"""A GGUF file is unpacked once by transformers and then scored like any folder."""

import numpy as np
import pytest

from rm_monitor.errors import ScorerError
from rm_monitor.scorers import load_scorer
from tests.scorers import reference_numpy as reference
from tests.scorers.conftest import CHATML, SPECIAL, TEXTS, answers, prompt

gguf = pytest.importorskip("gguf")
H, LAYERS = 32, 2
CONFIG = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": H,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10_000.0,
    "num_hidden_layers": LAYERS,
}


def write(path):
    """A Qwen2 language model as llama.cpp writes it, biases 0; its weights under transformers' names."""
    rng = np.random.default_rng(0)
    tokens = [*reference.BYTES.values(), "ab", "<|end|>", "<|begin|>", *SPECIAL[:2]]
    shapes = {
        "attn_norm": ("input_layernorm", (H,)),
        "ffn_norm": ("post_attention_layernorm", (H,)),
        "attn_q": ("self_attn.q_proj", (H, H)),
        "attn_k": ("self_attn.k_proj", (H // 2, H)),
        "attn_v": ("self_attn.v_proj", (H // 2, H)),
        "attn_output": ("self_attn.o_proj", (H, H)),
        "ffn_gate": ("mlp.gate_proj", (64, H)),
        "ffn_up": ("mlp.up_proj", (64, H)),
        "ffn_down": ("mlp.down_proj", (H, 64)),
    }
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name("tiny")
    writer.add_block_count(LAYERS)
    writer.add_context_length(512)
    writer.add_embedding_length(H)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_merges(["a b"])
    writer.add_token_types([1] * 257 + [3] * 4)
    writer.add_bos_token_id(tokens.index("<|begin|>"))
    writer.add_eos_token_id(tokens.index("<|end|>"))
    writer.add_chat_template(CHATML)
    weights = {}

    def add(theirs, ours, shape):
        values = 1 + rng.normal(size=shape) * 0.1 if len(shape) == 1 else rng.normal(size=shape) * 0.25
        weights[ours] = values.astype(np.float32).astype(np.float64)
        writer.add_tensor(theirs, values.astype(np.float32))

    add("token_embd.weight", "model.embed_tokens.weight", (len(tokens), H))
    add("output.weight", "lm_head.weight", (len(tokens), H))
    add("output_norm.weight", "model.norm.weight", (H,))
    for i in range(LAYERS):
        for theirs, (ours, shape) in shapes.items():
            add(f"blk.{i}.{theirs}.weight", f"model.layers.{i}.{ours}.weight", shape)
        for theirs, size in (("attn_q", H), ("attn_k", H // 2), ("attn_v", H // 2)):
            writer.add_tensor(f"blk.{i}.{theirs}.bias", np.zeros(size, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return weights


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RM_MONITOR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_gguf_file_scores_as_the_numbers_in_it_say_and_is_unpacked_once(tmp_path, cache, monkeypatch):
    weights = write(tmp_path / "tiny.gguf")

    scorer = load_scorer(tmp_path / "tiny.gguf", kind="nemotron")

    reward = scorer.score(*answers(TEXTS)).reward
    ids = [scorer.formatter.render(prompt(), text).ids for text in TEXTS]
    expected = [
        reference.llama_hidden(CONFIG, weights, row)[-1] @ weights["lm_head.weight"][0] for row in ids
    ]
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(reward, expected, atol=1e-4)
    monkeypatch.setattr("rm_monitor.scorers.gguf._unpack", lambda *_: pytest.fail("unpacked again"))
    again = load_scorer(tmp_path / "tiny.gguf", kind="nemotron")
    assert again.fingerprint == scorer.fingerprint
    assert len(list((cache / "gguf").iterdir())) == 1


def test_a_gguf_file_without_a_named_kind_is_refused_with_the_choices(tmp_path, cache):
    write(tmp_path / "tiny.gguf")
    with pytest.raises(ScorerError, match="has no reward head: it is a language model"):
        load_scorer(tmp_path / "tiny.gguf")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ScorerError, match=r"has its weights in GGUF: give the path .*tiny\.gguf"):
        load_scorer(tmp_path)


def test_a_file_that_is_no_gguf_is_refused_and_leaves_nothing(tmp_path, cache):
    (tmp_path / "bad.gguf").write_bytes(b"not gguf" * 100)
    with pytest.raises(ScorerError, match="transformers cannot load the GGUF file"):
        load_scorer(tmp_path / "bad.gguf", kind="nemotron")
    assert list((cache / "gguf").iterdir()) == []
