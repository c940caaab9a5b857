"""The engine says, token for token, what transformers' own `generate` says."""

import copy
import logging
import math

import pytest
import torch
import transformers as hf
from transformers import GenerationConfig

from rm_monitor import RewardMonitor
from rm_monitor.errors import GenerationError
from rm_monitor.generators import load_generator
from rm_monitor.generators.engine import EngineGenerator, paged
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.types import Prompt, Sampling

VOCABULARY, PAD, END = 150, 0, 1
GREEDY = Sampling(temperature=0.0, max_new_tokens=14)
DRAWN = Sampling(temperature=0.7, top_p=0.95, max_new_tokens=14)
FOUR = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=10, samples_per_prompt=4)
BRIEF_GREEDY = Sampling(temperature=0.0, max_new_tokens=6)
BRIEF_FOUR = Sampling(temperature=1.0, top_p=0.9, max_new_tokens=4, samples_per_prompt=4)

COMMON = {"vocab_size": VOCABULARY, "pad_token_id": PAD, "eos_token_id": END, "bos_token_id": None}
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
SHAPE |= {"max_position_embeddings": 128, **COMMON}
GROUPED = {**SHAPE, "num_key_value_heads": 2}
FAMILIES = {
    "Llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**GROUPED)),
    "Qwen2": lambda: hf.Qwen2ForCausalLM(hf.Qwen2Config(**GROUPED)),
    "Qwen3": lambda: hf.Qwen3ForCausalLM(hf.Qwen3Config(head_dim=8, **GROUPED)),
    "Gemma": lambda: hf.GemmaForCausalLM(hf.GemmaConfig(head_dim=8, **{**SHAPE, "num_key_value_heads": 1})),
    "GPT-2": lambda: hf.GPT2LMHeadModel(
        hf.GPT2Config(n_embd=32, n_layer=2, n_head=4, n_positions=128, **COMMON)
    ),
    "OPT": lambda: hf.OPTForCausalLM(
        hf.OPTConfig(hidden_size=32, word_embed_proj_dim=32, ffn_dim=64, num_hidden_layers=2,
                     num_attention_heads=4, max_position_embeddings=128, **COMMON)
    ),
    "GPT-NeoX": lambda: hf.GPTNeoXForCausalLM(hf.GPTNeoXConfig(**SHAPE)),
    "Mistral, a window": lambda: hf.MistralForCausalLM(hf.MistralConfig(sliding_window=6, **GROUPED)),
    "Qwen2, windows in some layers": lambda: hf.Qwen2ForCausalLM(
        hf.Qwen2Config(use_sliding_window=True, sliding_window=6, max_window_layers=1, **GROUPED)
    ),
    "Gemma 3, windows in some layers": lambda: hf.Gemma3ForCausalLM(
        hf.Gemma3TextConfig(
            head_dim=8, sliding_window=6, layer_types=["sliding_attention", "full_attention"], **GROUPED
        )
    ),
}  # fmt: skip
OTHERS = {
    "soft caps": lambda: hf.Gemma2ForCausalLM(hf.Gemma2Config(head_dim=8, sliding_window=6, **GROUPED)),
    "recurrent": lambda: hf.MambaForCausalLM(
        hf.MambaConfig(hidden_size=32, state_size=4, num_hidden_layers=2, **COMMON)
    ),
    "ALiBi": lambda: hf.BloomForCausalLM(hf.BloomConfig(hidden_size=32, n_layer=2, n_head=4, **COMMON)),
    "dynamic RoPE": lambda: hf.LlamaForCausalLM(
        hf.LlamaConfig(
            rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}, **GROUPED
        )
    ),
}


TINY_EYE = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY_EYE |= {"image_size": 8, "patch_size": 4}
OTHERS |= {
    "hybrid": lambda: hf.Lfm2ForCausalLM(
        hf.Lfm2Config(layer_types=["conv", "full_attention"], block_multiple_of=8, **GROUPED)
    ),
    "encoder and decoder": lambda: hf.T5ForConditionalGeneration(
        hf.T5Config(
            d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4, decoder_start_token_id=PAD, **COMMON
        )
    ),
    "sees": lambda: hf.LlavaForConditionalGeneration(
        hf.LlavaConfig(
            vision_config=hf.CLIPVisionConfig(**TINY_EYE), text_config=hf.LlamaConfig(**GROUPED),
            image_token_index=VOCABULARY - 1, vision_feature_layer=-1,
        )
    ),
}  # fmt: skip


