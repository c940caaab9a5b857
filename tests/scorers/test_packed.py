"""Packed rows: the scores of transformers' own forward of each row alone, for less work, and no trace."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rm_monitor import load_scorer
from rm_monitor.scorers.run.batching import Row
from rm_monitor.scorers.run.packing import groups, lay_out, packs
from rm_monitor.scorers.run.prefix_cache import PrefixCache
from rm_monitor.types import Completion
from tests.scorers.conftest import TEXTS, answers, llama_config, prompt, scaled
from tests.scorers.test_load import tiny_bert, tiny_decoder

CPU = torch.device("cpu")
PACKED = ["llama", "qwen2", "qwen3", "gemma", "gpt2", "gpt_neox", "opt", "phi3"]
rows_of_few_ids = st.lists(
    st.lists(st.integers(0, 1), min_size=1, max_size=40).map(
        lambda ids: Row(tuple(ids), None, (len(ids) - 1,))
    ),
    min_size=1,
    max_size=12,
    unique=True,
)


def alone(model, scorer, prompts, completions):
    """transformers' own forward of one row at a time, nothing padded, read by its own pooling."""
    said = []
    for p, c in zip(prompts, completions, strict=True):
        ids = torch.tensor([scorer.formatter.render(p, c.text).ids])
        with torch.no_grad():
            said.append(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, 0].item())
    return np.array(said)


def samples():
    """Three answers to each of four prompts, and one to a fifth."""
    asked = [prompt(f"Question {i}: what is two plus {'two ' * i}?", id=str(i)) for i in range(5)]
    rows = [(p, f"{k} {TEXTS[k][:40]}") for p in asked[:4] for k in range(3)] + [(asked[4], "Five.")]
    return [p for p, _ in rows], [Completion(prompt_id=p.id, text=text) for p, text in rows]


@pytest.fixture
def tokens(monkeypatch):
    """How many tokens the MLPs of Llama's layers are given."""
    from transformers.models.llama.modeling_llama import LlamaMLP

    seen, forward = [], LlamaMLP.forward
    monkeypatch.setattr(LlamaMLP, "forward", lambda self, x: seen.append(x.shape[1]) or forward(self, x))
    return seen


@pytest.mark.parametrize("model_type", PACKED)
def test_several_answers_to_a_prompt_score_as_transformers_scores_each_alone(model_type, chatml):
    more = {"ffn_dim": 64, "word_embed_proj_dim": 32} if model_type == "opt" else {}
    model = tiny_decoder(model_type, chatml, **more)
    scorer = load_scorer(model, tokenizer=chatml, batch_tokens=400, show=False)
    rows = samples()
    assert not scorer.padded
    expected = alone(model, scorer, *rows)
    np.testing.assert_allclose(scorer.score(*rows).reward, expected, atol=2e-5 * np.std(expected))


@pytest.mark.parametrize("many", [False, True])
def test_reordered_weights_do_not_change_a_score(llama_rm, many):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(llama_rm)
    scorer, rows = load_scorer(llama_rm, show=False), samples()
    rendered = [scorer.formatter.render(p, c.text) for p, c in zip(*rows, strict=True)]
    expected = alone(model, scorer, *rows)
    found = scorer.read(rendered, many=many).reward
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.std(expected))


def test_a_prompt_is_computed_once_for_all_its_answers_and_the_last_layer_where_it_is_read(llama_rm, tokens):
    scorer, (prompts, completions) = load_scorer(llama_rm, show=False), samples()
    lengths = [len(scorer.formatter.render(p, c.text).ids) for p, c in zip(prompts, completions, strict=True)]
    assert not scorer.padded
    tokens.clear()
    scorer.score(prompts, completions)
    first, last = tokens[0::2], tokens[1::2]
    assert sum(last) == len(completions)
    assert sum(first) < 0.6 * sum(lengths)


