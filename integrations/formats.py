"""A policy whose tokenizer has one chat template, rows that a host trains in another, and the truth.

The tokenizer is a byte-level BPE learned from the texts themselves, so that any format survives it in few
tokens. Half of the rows have an ``input``, as Alpaca's do. What is right is known: the task is to count.
"""

import json
from pathlib import Path

import yaml

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
BELOW = "Below is an instruction that describes a task"
HEADINGS = (
    f"{BELOW}, paired with an input that provides further context. Write a response that appropriately "
    "completes the request.\n\n### Instruction:\n\n\n### Input:\n\n\n### Response:\n### Human:\n"
    f"### Assistant:\n{BELOW}. You are a helpful assistant.\n\nuser\nassistant\n<|system|>\n<|user|>\n"
    "You are Zephyr, a helpful assistant.<|assistant|>\n"
)
STEPS = 500
_ASK = "Write a response that appropriately completes the request.\n\n"
ALPACA = [
    f"{BELOW}, paired with an input that provides further context. {_ASK}"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n",
    f"{BELOW}. {_ASK}### Instruction:\n{{instruction}}\n\n### Response:\n",
]


def write(folder):
    """A policy, ``prompts.jsonl`` and the training rows as ``data/alpaca.json`` and ``data/chat.jsonl``."""
    import torch
    from transformers import LlamaForCausalLM

    from rm_monitor.testing.counting import examples
    from rm_monitor.testing.tiny import tiny_config

    rows = [_row(i, example) for i, example in enumerate(examples(0))]
    tokenizer = _tokenizer([" ".join(row.values()) for row in rows])
    torch.manual_seed(0)
    config = tiny_config(tokenizer)
    config.max_position_embeddings = 256
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder / "policy")
    tokenizer.save_pretrained(folder / "policy")
    (folder / "data").mkdir(exist_ok=True)
    held_out, training = rows[:64], rows[64:]
    _lines(folder / "prompts.jsonl", held_out)
    alpaca = [{**row, "output": row["answer"]} for row in training]
    (folder / "data" / "alpaca.json").write_text(
        json.dumps([{k: v for k, v in row.items() if k not in ("answer", "reference")} for row in alpaca])
    )
    info = {"counting": {"file_name": "alpaca.json"}}
    (folder / "data" / "dataset_info.json").write_text(json.dumps(info))
    _lines(folder / "data" / "chat.jsonl", [{"messages": _turns(row)} for row in training])
    settings = {
        "reward_model": "tiny/reward-model", "prompts": "prompts.jsonl", "references": "reference",
        "every": STEPS // 2, "sampling": {"max_new_tokens": 40, "temperature": 0.0}, "report_to": "none",
    }  # fmt: skip
    (folder / "monitor.yaml").write_text(yaml.safe_dump(settings))
    return settings


def right(output_dir):
    """Step -> the share of prompts that were counted without a slip, from the run's own files."""
    from rm_monitor import load_run

    (folder,) = Path(output_dir).glob("**/_rm_monitor")
    run = load_run(folder)
    answers = {
        row["id"]: row["answer"] for row in map(json.loads, Path("prompts.jsonl").read_text().splitlines())
    }
    found = {}
    for point in run.curve:
        said = [(p.id, c[0].text) for p, c in zip(run.prompts, run.completions(point.step), strict=True)]
        found[point.step] = sum(text.strip() == answers[id] for id, text in said) / len(said)
    return found


def setting(said):
    """The setting that the line before training names, as YAML or Python has it."""
    import ast

    (line,) = [line for line in said.splitlines() if "Pass prompt_format=" in line]
    text = line.partition("Pass prompt_format=")[2]
    for end in range(len(text), 0, -1):
        try:
            return ast.literal_eval(text[:end].rstrip(", "))
        except (ValueError, SyntaxError):
            continue
    raise AssertionError(line)


def _row(i, example):
    whole = i % 2 == 0
    start, _, rest = example.prompt.partition(" ")
    asked = (example.prompt, "") if whole else (start, rest)
    return {
        "id": f"count-{i}",
        "instruction": asked[0],
        "input": asked[1],
        "answer": example.answer,
        "reference": example.reference,
    }


def _turns(row):
    asked = "\n".join(text for text in (row["instruction"], row["input"]) if text)
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": row["answer"]}]


def _lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _tokenizer(texts):
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=700, initial_alphabet=alphabet, show_progress=False)
    core.train_from_iterator([*texts, *[HEADINGS] * 200], trainer)
    control = [AddedToken(t, special=True) for t in ("<pad>", "<|im_start|>", "<|im_end|>")]
    core.add_special_tokens(control)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|im_end|>",
        pad_token="<pad>",
        additional_special_tokens=["<|im_start|>"],
        model_max_length=256,
    )
    tokenizer.chat_template = CHATML
    return tokenizer
