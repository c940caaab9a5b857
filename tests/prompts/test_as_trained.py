"""Is the policy asked as it is trained: found before training, and no code of the user's is run for it."""

import random
from dataclasses import replace

import pytest
import torch
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from rm_monitor.prompts.as_trained import check_format, find_format
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.prompts.rendering import prompt_ids
from rm_monitor.prompts.training_rows import training_rows
from rm_monitor.types import Prompt
from tests.byte_level import CHATML, byte_level, ids_of, small_policy

CHAT = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
ALPACA = "Below is an instruction.\n\n### Instruction:\n{prompt}\n\n### Response:\n"
VICUNA = "A chat. USER: {prompt} ASSISTANT:"
SYSTEM = "<|im_start|>system\nBe brief.<|im_end|>\n"
END = "<|im_end|>"
SWITCHED = "prompt_format={'chat_template_kwargs': {'enable_thinking': False}}"
TOKENIZER = byte_level()
SWITCH = CHATML.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}"
    "<think>\n\n</think>\n\n{% endif %}{% endif %}",
)
WORDS = [
    "tide",
    "moon",
    "river",
    "stone",
    "light",
    "cloud",
    "paper",
    "glass",
    "tree",
    "wind",
    "ocean",
    "north",
]


def texts(seed, n=40):
    """Questions and answers."""
    draw = random.Random(seed)

    def words(low, high):
        return " ".join(draw.choices(WORDS, k=draw.randint(low, high)))

    starts = ("What is ", "Why does ", "How can ", "Explain ", "")
    return [(draw.choice(starts) + words(2, 6) + draw.choice("?. "), words(2, 6) + ".") for _ in range(n)]


PROMPTS = [Prompt(id=q, messages=({"role": "user", "content": q},)) for q, _ in texts(1, 8)]


def row(tokenizer, before, answer):
    a, b = ids_of(tokenizer, before), ids_of(tokenizer, answer)
    return {"input_ids": a + b, "labels": [-100] * len(a) + b}


def masked(form, tokenizer=TOKENIZER, end=END, begin=""):
    return [row(tokenizer, form.replace("{prompt}", q), begin + a + end) for q, a in texts(0)]


def whole(form, tokenizer=TOKENIZER):
    return [{"input_ids": ids_of(tokenizer, form.replace("{prompt}", q) + a + END)} for q, a in texts(0)]


def check(rows, form=None, tokenizer=TOKENIZER, prompts=PROMPTS, **more):
    return check_format(training_rows(rows), tokenizer, form or PromptFormat(), prompts, **more)


def found(rows, tokenizer=TOKENIZER, **more):
    return find_format(training_rows(rows), tokenizer, PromptFormat(), PROMPTS, **more)


def asked(form, tokenizer=TOKENIZER, content="Why?"):
    prompt = Prompt(id="x", messages=({"role": "user", "content": content},))
    return tokenizer.decode(prompt_ids(form.ask([prompt])[0], form.tokenizer(tokenizer)))


# ------------------------------------------------------------------ laws


marker = st.sampled_from(["### Q", "Instruction", "[USER]", "Human:", "<|im_start|>q"])
closing = st.sampled_from(["### A:\n", "Answer:", "Response:\n", "<|im_start|>a\n", "ASSISTANT:"])
gap = st.sampled_from(["\n", "\n\n"])


