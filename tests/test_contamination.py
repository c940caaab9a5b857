"""Prompts and references that the training set holds are found, within bounds; training is not disturbed."""

import itertools
import json
import random

import pytest

from rm_monitor import Prompt
from rm_monitor.prompts.contamination import GRAM, check, rows_of, texts_of
from rm_monitor.types import Completion, ReferenceSet

WORDS = [f"w{i}" for i in range(5000)]


def sentence(rng, n):
    return " ".join(rng.choice(WORDS) for _ in range(n))


def prompts_of(texts):
    return [Prompt(id=f"p{i}", messages=({"role": "user", "content": t},)) for i, t in enumerate(texts)]


def references_of(texts):
    completions = tuple(Completion(prompt_id=f"p{i}", text=t) for i, t in enumerate(texts))
    return [ReferenceSet(name="r", completions=completions)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_planted_overlaps_are_found_and_nothing_else(share):
    rng = random.Random(0)
    asked = [sentence(rng, 30) for _ in range(100)]
    rows = [{"prompt": sentence(rng, 40), "completion": sentence(rng, 60)} for _ in range(300)]
    planted = rng.sample(range(100), int(100 * share))
    for i in planted:
        words = asked[i].split()
        at = rng.randrange(len(words) - GRAM + 1)
        text = " ".join([*sentence(rng, 10).split(), *words[at : at + GRAM], *sentence(rng, 5).split()])
        rows[rng.randrange(300)]["completion"] += " " + text
    found = check(prompts_of(asked), [], rows)
    assert found.overlapping == tuple(f"p{i}" for i in sorted(planted))
    assert found.exact == ()
    assert found.complete


def test_twelve_words_in_a_row_are_not_enough():
    rng = random.Random(1)
    asked = sentence(rng, 30)
    row = f"start {' '.join(asked.split()[5 : 5 + GRAM - 1])} end"
    assert check(prompts_of([asked]), [], [row]).found == 0


def test_punctuation_and_case_do_not_hide_a_copy():
    found = check(prompts_of(["What is a tide?"]), [], [{"text": "WHAT is, a tide"}])
    assert found.exact == ("p0",)


def test_a_short_question_inside_another_text_is_no_copy_but_eight_words_are():
    asked = prompts_of(["What is a tide?", "Why does the sea rise and fall each day?"])
    row = "he asked: what is a tide? why does the sea rise and fall each day? and left"
    found = check(asked, [], [row])
    assert (found.exact, found.overlapping) == ((), ("p1",))


def test_a_reference_in_the_training_set_is_told_as_such():
    rng = random.Random(2)
    asked, golden = ["one?", "two?"], [sentence(rng, 20), sentence(rng, 20)]
    found = check(prompts_of(asked), references_of(golden), [{"prompt": "x", "completion": golden[1]}])
    assert found.exact == ("p1",)
    assert found.in_references == 1
    assert "1 of 2 prompts" in str(found)
    assert "1 of them by their reference alone" in str(found)


def test_boilerplate_that_the_prompts_share_is_no_sign():
    shared = "answer the following question with one of the options below and say why you chose it: "
    rng = random.Random(3)
    asked = [shared + sentence(rng, 6) for _ in range(20)]
    rows = [{"prompt": shared + sentence(rng, 6)} for _ in range(50)]
    assert check(prompts_of(asked), [], rows).found == 0


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        ("plain", ["plain"]),
        ({"text": "a"}, ["a"]),
        ({"prompt": "a", "chosen": "b", "rejected": "c"}, ["a", "b", "c"]),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, ["a", "b"]),
        (
            {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "x", "content": "b"}]},
            ["a", "b"],
        ),
        ({"input_ids": [1, 2], "attention_mask": [1, 1], "labels": [1, 2]}, ["<1 2>"]),
        ({"prompt_input_ids": [1], "chosen_ids": [2, 3]}, ["<1>", "<2 3>"]),
        ({"score": 3.0, "n": 1, "none": None, "input_ids": []}, []),
        (7, []),
    ],
)
def test_texts_are_found_in_every_kind_of_row(row, texts):
    assert list(texts_of(row, lambda ids: f"<{' '.join(map(str, ids))}>")) == texts


def test_time_and_rows_are_bounded_and_said():
    rows = ({"text": "x"} for _ in range(10**9))
    ticks = iter(range(10**9))
    found = check(prompts_of(["a?"]), [], rows, most_seconds=50, clock=lambda: next(ticks))
    assert found.rows == 50
    assert not found.complete
    assert "50 rows of the training set looked at" in str(found)
    assert check(prompts_of(["a?"]), [], ["x"] * 100, most_rows=10).rows == 10


def test_a_large_dataset_is_sampled_evenly():
    rows, total = rows_of(range(1_000_000), most_rows=11)
    found = list(rows)
    assert (found[0], found[-1], len(found), total) == (0, 999_999, 11, 1_000_000)
    assert {b - a for a, b in itertools.pairwise(found)} <= {99_999, 100_000}


