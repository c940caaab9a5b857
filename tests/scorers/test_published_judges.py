"""Published judges: asked in their authors' layout, twenty verdicts of each, here and behind a server."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest

from rm_monitor.errors import ScorerError
from rm_monitor.http import Limits
from rm_monitor.scorers import load_scorer
from rm_monitor.scorers.detect import JUDGES
from rm_monitor.scorers.judge import load, prometheus, published, rm_r1
from rm_monitor.scorers.judge.deepseek_grm import DeepSeekQuestion
from rm_monitor.scorers.judge.lmunit import LMUnitQuestion
from rm_monitor.scorers.judge.nemotron_genrm import GenRMQuestion
from rm_monitor.scorers.judge.nemotron_principle import PrincipleQuestion
from rm_monitor.scorers.judge.prometheus import PrometheusQuestion
from rm_monitor.scorers.judge.rm_r1 import PROMPTS, RMR1Question
from rm_monitor.scorers.judge.skywork_critic import SkyworkQuestion
from rm_monitor.scorers.options import Options
from rm_monitor.testing import check_preference_scorer, check_scorer
from rm_monitor.types import Completion, PreferenceScorer, Prompt, Scorer
from tests.scorers.conftest import CHATML, llama_config, make_tokenizer, save, scaled
from tests.servers import serve

QUICK = Limits(connect=0.2, read=2.0, total=4.0, attempts=2, backoff=0.001)
ASKED = Prompt(id="p", messages=({"role": "user", "content": "Two plus two?"},))
TURNS = Prompt(
    id="t",
    messages=(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "Two plus two?"},
    ),
)
RM_R1 = RMR1Question(
    "rm_r1_instruct",
    "Q {question} A {answer_a} B {answer_b}",
    "1 {conversation_1} 2 {conversation_2}",
    "Judge.",
)
SKYWORK = SkyworkQuestion("{input}|{response_a}|{response_b}")
PROMETHEUS = PrometheusQuestion("Fair.", "{instruction}|{response_A}|{response_B}|{rubric}", "[Useful?]")
DEEPSEEK = DeepSeekQuestion("{conversation}\n{responses}")
GENRM, LMUNIT, PRINCIPLE = GenRMQuestion(), LMUnitQuestion(), PrincipleQuestion("correctness")
PAIRWISE = {
    "rm_r1": RM_R1,
    "skywork": SKYWORK,
    "prometheus": PROMETHEUS,
    "deepseek": DEEPSEEK,
    "genrm": GENRM,
}
RATING = {"lmunit": LMUNIT, "principle": PRINCIPLE}


def choice(text, finish="stop"):
    return {"message": {"role": "assistant", "content": text}, "finish_reason": finish}


NAN = math.nan
BRACKETS = [
    ("[[A]]", 1.0),
    ("[[B]]", 0.0),
    (" [[A]]\n", 1.0),
    ("My verdict is [[B]].", 0.0),
    ("<answer>[[A]]</answer>", 1.0),
    ("<type>Chat</type>\n\n<rubric>...</rubric>\n<eval>...</eval>\n\n<answer>[[B]]</answer>", 0.0),
    ("<think>[[B]] at first, no.</think>\n<answer>[[A]]</answer>", 1.0),
    ("Either '<answer>[[A]]</answer>' or '<answer>[[B]]</answer>'.</think><answer>[[B]]</answer>", 0.0),
    ("[[A]] and again [[A]]", 1.0),
    ("**[[A]]**", 1.0),
    ("[[A]] or [[B]]", NAN),
    ("<answer>[[A]]</answer><answer>[[B]]</answer>", NAN),
    ("<answer>[[A/B]]</answer>", NAN),
    ("[[C]]", NAN),
    ("[A]", NAN),
    ("A", NAN),
    ("[[a]]", NAN),
    ("[[ A ]]", NAN),
    ("Both are good.", NAN),
    ("", NAN),
]
RESULTS = [
    ("Feedback: A is right. [RESULT] A", 1.0),
    ("Feedback: B is right. [RESULT] B", 0.0),
    ("[RESULT] A\n", 1.0),
    ("[RESULT]B", 0.0),
    ("[RESULT] a", 1.0),
    ("[Result] Response B", 0.0),
    ("[RESULT: A]", 1.0),
    ("[Result: b]", 0.0),
    ("Good.\nResult: A", 1.0),
    ("Good.\nResult B", 0.0),
    ("The better one is [Response A]", 1.0),
    ("[RESULT] A\nThat is all.", 1.0),
    ("[RESULT] A\n[RESULT] B", 1.0),
    ("[RESULT] A because it is right", NAN),
    ("[RESULT] C", NAN),
    ("[RESULT] AB", NAN),
    ("RESULT A", 1.0),
    ("I say Result: A", NAN),
    ("A", NAN),
    ("", NAN),
]
BOXED = [
    (r"Scores: \boxed{7, 4}", 1.0),
    (r"Scores: \boxed{4, 7}", 0.0),
    (r"Scores: \boxed{5, 5}", 0.5),
    (r"\boxed{7,4}", 1.0),
    (r"\boxed{ 3 , 9 }.", 0.0),
    (r"Specific Criteria: x. Analysis: y. Scores: \boxed{10, 1}", 1.0),
    (r"First \boxed{1, 9}, then \boxed{9, 1}", 1.0),
    (r"<think>\boxed{1, 9}</think>\boxed{9, 1}", 1.0),
    (r"\boxed{7.5, 7}", 1.0),
    (r"\boxed {2, 3}", 0.0),
    (r"\boxed{7}", NAN),
    (r"\boxed{7, 4, 5}", NAN),
    (r"\boxed{7, }", NAN),
    (r"\boxed{x, x}", NAN),
    (r"\boxed{11, 4}", NAN),
    (r"\boxed{0, 4}", NAN),
    (r"\boxed{7 4}", NAN),
    (r"Scores: 7, 4", NAN),
    (r"\boxed{}", NAN),
    ("", NAN),
]
BEGIN, END = "[The Begin of Ranking Score]\n", "\n[The End of Ranking Score]"
SINGLE = "[The Begin of Individual Scores]\n\\boxed{2, 4}\n[The End of Individual Scores]\n\n"
RANKED = [
    (f"{SINGLE}{BEGIN}\\boxed{{1}}{END}", 1.0),
    (f"{SINGLE}{BEGIN}\\boxed{{2}}{END}", 1.0),
    (f"{SINGLE}{BEGIN}\\boxed{{3}}{END}", 1.0),
    (f"{SINGLE}{BEGIN}\\boxed{{4}}{END}", 0.0),
    (f"{SINGLE}{BEGIN}\\boxed{{5}}{END}", 0.0),
    (f"{SINGLE}{BEGIN}\\boxed{{6}}{END}", 0.0),
    (f"{BEGIN}\\boxed{{ 2 }} {END}", 1.0),
    (f"{BEGIN}\\boxed{{3.5}}{END}", 0.5),
    (f"{BEGIN}\\boxed{{4.0}}{END}", 0.0),
    (f"<think>{BEGIN}\\boxed{{6}}{END}</think>{BEGIN}\\boxed{{1}}{END}", 1.0),
    (f"{BEGIN}first \\boxed{{6}}, no: \\boxed{{1}}{END}", 1.0),
    (f"{SINGLE}{BEGIN}2{END}", NAN),
    (f"{SINGLE}{BEGIN}\\boxed{{0}}{END}", NAN),
    (f"{SINGLE}{BEGIN}\\boxed{{7}}{END}", NAN),
    (f"{SINGLE}{BEGIN}\\boxed{{z}}{END}", NAN),
    (f"{SINGLE}{BEGIN}\\boxed{{1.2.3}}{END}", NAN),
    (f"{SINGLE}{BEGIN}\\boxed{{2}}", NAN),
    (SINGLE, NAN),
    ("\\boxed{2}", NAN),
    ("", NAN),
]
CASES = {
    "rm_r1": (RM_R1, BRACKETS),
    "skywork": (SKYWORK, BRACKETS),
    "prometheus": (PROMETHEUS, RESULTS),
    "deepseek": (DEEPSEEK, BOXED),
    "genrm": (GENRM, RANKED),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_twenty_verdicts_are_read_as_the_authors_read_them(name):
    question, verdicts = CASES[name]
    assert len(verdicts) == 20
    for text, value in verdicts:
        np.testing.assert_equal(question.read(choice(text)), value, err_msg=text)
        assert math.isnan(question.read(choice(text, "length"))), "a reply that was cut says nothing"


def with_tokens(*tokens, finish="stop"):
    """A reply with log-probabilities: (token, {alternative: probability}) each."""
    content = [
        {"token": t, "top_logprobs": [{"token": a, "logprob": math.log(p)} for a, p in top.items()]}
        for t, top in tokens
    ]
    return {**choice("".join(t for t, _ in tokens), finish), "logprobs": {"content": content}}


def lmunit(digit, top, before=('{"', "score", '":', " ")):
    return with_tokens(*((t, {t: 1.0}) for t in before), (digit, top), ("}", {"}": 1.0}))


RATINGS = [
    (lmunit("4", {"4": 1.0}), 4.0),
    (lmunit("4", {"4": 0.5, "5": 0.5}), 4.5),
    (lmunit("4", {"4": 0.6, "3": 0.2, "5": 0.2}), 4.0),
    (lmunit("1", {"1": 0.9, "2": 0.1}), 1.1),
    (lmunit("0", {"0": 1.0}), 0.0),
    (lmunit("6", {"6": 1.0}), 6.0),
    (lmunit("4", {"4": 0.4, "x": 0.5}), 4.0),
    (lmunit("4", {"4": 0.4, "7": 0.5}), 4.0),
    (lmunit("3", {"3": 0.3, "1": 0.1}), 2.5),
    (lmunit("5", {"5": 0.25, "4": 0.75}), 4.25),
    (lmunit(" 4", {" 4": 0.5, "4": 0.5}), 4.0),
    (lmunit("4", {"4": 0.5}, before=("Sure: ", '{"', "score", '":', ' "')), 4.0),
    (lmunit("7", {"7": 1.0}), NAN),
    (lmunit("good", {"good": 1.0}), NAN),
    (lmunit("4", {"four": 1.0}), NAN),
    (lmunit("4", {"4": 1.0}, before=("score", ": ")), NAN),
    (lmunit("4", {"4": 1.0}, before=('{"score":',)), NAN),
    (with_tokens(("score", {}), ('":', {})), NAN),
    (choice('{"score": 4}'), NAN),
    (with_tokens(), NAN),
]


def word(token, top, after=(), finish="stop"):
    return with_tokens(("Let me see.\n</think>\n", {"x": 1.0}), (token, top), *after, finish=finish)


ODDS = [
    (word(" Yes", {" Yes": 0.8, " No": 0.2}), math.log(4)),
    (word(" No", {" Yes": 0.2, " No": 0.8}), -math.log(4)),
    (word("Yes", {"Yes": 0.5, "No": 0.5}), 0.0),
    (word(" Yes", {" Yes": 1.0}), 50.0),
    (word(" No", {" No": 1.0}), -50.0),
    (word(" Yes", {" Yes": 0.9, " No": 1e-30}), 50.0),
    (word(" Yes", {" Yes": 0.6, " No": 0.1, "x": 0.3}), math.log(6)),
    (word(" No", {"x": 0.5, " No": 0.3, " Yes": 0.2}), math.log(2 / 3)),
    (word(" Yes", {" Yes": 0.8, " No": 0.2}, after=[("\n", {"\n": 1.0})]), math.log(4)),
    (word("Yes", {"Yes": 0.8, "No": 0.2}), math.log(4)),
    (word(" Yes", {" Yes": 0.8, "No": 0.2}), math.log(4)),
    (word("Yes", {" Yes": 0.3, "Yes": 0.6, " No": 0.1}), math.log(3)),
    (word(" Maybe", {" Maybe": 0.8, " Yes": 0.2}), NAN),
    (word(" yes", {" yes": 0.8, " No": 0.2}), NAN),
    (word(" Yes", {" Yes": 0.8}, after=[(".", {".": 1.0})]), NAN),
    (word(" Yes", {" Yes": 0.8, " No": 0.2}, finish="length"), NAN),
    (word("YES", {"YES": 1.0}), NAN),
    (choice("Judgement: Yes"), NAN),
    (with_tokens(("\n", {"\n": 1.0})), NAN),
    (with_tokens(), NAN),
]


@pytest.mark.parametrize(
    ("question", "replies"), [(LMUNIT, RATINGS), (PRINCIPLE, ODDS)], ids=["lmunit", "principle"]
)
def test_twenty_ratings_are_read_from_the_probabilities_of_the_tokens(question, replies):
    assert len(replies) == 20
    for reply, value in replies:
        np.testing.assert_allclose(question.read(reply), value, atol=1e-9, err_msg=str(reply))


def test_each_is_asked_in_the_layout_of_its_authors():
    assert RM_R1.ask(ASKED, "4", "5") == [
        {"role": "system", "content": "Judge."},
        {"role": "user", "content": "Q Two plus two? A 4 B 5"},
    ]
    (_, several) = RM_R1.ask(TURNS, "4", "5")
    shown = "Be brief.\n\nUser: Hi\nChatbot {0}: Hello.\nUser: Two plus two?\nChatbot {0}: {1}"
    assert several["content"] == f"1 {shown.format('A', '4')} 2 {shown.format('B', '5')}"
    assert SKYWORK.ask(ASKED, "4", "{input}") == [{"role": "user", "content": "Two plus two?|4|{input}"}]
    (turn,) = PROMETHEUS.ask(ASKED, "4", "5")
    assert turn == {"role": "user", "content": "Fair.\nTwo plus two?|4|5|[Useful?]"}
    (turn,) = DEEPSEEK.ask(ASKED, "4", "5")
    assert turn["content"] == (
        "Two plus two?\n[The Begin of Response 1]\n4\n[The End of Response 1]\n"
        "[The Begin of Response 2]\n5\n[The End of Response 2]"
    )
    assert [t["role"] for t in GENRM.ask(TURNS, "4", "5")] == [
        *("system", "user", "assistant", "user"),
        *("response_1", "response_2"),
    ]
    assert PRINCIPLE.ask(ASKED, "4")[1:] == [
        {"role": "assistant", "content": "4"},
        {"role": "principle", "content": "correctness"},
    ]
    assert LMUNIT.ask(ASKED, "4") == [
        {"role": "system", "content": "rationale=No"},
        {
            "role": "user",
            "content": "Query: Two plus two?\n\nResponse: 4\n\nUnit Test: Is the response helpful?",
        },
    ]


@pytest.mark.parametrize("name", sorted({**PAIRWISE, **RATING}))
def test_every_text_of_a_prompt_is_in_the_question(name):
    question = {**PAIRWISE, **RATING}[name]
    asked = Prompt(
        id="p",
        messages=(
            {"role": "system", "content": "Zsys"},
            {"role": "user", "content": "Zone"},
            {"role": "assistant", "content": "Ztwo", "tool_calls": [{"function": {"name": "Zcall"}}]},
            {"role": "tool", "content": "Zres"},
            {"role": "user", "content": "Zthree"},
        ),
    )
    turns = question.ask(asked, "x", "y") if name in PAIRWISE else question.ask(asked, "x")
    for mark in ("Zsys", "Zone", "Ztwo", "Zcall", "Zres", "Zthree"):
        assert mark in json.dumps(turns), mark


# ------------------------------------------------------------------ the authors' texts


def test_a_prompt_is_taken_from_the_authors_file_without_running_it(tmp_path, monkeypatch):
    cell = {
        "cell_type": "code",
        "source": ["PROMPT = (\n", "  'a {x}'\n", "  'b'\n", ")\n", "raise SystemExit"],
    }
    (tmp_path / "n.ipynb").write_text(
        json.dumps({"cells": [{"cell_type": "markdown", "source": ["PROMPT"]}, cell]})
    )
    (tmp_path / "p.py").write_text("import os\nPROMPT = 'a {x}' + '''b'''\nos.abort()\n")
    (tmp_path / "r.md").write_text("# Card\n```python\nPROMPT = ''' a {x}b'''.strip()\n```\n")
    for name in ("n.ipynb", "p.py", "r.md"):
        assert published.prompts_of(tmp_path / name, ["PROMPT"], where="here") == ["a {x}b"]
    digest = published.digest_of("a {x}b")
    assert published.prompts_of(str(tmp_path / "p.py"), ["PROMPT"], where="here", digests=[digest])
    with pytest.raises(ValueError, match="is not the published text: PROMPT in"):
        published.prompts_of(tmp_path / "p.py", ["PROMPT"], where="here", digests=["0" * 16])
    with pytest.raises(ValueError, match="assigns no text to OTHER"):
        published.prompts_of(tmp_path / "p.py", ["OTHER"], where="here")
    with pytest.raises(ValueError, match="no part of this package: download here"):
        published.prompts_of(None, ["PROMPT"], where="here")
    with pytest.raises(ScorerError, match="cannot be read"):
        published.prompts_of(tmp_path / "absent.py", ["PROMPT"], where="here")


@pytest.mark.parametrize(
    "kind", ["rm_r1_instruct", "rm_r1_reasoning", "prometheus", "skywork_critic", "deepseek_grm"]
)
def test_a_judge_whose_prompt_is_not_given_says_where_it_is_published(kind, llama_rm):
    with pytest.raises(
        ValueError, match=r"`judge_prompt` is the prompt this judge was trained with.*download"
    ):
        load_scorer(llama_rm, kind=kind, show=False)


def test_the_prompt_of_prometheus_is_found_where_its_authors_package_is_installed(tmp_path, monkeypatch):
    package = tmp_path / "prometheus_eval"
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('nothing of it is run')")
    names = ("REL_SYSTEM_PROMPT", "HELPFULNESS_RUBRIC", "RELATIVE_PROMPT_WO_REF")
    (package / "prompts.py").write_text("".join(f"{name} = 'not the published words'\n" for name in names))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match=r"not the published text: REL_SYSTEM_PROMPT in .*prometheus_eval"):
        prometheus.question("prometheus", Options())


PUBLISHED = os.environ.get("RM_MONITOR_PUBLISHED_PROMPTS")  # a folder with the authors' files


@pytest.mark.skipif(not PUBLISHED, reason="the authors' files are theirs and not in this repository")
def test_the_published_files_hold_the_texts_that_are_expected():
    for kind in PROMPTS:
        asked = rm_r1.question(kind, Options(judge_prompt=Path(PUBLISHED) / "demo.ipynb"))
        assert "[[A]]" in asked.ask(ASKED, "4", "5")[0]["content"]
    made = prometheus.question("prometheus", Options(judge_prompt=Path(PUBLISHED) / "prompts.py"))
    assert made.ask(ASKED, "4", "5")[0]["content"].endswith("###Feedback: ")


# ------------------------------------------------------------------ behind a server, in this process


class Server:
    """Prefers the longer answer, and says so as each family does."""

    def __call__(self, path, body):
        assert path == "/v1/chat/completions"
        assert body["temperature"] == 0
        turns = {t["role"]: t["content"] for t in body["messages"]}
        if "principle" in turns:
            p = 1 / (1 + math.exp(-0.05 * (len(turns["assistant"]) - 20)))
            return self.reply(word(" Yes", {" Yes": p, " No": 1 - p}))
        if turns.get("system") == "rationale=No":
            digit = str(min(5, 1 + len(turns["user"]) // 60))
            return self.reply(lmunit(digit, {digit: 1.0}))
        first, second = len(turns["response_1"]), len(turns["response_2"])
        rank = 3.5 if first == second else 2 if first > second else 5
        return self.reply(choice(f"{BEGIN}\\boxed{{{rank}}}{END}"))

    def reply(self, one):
        return {"model": "m", "choices": [{"index": 0, **one}]}


def completions(*texts):
    return [ASKED] * len(texts), [Completion(prompt_id="p", text=text) for text in texts]


@pytest.mark.parametrize(
    ("kind", "more"),
    [("nemotron_genrm", {}), ("nemotron_genrm_principle", {"principle": "correctness"}), ("lmunit", {})],
)
def test_behind_a_server_a_judge_is_loaded_by_its_kind_and_keeps_its_promises(kind, more):
    with serve(Server()) as server:
        judge = load_scorer(server.url, kind=kind, model="m", limits=QUICK, show=False, **more)
        if kind in load.RATING:
            assert isinstance(judge, Scorer)
            check_scorer(judge)
            reward = judge.score(*completions("a", "a" * 150)).reward
            assert reward[1] > reward[0]
        else:
            assert isinstance(judge, PreferenceScorer)
            check_preference_scorer(judge)
            asked, ours = completions("longer one", "b", "same")
            said = judge.prefer(asked, ours, completions("short", "longer", "same")[1])
            assert said.probability.tolist() == [1.0, 0.0, 0.5]
        assert kind in judge.describe()
        with pytest.raises(ValueError, match="`model` is the judge's name"):
            load_scorer(server.url, kind=kind, limits=QUICK, show=False, **more)
        with pytest.raises(ValueError, match=f"`dtype` is not read for a {kind} judge behind a server"):
            load_scorer(server.url, kind=kind, model="m", dtype="float32", show=False, **more)


ROLES = CHATML.replace("{{ m['role'] }}", "{{ m['role'] | upper }}")


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    from transformers import LlamaForCausalLM

    tokenizer = make_tokenizer(ROLES)
    model = scaled(lambda: LlamaForCausalLM(llama_config(tokenizer)))
    model.generation_config.do_sample, model.generation_config.temperature = True, 0.3
    return save(tmp_path_factory.mktemp("lm"), model, tokenizer)


def test_in_this_process_it_answers_greedily_as_transformers_does_alone(language_model):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rm_monitor.scorers.checkpoint import open_checkpoint
    from rm_monitor.scorers.judge.local import LocalVoice

    voice = LocalVoice(open_checkpoint(language_model), Options(max_tokens=8))
    questions = [GENRM.ask(ASKED, "a" * n, "b") for n in (1, 5, 1, 30)]
    before = torch.get_rng_state()
    said = voice.answer(questions, max_tokens=8, logprobs=True)
    assert torch.equal(before, torch.get_rng_state())
    model, tokenizer = (
        kind.from_pretrained(language_model) for kind in (AutoModelForCausalLM, AutoTokenizer)
    )
    for turns, answer in zip(questions, said, strict=True):
        ids = tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_tensors="pt", return_dict=False
        )
        alone = model.generate(
            ids, do_sample=False, max_new_tokens=8, output_logits=True, return_dict_in_generate=True
        )
        text = tokenizer.decode(alone.sequences[0, ids.shape[1] :], skip_special_tokens=True)
        assert answer.choice["message"]["content"] == text
        first = alone.logits[0][0].log_softmax(-1).max().item()
        held = answer.choice["logprobs"]["content"]
        if held:
            assert held[0]["top_logprobs"][0]["logprob"] == pytest.approx(first, abs=1e-4)


def test_in_this_process_a_judge_without_verdicts_gives_nan_and_counts_them(language_model):
    judge = load_scorer(language_model, kind="nemotron_genrm", max_tokens=4, show=False)
    asked, ours = completions("one", "two", "three")
    said = judge.prefer(asked, ours, completions("two", "two", "x" * 900)[1])
    np.testing.assert_equal(said.probability, [NAN, 0.5, NAN])
    assert said.measures["unparsed"].tolist() == [1, 0, 1]
    assert (judge.unparsed, judge.refused) == (2, 2)
    assert "network" in judge.describe()
    rated = load_scorer(language_model, kind="lmunit", unit_test="Is it short?", show=False)
    scores = rated.score(*completions("one", "two"))
    assert np.isnan(scores.reward).all()
    assert scores.flags["unparsed"].all()
    other = load_scorer(language_model, kind="lmunit", show=False)
    assert rated.fingerprint != other.fingerprint


def test_in_this_process_a_prompt_that_its_template_does_not_take_whole_is_named(language_model):
    judge = load_scorer(
        language_model,
        kind="nemotron_genrm",
        chat_template="{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }}{% endif %}"
        "{% if m['role'] == 'tool' %}{{ raise_exception('no tools') }}{% endif %}{% endfor %}",
        show=False,
    )
    tool = Prompt(id="tool", messages=({"role": "tool", "content": "4"}, *ASKED.messages))
    found = judge.screen([ASKED, TURNS, tool])
    assert found.incomplete == {"t": "it does not read turn 1 (system)"}
    assert "no tools" in found.unscorable["tool"]


def test_a_language_model_is_refused_with_the_kinds_of_judges_too(language_model):
    with pytest.raises(ScorerError) as refused:
        load_scorer(language_model, show=False)
    assert all(kind in str(refused.value) for kind in JUDGES)