class Numbers:
    """A tokenizer of numbers: its texts are token ids, so equal texts are equal tokens."""

    pad_token_id, eos_token_id, bos_token_id, chat_template = PAD, END, None, None

    def __call__(self, text):
        return {"input_ids": [int(word) for word in text.split()]}

    def decode(self, tokens, skip_special_tokens=True):
        return " ".join(map(str, tokens))


def make(build, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = build().eval()
        for p in model.parameters():
            if p.ndim == 2:
                p.data.mul_(4.0)  # spread the logits
    return model


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    torch.set_num_threads(1)
    return make(FAMILIES[request.param])


@pytest.fixture(params=[None, 8], ids=["groups", "pages"])
def pages(request):
    """Where keys and values lie: in groups, as on a CPU, or in pages, as on a GPU."""
    return request.param


def numbers(n=7, head=(5, 6, 7, 8, 9)):
    """Prompts of very unequal lengths that begin alike."""
    generator = torch.Generator().manual_seed(1)
    sizes = [1, 40, 3, 17, 2, 9, 26, 5, 33][:n]
    return [
        Prompt(
            id=f"p{i}",
            raw=True,
            messages=({"role": "user", "content": " ".join(map(str, [*head, *tail.tolist()]))},),
        )
        for i, size in enumerate(sizes)
        for tail in [torch.randint(10, VOCABULARY, (size,), generator=generator)]
    ]


def said(completions):
    return [(c.prompt_id, c.sample, c.text, c.n_tokens, c.finish_reason) for c in completions]


def answers(generator, model, sampling, prompts=None, seed=3):
    return generator.generate(prompts or numbers(), sampling, seed=seed, model=model, tokenizer=Numbers())


def assert_served(engine):
    assert engine.facts is not None, "the engine handed this model over"


def test_greedy_rows_are_those_of_generate_on_each_prompt_alone(model, pages):
    engine = EngineGenerator(pages=pages)
    found = answers(engine, model, GREEDY)
    assert_served(engine)
    plain = GenerationConfig(do_sample=False, max_new_tokens=14, eos_token_id=END, pad_token_id=PAD)
    for prompt, completion in zip(numbers(), found, strict=True):
        ids = torch.tensor([Numbers()(prompt.text)["input_ids"]])
        alone = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=plain)
        tokens = alone[0, ids.shape[1] :].tolist()
        assert completion.text == " ".join(map(str, tokens))
        assert completion.finish_reason == ("stop" if END in tokens else "length")


@pytest.mark.parametrize("sampling", [DRAWN, FOUR], ids=["one sample", "four samples"])
def test_drawn_rows_are_those_of_generate_with_the_same_noise(model, sampling, pages):
    expected = answers(HFGenerator(), model, sampling)
    engine = EngineGenerator(pages=pages)
    found = answers(engine, model, sampling)
    assert_served(engine)
    assert said(found) == said(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.entropy == pytest.approx(theirs.entropy, abs=1e-4)
        assert ours.top10_mass == pytest.approx(theirs.top10_mass, abs=1e-5)


@pytest.mark.parametrize("sampling", [BRIEF_GREEDY, BRIEF_FOUR], ids=["greedy", "four samples"])
def test_no_width_and_no_order_changes_a_token(sampling, pages):
    """From one row at a time to all, lengths unknown and known."""
    model = make(FAMILIES["Llama"])
    prompts = numbers(5 if sampling.samples_per_prompt == 1 else 3)
    expected = {(c.prompt_id, c.sample): c.text for c in answers(HFGenerator(), model, sampling, prompts)}
    steps = []
    for memory in (1, 18_000, None):
        engine = EngineGenerator(memory=memory, pages=pages)
        for asked in (prompts[::-1], prompts[2:] + prompts[:2]):
            found = answers(engine, model, sampling, asked)
            assert_served(engine)
            assert {(c.prompt_id, c.sample): c.text for c in found} == expected
            assert [c.prompt_id for c in found[:: sampling.samples_per_prompt]] == [p.id for p in asked]
            steps.append(engine.facts.steps)
    assert steps[0] > steps[2] > steps[4]  # fewer rows at once take more steps


def test_prompts_longer_than_a_chunk_and_answers_longer_than_the_headroom_are_right(pages, monkeypatch):
    monkeypatch.setattr(paged, "CHUNK", 512)
    model = make(lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**{**GROUPED, "max_position_embeddings": 2048})))
    generator = torch.Generator().manual_seed(2)
    prompts = [
        Prompt(
            id=str(size),
            raw=True,
            messages=(
                {
                    "role": "user",
                    "content": " ".join(
                        map(str, torch.randint(10, VOCABULARY, (size,), generator=generator).tolist())
                    ),
                },
            ),
        )
        for size in (700, 3, 520)
    ]
    sampling = Sampling(temperature=0.7, max_new_tokens=90)
    engine = EngineGenerator(pages=pages)
    assert said(answers(engine, model, sampling, prompts)) == said(
        answers(HFGenerator(), model, sampling, prompts)
    )
    assert_served(engine)