def test_a_dataset_that_can_be_read_only_once_is_left_alone():
    taken = []

    class Once:
        def __iter__(self):
            return (taken.append(i) or {"text": "a?"} for i in range(5))

    rows, total = rows_of(Once())
    found = check(prompts_of(["a?"]), [], rows, total=total)
    assert taken == []
    assert "was not checked" in str(found)


@pytest.mark.parametrize("kind", ["map-style", "a subclass of list", "transform", "mapped stream"])
def test_no_code_of_the_users_is_called_to_read_the_training_set(kind):
    from datasets import Dataset

    called = []

    def make(rows):
        called.append(rows)
        return rows

    class Reads(list):
        def __getitem__(self, i):
            return make(super().__getitem__(i))

    class MapStyle:
        def __len__(self):
            return 3

        def __getitem__(self, i):
            return make({"text": "a?"})

    table = Dataset.from_list([{"text": "a?"}] * 3)
    if kind == "transform":
        table.set_transform(make)
    dataset = {
        "map-style": MapStyle,
        "a subclass of list": lambda: Reads(["a?"] * 3),
        "transform": lambda: table,
        "mapped stream": lambda: table.to_iterable_dataset().map(make),
    }[kind]()
    called.clear()
    rows, total = rows_of(dataset)
    check(prompts_of(["a?"]), [], rows, total=total)
    assert called == []


def test_a_streamed_dataset_is_left_alone_for_reading_it_would_run_its_own_code():
    from datasets import Dataset

    rows, total = rows_of(Dataset.from_list([{"text": "a?"}]).to_iterable_dataset().map(lambda row: 1 / 0))
    assert list(rows) == []
    assert total is None


def test_a_trainer_run_says_in_one_sentence_what_it_found_and_trains_the_same(
    tmp_path, tiny_policy_dir, tiny_tokenizer, capsys
):
    import json
    import random

    import torch
    from transformers import AutoModelForCausalLM

    from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling
    from tests.helpers import CountsGood, rows, tiny_trainer

    def train(folder, asked, dataset, examine=True):
        monitor = RewardMonitor(
            CountsGood(),
            asked,
            references=["x"] * len(asked),
            every=10,
            sampling=Sampling(max_new_tokens=2),
            report_to="none",
        )
        trainer = tiny_trainer(
            AutoModelForCausalLM.from_pretrained(tiny_policy_dir),
            tiny_tokenizer,
            folder,
            steps=2,
            n_rows=4,
            callbacks=[RewardMonitorCallback(monitor, baseline=False, examine=examine)],
        )
        trainer.train_dataset = dataset
        trainer.train()
        return {n: p.detach().clone() for n, p in trainer.model.named_parameters()}

    class Draws(torch.utils.data.Dataset):
        """Has random numbers of its own, which nobody can put back."""

        def __init__(self):
            self.random = random.Random(0)

        def __len__(self):
            return 5

        def __getitem__(self, i):
            ids = torch.tensor([self.random.randrange(5, 20) for _ in range(6)])
            return {"input_ids": ids, "labels": ids.clone()}

    asked = ["Why does the sea rise and fall twice each day of the year?", "What is a tide?"]
    ids = torch.tensor(
        tiny_tokenizer("why does the sea rise and fall twice each day of the year")["input_ids"]
    )
    plain = [{"input_ids": ids, "labels": ids}, *rows(None, 4, len(ids))]
    train(tmp_path / "p", asked, plain)
    printed = capsys.readouterr().out
    assert printed.count("CONTAMINATED: 1 of 2 prompts are in the 5 rows of the training set") == 1
    manifest = json.loads((tmp_path / "p" / "_rm_monitor" / "manifest.json").read_text())
    assert manifest["contamination"]["overlapping"] or manifest["contamination"]["exact"]
    with_it = train(tmp_path / "a", asked, Draws())
    assert "contamination was not checked" in capsys.readouterr().out
    without = train(tmp_path / "b", asked, Draws(), examine=False)
    assert all(with_it[name].equal(without[name]) for name in without)


CELL = "They came at dawn, and nobody in the whole village had heard a single sound of it"


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "human", "value": CELL}]},
        {"messages": json.dumps([{"role": "user", "content": CELL}])},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": CELL}]}]},
    ],
    ids=str,
)
def test_a_prompt_is_found_however_a_training_row_writes_its_turns(row):
    assert check([*prompts_of([CELL])], [], [row]).exact == ("p0",)


def test_the_rows_of_a_data_frame_are_read():
    import pandas as pd

    rows, n = rows_of(pd.DataFrame({"prompt": [CELL, "x"]}))
    assert (check([*prompts_of([CELL])], [], rows, total=n).exact, n) == (("p0",), 2)
