"""Wrong inputs, each as a person writes it, and what its message must name.

``python -m tests.wrong`` writes what is said to docs/errors.md; test_wrong.py holds that it is true.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Wrong:
    """One of them.

    Attributes:
        code: Python with the names of `tests.wrong.said`, or a command line.
        names: What its message says: argument, rule, value, way out.
    """

    code: str
    names: tuple[str, ...]


def wrong(code, *names):
    return Wrong(code, names)


SETTINGS = [
    wrong('RewardMonitor(judge, PROMPTS, sampling={"temperature": -1})', "temperature", "-1", "0"),
    wrong(
        'RewardMonitor(judge, PROMPTS, sampling={"max_tokens": 8})',
        "max_tokens",
        "did you mean 'max_new_tokens'",
    ),
    wrong('RewardMonitor(judge, PROMPTS, sampling=Sampling(max_new_tokens="8"))', "max_new_tokens", "'8'"),
    wrong("RewardMonitor(judge, PROMPTS, sampling=Sampling(top_p=0))", "top_p", "0"),
    wrong('RewardMonitor(judge, PROMPTS, seed="a")', "seed", "'a'"),
    wrong('RewardMonitor(judge, PROMPTS, every="10")', "every", "'10'"),
    wrong("RewardMonitor(judge, PROMPTS, every=True)", "every", "True"),
    wrong("RewardMonitor(judge, PROMPTS, every=0)", "every", "0"),
    wrong(
        "RewardMonitor(judge, PROMPTS, every=Schedule(every=100, max_overhead=10))",
        "max_overhead",
        "10",
        "0.1",
    ),
    wrong('RewardMonitor(judge, PROMPTS, metric="accuracy")', "metric", "accuracy", "win_prob"),
    wrong("RewardMonitor(judge, PROMPTS, keep_best=0)", "keep_best", "0"),
    wrong('RewardMonitor(judge, PROMPTS, on_error="ignore")', "on_error", "ignore", "warn"),
    wrong('RewardMonitor(judge, PROMPTS, name="a/b")', "name", "a/b"),
    wrong(
        'RewardMonitor(judge, PROMPTS, alarm=Alarm(tolerance="jittery"))', "tolerance", "jittery", "jitter"
    ),
    wrong("RewardMonitor(judge, PROMPTS, alarm=Alarm(min_drop=5))", "min_drop", "5"),
    wrong("RewardMonitor(judge, PROMPTS, alarm=Alarm(false_alarms=0))", "false_alarms", "0"),
    wrong("RewardMonitor(judge, PROMPTS, alarm={'horizons': 10})", "horizons", "did you mean 'horizon'"),
    wrong('RewardMonitor(judge, PROMPTS, report_to="wandbb")', "report_to", "wandbb", "wandb"),
    wrong('RewardMonitor(judge, PROMPTS, overlap="gpu")', "overlap", "gpu"),
    wrong("RewardMonitor(judge, PROMPTS, horizon=10)", "horizon"),
    wrong('RewardMonitor(judge, PROMPTS, generator={"ur": "http://localhost:1"})', "ur", "url"),
    wrong(
        'RewardMonitor(judge, PROMPTS, output_dir="p.jsonl").begin()', "output_dir", "p.jsonl", "give another"
    ),
    wrong('RewardMonitor(judge, PROMPTS, prompt_format="as_trained")', "prompt_format", "as-trained"),
]
JUDGES = [
    wrong("RewardMonitor(None, PROMPTS)", "reward_model", "a hub id"),
    wrong('RewardMonitor("no/such/folder/here", PROMPTS).begin(output_dir="out")', "no/such/folder/here"),
    wrong('RewardMonitor(Path("p.jsonl"), PROMPTS).begin(output_dir="out")', "p.jsonl"),
    wrong("RewardMonitor({}, PROMPTS)", "reward_model", "at least one"),
    wrong('RewardMonitor({"a/b": judge}, PROMPTS)', "a/b"),
    wrong('RewardMonitor({"source": "a", "path": "b"}, PROMPTS)', "source", "path", "one of them"),
    wrong(
        "evaluate(RewardMonitor(lambda texts: [0.0] * len(texts), PROMPTS, ANSWERS, output_dir='out'))",
        "prompts",
        "completions",
    ),
    wrong(
        "evaluate(RewardMonitor(lambda prompts, completions: 1.0, PROMPTS, ANSWERS, output_dir='out'))",
        "one number",
    ),
    wrong(
        "evaluate(RewardMonitor(lambda prompts, completions: [0.0], PROMPTS, ANSWERS, output_dir='out'))",
        "one number a completion",
        "(1,)",
    ),
    wrong(
        "evaluate(RewardMonitor(lambda prompts, completions: ['good'] * 2, PROMPTS, ANSWERS, output_dir='out'))",
        "number",
        "good",
    ),
]
TEXTS = [
    wrong('RewardMonitor(judge, "What is a tide?")', "What is a tide?", "list"),
    wrong('RewardMonitor(judge, "prompt.jsonl")', "prompt.jsonl"),
    wrong("RewardMonitor(judge, [])", "prompts", "no prompts"),
    wrong("RewardMonitor(judge, 7)", "a path, a list or a dataset", "int"),
    wrong('RewardMonitor(judge, [{"question_text": "Hi"}])', "question_text", "prompt_column"),
    wrong('RewardMonitor(judge, "broken.jsonl")', "broken.jsonl", "line 2"),
    wrong(
        'RewardMonitor(judge, [{"id": "a", "prompt": "x"}, {"id": "a", "prompt": "y"}])',
        "row 1",
        "row 2",
        "'a'",
    ),
    wrong(
        'RewardMonitor(judge, [{"messages": [{"role": "assistant", "content": "x"}]}])', "row 1", "assistant"
    ),
    wrong('RewardMonitor(judge, PROMPTS, references="chosenn")', "chosenn"),
    wrong('RewardMonitor(judge, "p.jsonl", references="answr")', "answr", "answer"),
    wrong('RewardMonitor(judge, PROMPTS, references=["only one"])', "references", "1", "2"),
    wrong('RewardMonitor(judge, PROMPTS, references={"a/b": ANSWERS})', "a/b"),
]
COMMANDS = [
    wrong("rm-monitor best nowhere", "nowhere"),
    wrong("rm-monitor compare 0 10 --run nowhere", "nowhere", "history.jsonl"),
    wrong("rm-monitor report nowhere", "nowhere"),
    wrong("rm-monitor export out-of-sight --csv", "out-of-sight"),
    wrong("rm-monitor export nowhere", "--csv", "--vega"),
    wrong("rm-monitor view nowhere", "nowhere"),
    wrong("rm-monitor check nope.yaml", "nope.yaml", "no such file"),
    wrong("rm-monitor check broken.yaml", "broken.yaml line 3"),
    wrong("rm-monitor check typo.yaml", "typo.yaml line 3", "evry", "every"),
    wrong("rm-monitor check word.yaml", "word.yaml line 3", "every", "ten"),
    wrong("rm-monitor check list.yaml", "list.yaml", "mapping"),
    wrong("rm-monitor sweep nowhere --config good.yaml", "nowhere"),
    wrong("rm-monitor watch nowhere --config good.yaml", "nowhere"),
    wrong("rm-monitor sweep . --config good.yaml --confirm 3", "--confirm", "--held-out"),
    wrong("rm-monitor score p.jsonl --config good.yaml", "references"),
    wrong("rm-monitor average nowhere --steps 1 2", "nowhere", "--config"),
    wrong("rm-monitor prompts nowhere.jsonl -o x.jsonl", "nowhere.jsonl"),
    wrong("rm-monitor power --prompts 0 --evaluations 5", "prompts", "0"),
    wrong("rm-monitor run --config good.yaml -- nothing.py", "nothing.py"),
]
EVERY = {"Settings": SETTINGS, "Judges": JUDGES, "Prompts and references": TEXTS, "Commands": COMMANDS}