def test_no_step_carries_a_row_that_is_done():
    model = make(FAMILIES["Llama"])
    engine = EngineGenerator()
    answers(engine, model, DRAWN)
    assert engine.facts.row_steps == engine.facts.tokens - len(
        numbers()
    )  # first tokens come with the prompts


def test_samples_of_a_prompt_and_the_common_beginning_are_computed_once():
    model = make(FAMILIES["Llama"])
    engine = EngineGenerator()
    answers(engine, model, FOUR)
    prompts = [Numbers()(p.text)["input_ids"] for p in numbers()]
    assert engine.facts.prefilled == 5 + sum(len(ids) - 5 for ids in prompts)


@pytest.mark.parametrize("kind", OTHERS)
def test_other_architectures_are_answered_by_transformers_and_it_is_said_once(kind, caplog):
    model = make(OTHERS[kind])
    engine = load_generator()
    with caplog.at_level(logging.WARNING, logger="rm_monitor"):
        first = answers(engine, model, DRAWN)
        again = answers(engine, model, DRAWN)
    assert said(first) == said(again) == said(answers(HFGenerator(), model, DRAWN))
    assert engine.facts is None
    assert len([r for r in caplog.records if "transformers' own generate" in r.message]) == 1


@pytest.mark.parametrize("kind", OTHERS)
def test_other_architectures_say_greedily_what_generate_says_of_each_prompt_alone(kind):
    """`generate` as a user calls it, with nothing of ours."""
    model = make(OTHERS[kind])
    start = model.config.decoder_start_token_id if model.config.is_encoder_decoder else None
    plain = GenerationConfig(
        do_sample=False, max_new_tokens=14, eos_token_id=END, pad_token_id=PAD, decoder_start_token_id=start
    )
    for prompt, completion in zip(numbers(), answers(load_generator(), model, GREEDY), strict=True):
        ids = torch.tensor([Numbers()(prompt.text)["input_ids"]])
        alone = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=plain)
        tokens = alone[0, 1 if model.config.is_encoder_decoder else ids.shape[1] :].tolist()
        assert completion.text == " ".join(map(str, tokens))


class TwoFaced(hf.LlamaForCausalLM):
    """Says something else when rows are packed: its logits depend on how many tokens come at once."""

    def forward(
        self, input_ids=None, position_ids=None, logits_to_keep=0, use_cache=None, attention_mask=None, **more
    ):
        out = super().forward(
            input_ids=input_ids, position_ids=position_ids, logits_to_keep=logits_to_keep,
            use_cache=use_cache, attention_mask=attention_mask, **more,
        )  # fmt: skip
        if attention_mask is None and more.get("past_key_values") is None and input_ids.shape[1] < 6:
            out.logits = out.logits.roll(1, -1)
        return out