def test_nothing_of_it_is_left_in_the_model_even_when_a_forward_fails(llama_rm, monkeypatch):
    scorer, rows = load_scorer(llama_rm, show=False), samples()
    expected = scorer.score(*rows).reward
    before = [dict(vars(m)) for m in scorer.reader.model.modules()]
    attention = scorer.reader.model.config._attn_implementation
    monkeypatch.setattr(type(scorer.head), "forward", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scorer.score(*rows)
    monkeypatch.undo()
    assert scorer.reader.model.config._attn_implementation == attention == "sdpa"
    assert [dict(vars(m)) for m in scorer.reader.model.modules()] == before
    np.testing.assert_array_equal(scorer.score(*rows).reward, expected)


def test_threads_that_score_with_one_model_wait_for_each_other(llama_rm):
    scorer, rows = load_scorer(llama_rm, show=False), samples()
    expected = scorer.score(*rows).reward
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: scorer.score(*rows).reward, range(12)):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("model_type", ["mistral", "gemma2", "gemma3_text"])
def test_what_cannot_be_packed_is_scored_in_padded_batches_and_says_why(model_type, chatml):
    model = tiny_decoder(model_type, chatml)
    scorer = load_scorer(model, tokenizer=chatml, show=False)
    rows = samples()
    expected = alone(model, scorer, *rows)
    np.testing.assert_allclose(scorer.score(*rows).reward, expected, atol=5e-5)
    assert "sliding" in scorer.padded
    assert f"padded: {scorer.padded}" in str(scorer.describe())


def test_a_model_that_says_something_else_on_packed_rows_is_not_packed(chatml):
    from transformers import LlamaForSequenceClassification
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    class SeesEverything(LlamaRMSNorm):
        """Takes from each token the mean of all that share a forward, which no setting tells."""

        def forward(self, states):
            return super().forward(states - states.mean(1, keepdim=True))

    model = scaled(lambda: LlamaForSequenceClassification(llama_config(chatml, num_labels=1)))
    model.model.norm.__class__ = SeesEverything
    scorer = load_scorer(model, tokenizer=chatml, deterministic=True, show=False)
    packed = load_scorer(model, tokenizer=chatml, show=False)
    assert packed.padded == "it says something else on packed rows"
    assert scorer.padded == "scores are to repeat to the last bit"


def test_hooks_that_come_later_end_the_packing(llama_rm):
    scorer, rows = load_scorer(llama_rm, show=False), samples()
    expected = scorer.score(*rows).reward
    calls = []
    scorer.reader.model.layers[1].mlp.register_forward_hook(lambda *_: calls.append(1))
    assert "hooks" in scorer.padded
    np.testing.assert_allclose(scorer.score(*rows).reward, expected, atol=5e-5)
    assert calls


def test_an_encoder_with_a_pooler_of_its_own_is_packed():
    model, tokenizer = tiny_bert()
    scorer = load_scorer(model, tokenizer=tokenizer, show=False)
    texts = ["four", "four and four and more", "perfect answer four", "two two", "four and"]
    reward = scorer.score(*answers(texts)).reward
    assert not scorer.padded
    for text, r in zip(texts, reward, strict=True):
        inputs = tokenizer("What is two plus two?", text, return_tensors="pt")
        with torch.no_grad():
            assert r == pytest.approx(model(**inputs).logits.item(), abs=2e-5 * np.std(reward))


def test_rows_that_end_with_a_padding_token_that_is_the_end_token_are_read_as_transformers_reads_them(chatml):
    model = tiny_decoder("llama", chatml, pad_token_id=chatml.eos_token_id)
    scorer = load_scorer(model, tokenizer=chatml, show=False)
    rows = samples()
    assert not scorer.padded
    expected = alone(model, scorer, *rows)
    np.testing.assert_allclose(scorer.score(*rows).reward, expected, atol=2e-5 * np.std(expected))


# ------------------------------------------------------------------ one evaluation after the other


def evaluation(number):
    """The samples' prompts, answered as no evaluation before answered them."""
    prompts, completions = samples()
    return prompts, [Completion(prompt_id=c.prompt_id, text=f"{number * '.'}{c.text}") for c in completions]


@pytest.mark.parametrize("model_type", PACKED)
def test_prompts_that_were_scored_before_are_kept_and_no_score_changes(model_type, chatml):
    more = {"ffn_dim": 64, "word_embed_proj_dim": 32} if model_type == "opt" else {}
    model = tiny_decoder(model_type, chatml, **more)
    scorer = load_scorer(model, tokenizer=chatml, batch_tokens=400, show=False)
    scorer.keep_prefixes()
    for number in range(4):
        rows = evaluation(number)
        expected = alone(model, scorer, *rows)
        np.testing.assert_allclose(scorer.score(*rows).reward, expected, atol=2e-5 * np.std(expected))
    assert len(scorer._prefixes._kept) >= 5