@given(opens=marker, closes=closing, a=gap, b=gap, seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_whatever_format_rows_are_in_the_mismatch_is_said_and_the_format_found(opens, closes, a, b, seed):
    form = f"{opens}{a}{{prompt}}{b}{closes}"
    rows = [row(TOKENIZER, form.replace("{prompt}", q), said + END) for q, said in texts(seed)]
    assert check(rows).agrees is False
    assert asked(found(rows)) == form.replace("{prompt}", "Why?")
    assert check(rows, found(rows)).agrees is True


@given(seed=st.integers(0, 99), n=st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_rows_rendered_by_the_chat_template_are_never_complained_about(seed, n):
    for form in (CHAT, SYSTEM + CHAT):
        rows = [row(TOKENIZER, form.replace("{prompt}", q), said + END) for q, said in texts(seed, n)]
        system = "Be brief." if form != CHAT else ""
        assert check(rows, PromptFormat(system=system)).agrees is True


# ------------------------------------------------------------------ kinds of mismatch


@pytest.mark.parametrize("rows", [masked, whole])
@pytest.mark.parametrize(
    ("trained", "setting"), [(ALPACA, f"prompt_format={ALPACA!r}"), (VICUNA, f"prompt_format={VICUNA!r}")]
)
def test_another_format_is_said_with_both_texts_and_the_setting(rows, trained, setting):
    report = check(rows(trained))
    assert report.agrees is False
    assert report.trained.startswith(trained.partition("{prompt}")[0])
    assert report.asked.startswith("<|im_start|>user\n")
    assert setting in report.setting
    assert "NOT ASKED AS TRAINED" in str(report)
    assert repr(report.trained) in str(report)


def test_plain_text_is_found_to_be_raw():
    assert check(masked("{prompt}")).setting == "prompt_format='raw'"
    assert found(masked("{prompt}")) == PromptFormat(kind="raw")
    assert check(masked("{prompt}"), PromptFormat(kind="raw")).agrees is True


@pytest.mark.parametrize("trained", [CHAT, ALPACA])
def test_asking_raw_where_training_has_a_format_is_said(trained):
    assert check(masked(trained), PromptFormat(kind="raw")).agrees is False


def test_a_system_text_that_training_always_has_is_named():
    report = check(masked(SYSTEM + CHAT))
    assert report.setting == "prompt_format={'system': 'Be brief.'}"
    assert asked(found(masked(SYSTEM + CHAT))) == SYSTEM + CHAT.replace("{prompt}", "Why?")


def test_a_system_text_that_the_template_adds_and_training_never_had_is_found():
    adds = byte_level("{% if messages[0]['role'] != 'system' %}" + SYSTEM + "{% endif %}" + CHATML)
    assert check(masked(CHAT, adds), tokenizer=adds).agrees is False
    assert check(masked(SYSTEM + CHAT, adds), tokenizer=adds).agrees is True
    assert asked(found(masked(CHAT, adds), adds), adds) == CHAT.replace("{prompt}", "Why?")


def test_the_thinking_switch_is_named():
    tokenizer = byte_level(SWITCH, plain=("<think>", "</think>"))
    off = CHAT + "<think>\n\n</think>\n\n"
    assert check(masked(off, tokenizer), tokenizer=tokenizer).setting == SWITCHED
    thinking = PromptFormat(template_kwargs={"enable_thinking": False})
    assert check(masked(off, tokenizer), thinking, tokenizer).agrees is True
    learned = masked(CHAT, tokenizer, begin="<think>\n\n</think>\n\n")
    assert check(learned, tokenizer=tokenizer).agrees is True
    assert check(learned, thinking, tokenizer).agrees is True


def test_a_second_beginning_of_sequence_token_is_found():
    assert check(masked("<s>" + CHAT)).agrees is False
    assert asked(found(masked("<s>" + CHAT))) == "<s>" + CHAT.replace("{prompt}", "Why?")


def test_an_end_token_at_which_generation_does_not_stop_is_named():
    report = check(masked(CHAT, end="<|im_start|>"))
    assert "end with '<|im_start|>', at which generation does not stop" in report.why
    assert found(masked(CHAT, end="<|im_start|>")).end == "<|im_start|>"
    start = TOKENIZER.convert_tokens_to_ids("<|im_start|>")
    assert check(masked(CHAT, end="<|im_start|>"), ends=[start]).agrees is True


# ------------------------------------------------------------------ shapes of rows


def as_packed(rows, lengths="seq_lengths"):
    packed = []
    for i in range(0, len(rows), 4):
        group = rows[i : i + 4]
        sizes = [len(r["input_ids"]) for r in group]
        beside = (
            {"seq_lengths": sizes}
            if lengths == "seq_lengths"
            else {"position_ids": [place for size in sizes for place in range(size)]}
        )
        packed.append(
            {name: [i for r in group for i in r[name]] for name in ("input_ids", "labels")} | beside
        )
    return packed


def padded(rows):
    pad, most = TOKENIZER.pad_token_id, max(len(r["input_ids"]) for r in rows)
    return [
        {
            "input_ids": [pad] * (most - len(r["input_ids"])) + r["input_ids"],
            "labels": [-100] * (most - len(r["labels"])) + r["labels"],
            "attention_mask": [0] * (most - len(r["labels"])) + [1] * len(r["labels"]),
        }
        for r in rows
    ]


SHAPES = {
    "lists": lambda rows: rows,
    "tensors": lambda rows: [{name: torch.tensor(ids) for name, ids in r.items()} for r in rows],
    "a table": Dataset.from_list,
    "chosen rows of a table": lambda rows: Dataset.from_list(rows).shuffle(seed=0).select(range(30)),
    "parts": lambda rows: torch.utils.data.ConcatDataset(
        [rows[:9], torch.utils.data.Subset(rows, range(9, 40))]
    ),
    "packed, by lengths": as_packed,
    "packed, by positions": lambda rows: as_packed(rows, "positions"),
    "padded on the left": padded,
    "masks": lambda rows: [
        {"input_ids": r["input_ids"], "completion_mask": [int(i != -100) for i in r["labels"]]} for r in rows
    ],
    "pairs of ids": lambda rows: [
        {
            "prompt_ids": [i for i, label in zip(r["input_ids"], r["labels"], strict=True) if label == -100],
            "chosen_ids": [label for label in r["labels"] if label != -100],
        }
        for r in rows
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_are_read_in_every_shape_that_trainers_leave_them_in(shape):
    assert check(SHAPES[shape](masked(CHAT))).agrees is True
    assert found(SHAPES[shape](masked(ALPACA))).template == ALPACA


def test_columns_of_text_are_read_as_a_trainer_tokenises_them():
    pairs = [{"prompt": ALPACA.replace("{prompt}", q), "completion": a} for q, a in texts(0)]
    assert found(pairs).template == ALPACA
    assert found([{"text": r["prompt"] + r["completion"]} for r in pairs]).template == ALPACA
    assert found([{"prompt": q} for q, _ in texts(0)]) == PromptFormat(kind="raw")


def test_conversations_are_rendered_by_the_trainer_with_its_arguments():
    talks = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in texts(0)
    ]
    assert check(talks).agrees is True
    assert check(talks, PromptFormat(kind="raw")).setting == "prompt_format='chat'"
    off = {"enable_thinking": False}
    assert check(talks, trainer_kwargs=off).setting == SWITCHED
    assert check([r | {"chat_template_kwargs": off} for r in talks]).agrees is False
    system = [{"messages": [{"role": "system", "content": "Be brief."}, *r["messages"]]} for r in talks]
    assert check(system).setting == "prompt_format={'system': 'Be brief.'}"
    assert found(system) == PromptFormat(system="Be brief.")


@pytest.mark.parametrize("packing", [False, True])
def test_rows_that_trl_prepared_are_read(tmp_path, packing):
    from trl import SFTConfig, SFTTrainer

    def prepared(rows):
        args = SFTConfig(
            output_dir=str(tmp_path), packing=packing, max_length=512, use_cpu=True, bf16=False, report_to=[]
        )
        data = Dataset.from_list(rows)
        trainer = SFTTrainer(small_policy(TOKENIZER), args, train_dataset=data, processing_class=TOKENIZER)
        return trainer.get_train_dataloader().dataset

    talks = [
        {"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]}
        for q, a in texts(0)
    ]
    assert check(prepared(talks)).agrees is True
    assert (
        found(prepared([{"text": ALPACA.replace("{prompt}", q) + a} for q, a in texts(0)])).template == ALPACA
    )


# ------------------------------------------------------------------ what is left alone


def test_a_dataset_of_the_users_own_class_is_not_touched():
    class Draws(torch.utils.data.Dataset):
        def __len__(self):
            return 3

        def __getitem__(self, i):
            raise AssertionError("this is code of the user's")

    for dataset in (
        Draws(),
        torch.utils.data.Subset(Draws(), [0]),
        torch.utils.data.ConcatDataset([Draws()]),
    ):
        report = check(dataset)
        assert report.agrees is None
        assert "running its own code" in str(report)


def test_a_transform_of_the_users_is_not_run():
    data = Dataset.from_list(masked(ALPACA))
    data.set_transform(lambda rows: 1 / 0)
    assert check(data).agrees is None
    assert len(training_rows(data).first(5)) == 5


def test_rows_without_texts_cannot_tell():
    assert check([{"pixels": [1.0]}]).agrees is None
    with pytest.raises(ValueError, match=r"'as-trained' cannot be found.*no token ids"):
        found([{"pixels": [1.0]}])


def test_images_are_not_read():
    data = Dataset.from_list([{"image": b"x" * 10, "input_ids": [1, 2]}])
    assert list(training_rows(data)) == [{"input_ids": [1, 2]}]


def test_a_large_training_set_is_read_in_even_steps():
    rows = training_rows(range(1000), most_rows=100)
    assert len(rows.first(11)) == 11
    assert (rows.first(11)[0], rows.first(11)[-1], rows.total) == (0, 999, 1000)


# ------------------------------------------------------------------ columns that are kept apart

BELOW = "Below is an instruction that describes a task"
ASK = "Write a response that appropriately completes the request."
STANFORD = [
    f"{BELOW}, paired with an input that provides further context. {ASK}\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
    f"{BELOW}. {ASK}\n\n### Instruction:\n{{instruction}}\n\n### Response:\n",
]
DOLLY = [
    "Instruction:\n{instruction}\n\nContext:\n{context}\n\nResponse:\n",
    "Instruction:\n{instruction}\n\nResponse:\n",
]
SQUAD = ["Context: {context}\nQuestion: {question}\nAnswer:"]


def columned(forms, seed=0, n=16, masked=True):
    """Training rows of format strings, every second of the longer kind, and prompts with those columns."""
    names = [
        [name for name in ("instruction", "input", "context", "question") if f"{{{name}}}" in form]
        for form in forms
    ]
    rows, prompts = [], []
    for i, ((q, a), (more, _)) in enumerate(zip(texts(seed, n), texts(seed + 100, n), strict=True)):
        form, columns = forms[i % len(forms)], names[i % len(forms)]
        parts = dict(zip(columns, (q, more), strict=False))
        text = form
        for name, part in parts.items():
            text = text.replace(f"{{{name}}}", part)
        rows.append(
            row(TOKENIZER, text, a + END)
            if masked
            else {"text": text + " " * (not text.endswith("\n")) + a + END}
        )
        content = "\n".join(parts.values())
        prompts.append(Prompt(id=str(i), messages=({"role": "user", "content": content},), parts=parts))
    return rows, prompts


@pytest.mark.parametrize("known", [True, False], ids=["masked", "whole texts"])
@pytest.mark.parametrize("forms", [STANFORD, DOLLY, SQUAD], ids=["Alpaca", "Dolly", "SQuAD"])
@given(seed=st.integers(0, 9))
@settings(max_examples=2, deadline=None)
def test_columns_that_training_keeps_apart_are_asked_apart(forms, known, seed):
    rows, prompts = columned(forms, seed, masked=known)
    report = check(rows, prompts=prompts)
    assert report.agrees is False
    form = find_format(training_rows(rows), TOKENIZER, PromptFormat(), prompts)
    assert list(form.templates) == forms
    assert check(rows, form, prompts=prompts).agrees is True
    asked_as = [TOKENIZER.decode(prompt_ids(p, TOKENIZER)) for p in form.ask(prompts)]
    begin = [r["text"] if not known else TOKENIZER.decode(r["input_ids"]) for r in rows]
    assert all(b.startswith(a) for a, b in zip(asked_as, begin, strict=True))


def test_one_instruction_for_many_inputs_is_a_column_all_the_same():
    rows, prompts = columned(STANFORD)
    one = [
        replace(p, parts=p.parts | {"instruction": "Count."} if "input" in p.parts else p.parts)
        for p in prompts
    ]
    rows[::2] = [
        row(TOKENIZER, PromptFormat.of(STANFORD).ask([p])[0].text, "One." + END)
        for p in one
        if "input" in p.parts
    ]
    form = find_format(training_rows(rows), TOKENIZER, PromptFormat(), one)
    assert list(form.templates) == STANFORD


def test_alpaca_asked_as_one_text_is_said_with_both_sides():
    rows, prompts = columned(STANFORD)
    joined = STANFORD[1].replace("{instruction}", "{prompt}")
    report = check(rows, PromptFormat.of(joined), prompts=prompts)
    assert report.agrees is False
    assert "instruction and input" in report.why
    assert "### Input:\n" in report.trained
    assert "### Input:\n" not in report.asked
    assert report.setting == f"prompt_format={STANFORD!r}"


def test_prompts_of_one_piece_are_asked_as_the_rows_without_an_input():
    rows, _ = columned(STANFORD)
    form = found(rows)
    assert asked(form) == STANFORD[1].replace("{instruction}", "Why?")


def test_a_jinja_template_that_keeps_the_columns_apart_agrees():
    rows, prompts = columned(DOLLY)
    jinja = (
        "Instruction:\n{{ instruction }}\n\n"
        "{% if context %}Context:\n{{ context }}\n\n{% endif %}Response:\n\n"
    )
    assert check(rows, PromptFormat.of(jinja), prompts=prompts).agrees is True