def test_a_model_that_the_engine_gets_wrong_is_found_out_by_the_trial(caplog):
    model = make(lambda: TwoFaced(hf.LlamaConfig(**GROUPED)))
    with caplog.at_level(logging.WARNING, logger="rm_monitor"):
        found = answers(EngineGenerator(), model, DRAWN)
    assert "generate says" in caplog.text
    assert said(found) == said(answers(HFGenerator(), model, DRAWN))


class Breaks(hf.LlamaForCausalLM):
    calls = None  # forwards until it fails

    def forward(self, input_ids=None, position_ids=None, logits_to_keep=0, use_cache=None, **more):
        if self.calls is not None:
            self.calls -= 1
            if self.calls == 0:
                raise RuntimeError("the device fell off")
        return super().forward(
            input_ids=input_ids, position_ids=position_ids, logits_to_keep=logits_to_keep,
            use_cache=use_cache, **more,
        )  # fmt: skip


def test_a_failure_inside_leaves_the_model_as_it_was(pages):
    model = make(lambda: Breaks(hf.LlamaConfig(**GROUPED)))
    model.calls = None
    engine = EngineGenerator(pages=pages)
    expected = said(answers(engine, model, DRAWN))
    before = {name: dict(vars(module)) for name, module in model.named_modules()}
    weights = {name: p.clone() for name, p in model.named_parameters()}
    model.calls = 4
    with pytest.raises(RuntimeError, match="fell off"):
        answers(engine, model, DRAWN, seed=4)
    model.calls = None
    assert model.config._attn_implementation == "sdpa"
    for name, module in model.named_modules():
        assert vars(module).keys() == before[name].keys()
    for name, p in model.named_parameters():
        assert torch.equal(p, weights[name])
    assert said(answers(engine, model, DRAWN)) == expected


def test_adapters_are_part_of_what_answers(pages):
    peft = pytest.importorskip("peft")
    base = make(FAMILIES["Llama"])
    plain = said(answers(HFGenerator(), base, DRAWN))
    model = peft.get_peft_model(base, peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            p.data.normal_(std=0.5, generator=torch.Generator().manual_seed(0))
    model.eval()
    engine = EngineGenerator(pages=pages)
    found = said(answers(engine, model, DRAWN))
    assert_served(engine)
    assert found == said(answers(HFGenerator(), model, DRAWN)) != plain


@pytest.mark.parametrize("generator", [EngineGenerator(), HFGenerator()], ids=["engine", "generate"])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_policy_whose_logits_are_nan_has_no_answers(generator, temperature, tiny_policy, tiny_tokenizer):
    """Drawn from nan, the first token of the vocabulary would be said for ever, and judged."""
    diverged = copy.deepcopy(tiny_policy)
    with torch.no_grad():
        diverged.lm_head.weight.fill_(math.nan)
    prompt = Prompt(id="1", messages=({"role": "user", "content": "count from one to two"},))
    with pytest.raises(GenerationError, match=r"nan or infinite in 1 of 1 answers .*diverged"):
        generator.generate(
            [prompt],
            Sampling(max_new_tokens=4, temperature=temperature),
            model=diverged,
            tokenizer=tiny_tokenizer,
        )


def test_what_a_call_cost_is_measured():
    engine = EngineGenerator()
    answers(engine, make(FAMILIES["Llama"]), DRAWN)
    assert engine.measured["tokens_per_second"] > 0
    assert engine.measured["row_steps_per_token"] < 1.2


@pytest.mark.parametrize("argument", ["memory", "pages"])
def test_impossible_settings_are_refused(argument):
    with pytest.raises(ValueError, match=f"`{argument}` must be at least"):
        EngineGenerator(**{argument: 0})


def test_a_point_carries_what_answering_cost(tiny_policy, tiny_tokenizer, tmp_path):
    monitor = RewardMonitor(
        reward_model=lambda prompts, completions: [float(len(c)) for c in completions],
        prompts=["one", "two and more"],
        references=None,
        every=1,
        output_dir=tmp_path,
        sampling=Sampling(temperature=0.7, max_new_tokens=6),
        report_to=[],
        generator=EngineGenerator(),
    )
    point = monitor.evaluate(tiny_policy, tiny_tokenizer, step=0)
    assert point.status == "ok", point.reason
    assert point.measured["row_steps_per_token"] < 1.2