def test_the_third_evaluation_computes_its_answers_alone(llama_rm, tokens):
    scorer = load_scorer(llama_rm, show=False)
    assert not scorer.padded
    tokens.clear()  # of the trial
    spent = []
    for number in range(4):
        rows = [column[::3] for column in evaluation(number)]  # one answer a prompt
        scorer.score(*rows)
        spent.append(sum(tokens))
        tokens.clear()
    rendered = [scorer.formatter.render(p, c.text) for p, c in zip(*rows, strict=True)]
    asked = [scorer.formatter.render(p, "").ids for p in rows[0]]
    most = sum(len(r.ids) - len(q) + 8 for r, q in zip(rendered, asked, strict=True))
    assert spent[1] >= 0.9 * spent[0]
    assert spent[2] <= spent[3] <= most + len(rendered) < 0.7 * spent[0]  # in each layer but the last


@pytest.mark.parametrize("how", [{"idle": "unload"}, {"model": True}])
def test_nothing_is_kept_where_memory_is_not_to_be_used_or_weights_are_not_ours(llama_rm, chatml, how):
    if how.pop("model", False):
        scorer = load_scorer(tiny_decoder("llama", chatml), tokenizer=chatml, show=False)
    else:
        scorer = load_scorer(llama_rm, show=False, **how)
    assert scorer._prefixes is None


def test_what_does_not_fit_is_computed_each_time(llama_rm):
    scorer, free = load_scorer(llama_rm, show=False), load_scorer(llama_rm, show=False)
    scorer._prefixes.room = 1
    for number in range(3):
        rows = evaluation(number)
        np.testing.assert_allclose(scorer.score(*rows).reward, free.score(*rows).reward, atol=2e-5)
    assert scorer._prefixes._kept == []


# ------------------------------------------------------------------ the layout


@given(rows_of_few_ids, st.integers(1, 200), st.booleans())
def test_every_row_is_in_exactly_one_forward_and_no_forward_of_several_rows_is_over_the_budget(
    rows, budget, share
):
    planned = packs(rows, budget=budget, share=share)
    assert sorted(i for pack in planned for group in pack for i in group.rows) == list(range(len(rows)))
    for pack in planned:
        tokens = sum(g.shared + sum(len(rows[i].ids) - g.shared for i in g.rows) for g in pack)
        assert tokens <= budget or sum(len(g.rows) for g in pack) == 1


@given(rows_of_few_ids)
def test_only_what_rows_begin_with_alike_is_shared_and_never_a_whole_row(rows):
    for members, shared in groups(rows, budget=10_000):
        assert len({rows[i].ids[:shared] for i in members}) == 1
        assert all(shared < len(rows[i].ids) for i in members)
        assert (shared > 0) == (len(members) > 1)


@given(rows_of_few_ids, st.booleans())
def test_a_read_token_sees_its_own_row_up_to_itself_and_nothing_else(rows, share):
    for together in packs(rows, budget=100, share=share):
        pack = lay_out(rows, together, causal=True, reads=None, device=CPU)
        order = [i for group in together for i in group.rows]
        for i, seen, unseen in zip(order, pack.seen, pack.unseen[:, 0, 0], strict=True):
            assert tuple(pack.ids[0, seen[~unseen]].tolist()) == rows[i].ids
            assert pack.positions[0, seen[~unseen]].tolist() == list(range(len(rows[i].ids)))


@given(st.lists(rows_of_few_ids, min_size=2, max_size=4))
def test_with_beginnings_that_are_kept_a_read_token_still_sees_its_own_row(evaluations):
    prefixes = PrefixCache(1)
    for rows in evaluations:
        known = prefixes.look_up(rows)
        for together in packs(rows, budget=100, share=True, known=known):
            pack = lay_out(rows, together, causal=True, reads=None, device=CPU, known=known)
            line = [*(i for kept, n in pack.kept for i in kept.ids[:n]), *pack.ids[0].tolist()]
            assert pack.before == len(line) - pack.ids.shape[1]
            order = [i for group in together for i in group.rows]
            for i, read, seen, unseen in zip(order, pack.read, pack.seen, pack.unseen[:, 0, 0], strict=True):
                assert tuple(line[j] for j in seen[~unseen]) == rows[i].ids
                assert seen[~unseen][-1] == pack.before + read
            for begin, ids in pack.fresh:
                assert tuple(pack.ids[0, begin : begin + len(ids)].tolist()) == ids
                prefixes.keep(ids, {})
        prefixes.note(rows)
