"""A training in another format than the chat template: said before it begins, and asked as trained."""

import json

import pytest
import torch
from transformers import AutoModelForCausalLM

from rm_monitor import RewardMonitor, RewardMonitorCallback, Sampling, load_prompts
from rm_monitor.monitor.overlap.recipe import Recipe
from rm_monitor.prompts.format import PromptFormat
from rm_monitor.testing.counting import examples
from tests.helpers import tiny_trainer

DATA = examples(0)
ASKED = [example.prompt for example in DATA[:4]]


def raw_rows(tokenizer):
    """Prompt and answer as running text, the prompt not learned."""
    for example in DATA[4:40]:
        said = example.answer if isinstance(example.answer, str) else " ".join(example.answer)
        prompt, answer = tokenizer(example.prompt).input_ids, tokenizer(said + " <end>").input_ids
        labels = [-100] * len(prompt) + answer
        yield {"input_ids": torch.tensor(prompt + answer), "labels": torch.tensor(labels)}


@pytest.fixture
def train(tmp_path, tiny_policy_dir, tiny_tokenizer):
    """Train two steps; the monitor, and every answer that was judged."""

    def run(prompts=tuple(ASKED), rows=None, examine=True, **settings):
        heard = []

        def reward(asked, answers):
            heard.extend(zip(asked, answers, strict=True))
            return [0.0] * len(answers)

        monitor = RewardMonitor(
            reward,
            load_prompts(list(prompts), raw=settings.pop("raw", False)),
            ["x"] * len(prompts),
            every=1,
            sampling=Sampling(max_new_tokens=8, temperature=0.0),
            report_to="none",
            **settings,
        )
        trainer = tiny_trainer(
            AutoModelForCausalLM.from_pretrained(tiny_policy_dir),
            tiny_tokenizer,
            tmp_path / str(len(list(tmp_path.iterdir()))),
            steps=2,
            n_rows=4,
            per_device_train_batch_size=1,
            callbacks=[RewardMonitorCallback(monitor, examine=examine)],
        )
        trainer.train_dataset = list(raw_rows(tiny_tokenizer)) if rows is None else rows
        trainer.train()
        return monitor, [(asked, answer) for asked, answer in heard if answer != "x"]

    return run


def test_another_format_than_the_one_that_is_asked_is_said_before_training(train, caplog):
    train()
    said = [record for record in caplog.records if "NOT ASKED AS TRAINED" in record.getMessage()]
    assert len(said) == 1
    assert said[0].levelname == "WARNING"
    for part in ("trained: 'count", "asked:   '<|user|>count", "prompt_format='raw'"):
        assert part in said[0].getMessage()


def test_rows_that_cannot_be_read_without_their_own_code_are_said(train, capsys, tiny_tokenizer):
    rows = list(raw_rows(tiny_tokenizer))

    class Draws(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return rows[i]

    train(rows=Draws())
    assert "whether the policy is asked as it is trained cannot be told" in capsys.readouterr().out


def test_as_trained_asks_what_training_shows_and_it_is_one_of_the_conditions(train, caplog):
    monitor, found = train(prompt_format="as-trained")
    _, plain = train(raw=True)
    assert found == plain
    assert "NOT ASKED" not in caplog.text
    manifest = json.loads((monitor.run.folder / "manifest.json").read_text())
    assert manifest["comparable"]["format"] == {"kind": "raw"}


def test_a_format_that_is_named_is_asked(train, caplog):
    _, named = train(prompt_format="raw")
    _, plain = train(raw=True)
    assert named == plain
    assert "NOT ASKED" not in caplog.text


def test_nothing_is_looked_at_where_the_user_says_so(train, caplog):
    train(examine=False)
    assert "NOT ASKED" not in caplog.text


def test_a_format_that_cannot_be_found_is_refused_before_training(train):
    class Own(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            return {"input_ids": torch.tensor([5, 6]), "labels": torch.tensor([5, 6])}

    with pytest.raises(ValueError, match=r"'as-trained' cannot be found.*running its own code"):
        train(prompt_format="as-trained", rows=Own())


def test_a_second_process_asks_in_the_same_format():
    recipe = Recipe(
        scorers={},
        prompts=load_prompts(["Hi"]),
        sampling=Sampling(),
        seed=0,
        prompt_format=PromptFormat.of("Q: {prompt}"),
    )
    import pickle

    assert pickle.loads(recipe.packed()).prompt_format == PromptFormat.of("Q: {prompt}")
