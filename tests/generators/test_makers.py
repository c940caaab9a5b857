"""The policy as its makers run it, and rows that do not depend on their neighbours."""

import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    Phi3Config,
    Phi3ForCausalLM,
    RwkvConfig,
    RwkvForCausalLM,
)

from rm_monitor.generators.apart import reads
from rm_monitor.generators.engine import EngineGenerator
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.generators.rows import end_tokens
from rm_monitor.types import Prompt, Sampling
from tests.byte_level import byte_level, ids_of, small_policy
from tests.test_reasoning import saying

TOKENIZER = byte_level()
GREEDY = Sampling(temperature=0.0, max_new_tokens=12)


def ask(*contents):
    return [Prompt(id=f"p{i}", messages=({"role": "user", "content": c},)) for i, c in enumerate(contents)]


def sharper(model):
    """Random weights that do not say the same whatever they read."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(4.0)
    return model.eval()


def theirs(model, prompt, tokenizer=TOKENIZER):
    ids = tokenizer.apply_chat_template(
        list(prompt.messages), add_generation_prompt=True, return_tensors="pt", return_dict=False
    )
    said = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12, tokenizer=tokenizer
    )
    return said[0, ids.shape[1] :].tolist()


def tokens(generator, prompts, model, tokenizer=TOKENIZER):
    return [list(c.tokens) for c in generator.generate(prompts, GREEDY, model=model, tokenizer=tokenizer)]


# ------------------------------------------------------------------ the generation config


@pytest.mark.parametrize("generator", [HFGenerator, EngineGenerator])
@pytest.mark.parametrize(
    "rules",
    [
        {"suppress_tokens": list(range(60, 90))},
        {"begin_suppress_tokens": list(range(0, 200))},
        {"bad_words_ids": [[i] for i in range(60, 90)]},
    ],
)
def test_tokens_that_may_not_come_do_not_come(generator, rules):
    model = sharper(small_policy(TOKENIZER, seed=7))
    free = theirs(model, ask("Hi")[0])
    model.generation_config.update(**rules)
    expected = theirs(model, ask("Hi")[0])
    assert expected != free
    assert tokens(generator(), ask("Hi"), model) == [expected]


def test_what_is_left_out_is_named_once(caplog):
    model = small_policy(TOKENIZER)
    model.generation_config.update(repetition_penalty=1.3, no_repeat_ngram_size=3, suppress_tokens=[5])
    for _ in range(2):
        tokens(HFGenerator(), ask("Hi"), model)
    assert caplog.text.count("repetition_penalty=1.3, no_repeat_ngram_size=3") == 1
    assert "suppress_tokens is kept" in caplog.text


def test_a_config_that_asks_for_nothing_is_not_talked_about(caplog):
    tokens(HFGenerator(), ask("Hi"), small_policy(TOKENIZER))
    assert caplog.text == ""


def test_a_forced_first_token_is_forced_as_in_translation_models():
    torch.manual_seed(0)
    sizes = dict(d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2)
    sizes |= dict(decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16)
    ids = dict(pad_token_id=TOKENIZER.pad_token_id, eos_token_id=2, bos_token_id=0, decoder_start_token_id=2)
    config = BartConfig(vocab_size=len(TOKENIZER), max_position_embeddings=256, **sizes, **ids)
    model = BartForConditionalGeneration(config).eval()
    model.generation_config.forced_bos_token_id = 77
    assert tokens(HFGenerator(), ask("Hi"), model)[0][0] == 77


def test_a_stop_text_ends_an_answer_and_is_not_part_of_it():
    prompt = ask("Hi")[0]
    model = saying(TOKENIZER, "Four.\nUser: and more", prompt)
    model.generation_config.stop_strings = ["\nUser:"]
    answer = HFGenerator().generate([prompt], GREEDY, model=model, tokenizer=TOKENIZER)[0]
    assert list(answer.tokens) == theirs(model, prompt)
    assert (answer.text, answer.finish_reason) == ("Four.", "stop")


# ------------------------------------------------------------------ neighbours


def test_a_model_that_mixes_the_rows_of_a_batch_is_answered_one_prompt_at_a_time(caplog):
    config = RwkvConfig(
        vocab_size=len(TOKENIZER), hidden_size=32, attention_hidden_size=32, num_hidden_layers=2
    )
    torch.manual_seed(0)
    model = sharper(RwkvForCausalLM(config))
    prompts = ask("Hi", "What is a tide, and why?", "Ho", "Where?")
    assert tokens(HFGenerator(), prompts, model) == [theirs(model, p) for p in prompts]
    assert caplog.text.count("one prompt at a time") == 1


@pytest.mark.parametrize(("weight", "found"), [(0.0, ""), (1.0, "padding")])
def test_a_model_that_reads_its_padding_is_found_out(weight, found):
    def scores(prompts):
        """Of a model that reads each row's own tokens and, by ``weight``, how far it is padded."""
        longest = max(map(len, prompts))
        rows = [[float(sum(ids)), weight * (longest - len(ids))] for ids in prompts]
        return torch.tensor([rows, rows])

    assert reads(scores, [[1, 2, 3], [4, 5, 6, 7, 8]], torch.float32) == found


def test_longrope_rows_on_both_sides_of_the_switch_share_no_forward():
    rope = {
        "rope_type": "longrope",
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
        "original_max_position_embeddings": 64,
        "rope_theta": 10000.0,
        "factor": 4.0,
    }
    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    config = Phi3Config(
        vocab_size=len(TOKENIZER),
        **sizes,
        num_key_value_heads=2,
        max_position_embeddings=512,
        original_max_position_embeddings=64,
        rope_parameters=rope,
        pad_token_id=TOKENIZER.pad_token_id,
        eos_token_id=TOKENIZER.eos_token_id,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    model = sharper(Phi3ForCausalLM(config))
    prompts = ask("Hi", "x" * 30, "y" * 25, "z" * 50, "w" * 9, "v" * 21)
    assert tokens(HFGenerator(), prompts, model) == [theirs(model, p) for p in prompts]


def test_a_padding_token_outside_the_embedding_is_never_used():
    model = small_policy(TOKENIZER)
    grown = byte_level()
    grown.add_special_tokens({"pad_token": "[PAD]"})
    assert grown.pad_token_id >= model.get_input_embeddings().num_embeddings
    ends, pad = end_tokens(model, grown)
    assert pad in ends
    prompts = ask("Hi", "What is a tide, and why?")
    assert tokens(HFGenerator(), prompts, model, grown) == tokens(HFGenerator(), prompts, model)
    assert ids_of(grown, "[PAD]") == [grown.pad_token_id]
