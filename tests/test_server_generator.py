"""A server's completions are the checkpoint's own, or there are none."""

import sys

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from rm_monitor import Prompt, RewardMonitor, Sampling
from rm_monitor.errors import GenerationError
from rm_monitor.generators import load_generator
from rm_monitor.generators.hf import HFGenerator
from rm_monitor.generators.server import LoraHotLoad, ReloadFromDisk, RunCommand, ServerGenerator
from rm_monitor.generators.server.dialects import fields, read
from rm_monitor.http import Clock, Limits
from rm_monitor.monitor.config import MonitorConfig
from rm_monitor.sweep.discover import Source
from rm_monitor.sweep.run import sweep
from rm_monitor.testing import check_generator
from tests.policy_server import policy_server
from tests.servers import first, hang, html, serve, status

QUICK = Limits(connect=0.2, read=10.0, total=20.0, attempts=3, backoff=0.001)
GREEDY = Sampling(temperature=0.0, max_new_tokens=6)
PROMPTS = [
    Prompt(id=f"p{i}", messages=({"role": "user", "content": text},))
    for i, text in enumerate(["Hi", "What is a tide?", "Name a colour."])
]


def letters(prompts, completions):
    """A reward that tells any two texts apart."""
    return [float(sum(i * ord(c) for i, c in enumerate(text, 1))) for text in completions]


@pytest.fixture(scope="module")
def server(tiny_policy_dir):
    with policy_server(tiny_policy_dir) as running:
        yield running


@pytest.fixture(autouse=True)
def _as_it_was(request):
    yield
    if "server" in request.fixturenames:
        running = request.getfixturevalue("server")
        running.fault = None
        running.policy.models = {k: m for k, m in running.policy.models.items() if k == "base"}


@pytest.fixture(scope="module")
def adapters(tiny_policy_dir, tmp_path_factory):
    """Two LoRA checkpoints with weights that change the answers."""
    folder = tmp_path_factory.mktemp("run")
    for step in (10, 20):
        model = lora(tiny_policy_dir, seed=step)
        model.save_pretrained(folder / f"checkpoint-{step}")
        (folder / f"checkpoint-{step}" / "trainer_state.json").write_text(f'{{"global_step": {step}}}')
        AutoTokenizer.from_pretrained(tiny_policy_dir).save_pretrained(folder / f"checkpoint-{step}")
    return folder


def lora(folder, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = get_peft_model(
            AutoModelForCausalLM.from_pretrained(folder), LoraConfig(r=4, target_modules=["q_proj", "v_proj"])
        )
        for name, p in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(p, std=0.5)
    return model.eval()


def texts(completions):
    return [c.text for c in completions]


# --------------------------------------------------------------------------- answers


@pytest.mark.parametrize("render", ["client", "server"])
def test_greedy_answers_are_those_of_the_same_weights_in_this_process(
    render, server, tiny_policy, tiny_tokenizer
):
    ours = HFGenerator().generate(PROMPTS, GREEDY, model=tiny_policy.eval(), tokenizer=tiny_tokenizer)
    generator = ServerGenerator(server.url, render=render, tokenizer=tiny_tokenizer, limits=QUICK)
    theirs = generator.generate(PROMPTS, GREEDY)
    assert [(c.text, c.n_tokens, c.finish_reason) for c in theirs] == [
        (c.text, c.n_tokens, c.finish_reason) for c in ours
    ]


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_a_server_keeps_the_promises_of_a_generator(temperature, server):
    sampling = Sampling(temperature=temperature, max_new_tokens=3, samples_per_prompt=2 if temperature else 1)
    generator = ServerGenerator(server.url + "/v1", limits=QUICK, concurrency=3)
    check_generator(generator, prompts=PROMPTS, sampling=sampling)


def test_samples_differ_by_their_seeds_and_repeat_with_the_run(server):
    sampling = Sampling(temperature=1.0, max_new_tokens=6, samples_per_prompt=3)
    generator = ServerGenerator(server.url, limits=QUICK)
    one, same, other = (texts(generator.generate(PROMPTS[:1], sampling, seed=s)) for s in (1, 1, 2))
    assert one == same
    assert len(set(one)) == 3
    assert one != other


def test_a_raw_prompt_is_continued_without_a_template(server, tiny_policy, tiny_tokenizer):
    raw = [Prompt(id="r", messages=({"role": "user", "content": "Once"},), raw=True)]
    ours = HFGenerator().generate(raw, GREEDY, model=tiny_policy.eval(), tokenizer=tiny_tokenizer)
    assert texts(ServerGenerator(server.url, limits=QUICK).generate(raw, GREEDY)) == texts(ours)


def test_servers_defaults_are_switched_off():
    for owner, field in (("vllm", "top_k"), ("sglang", "repetition_penalty"), ("llamacpp", "repeat_penalty")):
        assert field in fields(GREEDY, owner)
    assert not {"top_k", "min_p", "repetition_penalty"} & set(fields(GREEDY, "openai"))


def test_reasoning_that_the_server_took_out_stays_apart():
    choice = {"finish_reason": "stop", "message": {"reasoning_content": "hm", "content": "Four."}}
    said = read({"choices": [choice]}, PROMPTS[0], 0)
    assert (said.text, said.reasoning) == ("Four.", "hm")


@pytest.mark.parametrize(
    "reply", [{}, {"choices": []}, {"choices": [{"message": {"content": None}}]}, [], "x"]
)
def test_a_reply_without_text_is_an_error(reply):
    with pytest.raises(GenerationError, match="prompt 'Hi'"):
        read(reply, PROMPTS[0], 0)


# --------------------------------------------------------------------------- faults


def test_a_passing_fault_changes_nothing(server):
    generator = ServerGenerator(server.url, limits=QUICK)
    expected = texts(generator.generate(PROMPTS, GREEDY))
    server.fault = first(2, status(503))
    assert texts(generator.generate(PROMPTS, GREEDY)) == expected


@pytest.mark.parametrize(("fault", "why"), [(hang, "silent"), (status(500), "HTTP 500"), (html, "not JSON")])
def test_a_lasting_fault_is_a_generation_error(fault, why, server):
    server.fault = fault
    limits = Limits(connect=0.2, read=0.1, total=0.5, attempts=2, backoff=0.001)
    with pytest.raises(GenerationError, match=why):
        ServerGenerator(server.url, limits=limits).generate(PROMPTS, GREEDY)


def test_no_more_requests_are_under_way_than_agreed(server):
    server.most_busy = idle = server.busy
    ServerGenerator(server.url, limits=QUICK, concurrency=2).generate(PROMPTS * 3, GREEDY)
    assert 1 <= server.most_busy - idle <= 2


def test_progress_is_told(server):
    told = []
    ServerGenerator(server.url, limits=QUICK).generate(
        PROMPTS, GREEDY, progress=lambda done, total: told.append((done, total))
    )
    assert told == [(1, 3), (2, 3), (3, 3)]


# --------------------------------------------------------------------------- weights


def test_a_model_in_training_is_refused_unless_its_weights_get_there(server, tiny_policy, tiny_tokenizer):
    with pytest.raises(GenerationError, match="does not have the weights of the model in training"):
        load_generator(server.url).generate(PROMPTS, GREEDY, model=tiny_policy, tokenizer=tiny_tokenizer)
    synced = ServerGenerator(server.url, weights="synced", limits=QUICK)
    assert synced.generate(PROMPTS, GREEDY, model=tiny_policy, tokenizer=tiny_tokenizer)


def test_a_lora_model_in_training_is_answered_with_its_own_adapter(
    server, tiny_policy_dir, tiny_tokenizer, tmp_path
):
    generator = ServerGenerator(server.url, weights=LoraHotLoad(), limits=QUICK, spool=tmp_path)
    for seed in (1, 2):
        model = lora(tiny_policy_dir, seed)
        expected = HFGenerator().generate(PROMPTS, GREEDY, model=model, tokenizer=tiny_tokenizer)
        got = generator.generate(PROMPTS, GREEDY, model=model, tokenizer=tiny_tokenizer)
        assert texts(got) == texts(expected)
    assert len(server.policy.models) == 2  # the base and the last adapter: the first was unloaded
    assert len(list(tmp_path.iterdir())) == 1  # and its files are gone
    again = generator.generate(PROMPTS, GREEDY, model=model, tokenizer=tiny_tokenizer)
    assert texts(again) == texts(expected)  # the same weights again: the same name, not loaded twice


def test_full_weights_are_no_adapter(server, tiny_policy, tiny_policy_dir):
    generator = ServerGenerator(server.url, weights=LoraHotLoad(), limits=QUICK)
    with pytest.raises(GenerationError, match="holds no LoRA adapter"):
        generator.load_checkpoint(tiny_policy_dir)
    with pytest.raises(GenerationError, match="no way to load"):
        ServerGenerator(server.url).load_checkpoint(tiny_policy_dir)


def test_a_checkpoint_outside_the_mounted_folder_is_refused(server, adapters, tmp_path):
    mounted = LoraHotLoad(mounted=(str(tmp_path), "/data"))
    with pytest.raises(GenerationError, match="the folder that the server can see"):
        ServerGenerator(server.url, weights=mounted, limits=QUICK).load_checkpoint(adapters / "checkpoint-10")
    right = LoraHotLoad(mounted=(str(adapters), str(adapters)))
    ServerGenerator(server.url, weights=right, limits=QUICK).load_checkpoint(adapters / "checkpoint-10")


def test_full_weights_are_loaded_from_disk(server, tmp_path, tiny_policy_dir, tiny_tokenizer):
    other = AutoModelForCausalLM.from_pretrained(tiny_policy_dir)
    with torch.no_grad():
        other.lm_head.weight.neg_()
    other.save_pretrained(tmp_path / "other")
    generator = ServerGenerator(server.url, weights=ReloadFromDisk(), limits=QUICK, tokenizer=tiny_tokenizer)
    generator.load_checkpoint(tmp_path / "other")
    expected = HFGenerator().generate(PROMPTS, GREEDY, model=other.eval(), tokenizer=tiny_tokenizer)
    assert texts(generator.generate(PROMPTS, GREEDY)) == texts(expected)
    with pytest.raises(GenerationError, match="did not load"):
        generator.load_checkpoint(tmp_path / "nothing")
    generator.load_checkpoint(None, base=str(tiny_policy_dir))


def test_a_command_brings_the_server_up_and_it_is_waited_for(tmp_path, tiny_policy_dir):
    """The command writes down what it was asked; the server is away for a while."""
    written = tmp_path / "asked"
    command = [
        sys.executable,
        "-c",
        f"import sys; open({str(written)!r}, 'w').write(sys.argv[1])",
        "{checkpoint}",
    ]
    waits = []
    clock = Clock(sleep=waits.append)
    once = Limits(connect=0.2, read=5.0, total=10.0, attempts=1, open_after=99)
    with policy_server(tiny_policy_dir) as server:
        server.fault = first(3, status(503))
        generator = ServerGenerator(server.url, weights=RunCommand(command), limits=once, clock=clock)
        generator.load_checkpoint(tmp_path / "check; point")
        assert generator.generate(PROMPTS, GREEDY)
    assert written.read_text() == str(tmp_path / "check; point")  # one word: no shell reads it
    assert waits == [1.0, 1.0, 1.0]


def test_a_command_that_fails_is_told_without_the_key(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "SENTINEL-key")
    command = [
        sys.executable,
        "-c",
        "import os,sys; sys.exit('no GPU ' + os.environ['MY_KEY'])",
        "{checkpoint}",
    ]
    generator = ServerGenerator("http://127.0.0.1:1", weights=RunCommand(command), key_env="MY_KEY")
    with pytest.raises(GenerationError, match="ended with 1: 'no GPU <key>") as caught:
        generator.load_checkpoint(tmp_path)
    assert "SENTINEL" not in str(caught.value) + repr(generator)


def test_a_settings_file_can_name_a_server(tmp_path):
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "Hi"}')
    settings = {
        "reward_model": "unused",
        "prompts": str(tmp_path / "prompts.jsonl"),
        "generator": {"url": "http://127.0.0.1:1", "weights": "lora", "concurrency": 4},
    }
    monitor = RewardMonitor.from_config({**settings}, reward_model=letters)
    assert isinstance(monitor.settings.generator.weights, LoraHotLoad)
    assert MonitorConfig.from_mapping(settings).generator["weights"] == "lora"
    assert load_generator("http://127.0.0.1:1").weights is None


def test_arguments_are_checked():
    for arguments in ({"weights": "magic"}, {"render": "both"}, {"concurrency": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(arguments))}`"):
            ServerGenerator("http://127.0.0.1:1", **arguments)
    with pytest.raises(ValueError, match=r"needs \{checkpoint\}"):
        RunCommand("bash serve.sh")


def test_several_models_need_a_name():
    def two(path, body):
        return {"data": [{"id": "a"}, {"id": "b"}]}

    with serve(two) as running, pytest.raises(GenerationError, match="pass model="):
        ServerGenerator(running.url, limits=QUICK).generate(PROMPTS, GREEDY)


def test_a_named_model_need_not_be_listed(server):
    generator = ServerGenerator(server.url, limits=QUICK, model="base")
    expected = texts(generator.generate(PROMPTS, GREEDY))
    listed = server.policy.v1_models
    server.policy.v1_models = lambda body: (404, {})
    try:
        with pytest.raises(GenerationError, match="HTTP 404"):
            ServerGenerator(server.url, limits=QUICK).generate(PROMPTS, GREEDY)
        neutral = {"top_k": -1, "repetition_penalty": 1.0}  # such a server does not say what it is, either
        named = ServerGenerator(server.url, limits=QUICK, model="base", extra=neutral)
        assert texts(named.generate(PROMPTS, GREEDY)) == expected
    finally:
        server.policy.v1_models = listed
    with pytest.raises(GenerationError, match="`other` does not exist"):
        ServerGenerator(server.url, limits=QUICK, model="other").generate(PROMPTS, GREEDY)


@pytest.mark.parametrize(
    "page",
    [
        lambda body: (500, {}),
        lambda body: (200, {"data": []}),
        lambda body: (200, [1]),
        lambda body: (429, {}),
    ],
    ids=["an error", "empty", "no list", "too many requests"],
)
def test_the_list_of_models_is_a_hint_where_the_model_is_named(server, page):
    """`transformers serve` lists nothing until its cache has a model, and answers all the same."""
    listed, asked = server.policy.v1_models, []
    server.policy.v1_models = lambda body: asked.append(1) or page(body)
    neutral = {"top_k": -1, "repetition_penalty": 1.0}
    try:
        named = ServerGenerator(server.url, limits=QUICK, model="base", extra=neutral)
        first_time = texts(named.generate(PROMPTS, GREEDY))
        server.policy.v1_models = listed  # a page that comes later changes nothing of how it is asked
        assert texts(named.generate(PROMPTS, GREEDY)) == first_time
        assert len(asked) == 1
    finally:
        server.policy.v1_models = listed


@pytest.mark.parametrize(
    ("owner", "path"), [("vllm", "/v1/completions"), ("huggingface", "/v1/chat/completions")]
)
def test_token_ids_go_only_to_servers_that_take_them(owner, path, server, tiny_tokenizer, monkeypatch):
    monkeypatch.setattr(server.policy, "owner", owner)  # transformers' own server refuses them
    neutral = {"top_k": -1, "repetition_penalty": 1.0}
    ServerGenerator(server.url, limits=QUICK, extra=neutral, tokenizer=tiny_tokenizer).generate(
        PROMPTS, GREEDY
    )
    assert {asked for _, asked, _, _ in server.asked[-3:]} == {path}


# --------------------------------------------------------------------------- with the monitor


def monitor_of(folder, generator=None, **more):
    return RewardMonitor(
        letters,
        [{"id": p.id, "prompt": p.messages[0]["content"]} for p in PROMPTS],
        references=["four"] * 3,
        output_dir=folder,
        sampling=GREEDY,
        report_to="none",
        generator=generator,
        **more,
    )


def test_a_monitor_draws_the_same_curve_with_a_server(server, tiny_policy, tiny_tokenizer, tmp_path):
    here = monitor_of(tmp_path / "here").evaluate(tiny_policy, tiny_tokenizer, step=1)
    there = monitor_of(
        tmp_path / "there", ServerGenerator(server.url, weights="synced", limits=QUICK)
    ).evaluate(tiny_policy, tiny_tokenizer, step=1)
    assert there.values["reward"].tolist() == here.values["reward"].tolist()
    assert there.metrics["win_rate"] == here.metrics["win_rate"]


def test_a_server_that_is_down_is_a_gap_in_the_curve(server, tiny_policy, tiny_tokenizer, tmp_path):
    limits = Limits(connect=0.2, read=0.1, total=0.3, attempts=1)
    monitor = monitor_of(
        tmp_path, ServerGenerator(server.url, weights="synced", limits=limits), on_error="start-anyway"
    )
    server.fault = status(500)
    point = monitor.evaluate(tiny_policy, tiny_tokenizer, step=1)
    assert (point.status, dict(point.metrics)) == ("failed", {})
    assert "HTTP 500" in point.reason


def test_a_sweep_with_hot_loaded_adapters_judges_what_a_sweep_in_this_process_judges(
    server, adapters, tiny_policy_dir, tmp_path
):
    (tmp_path / "prompts.jsonl").write_text(
        "".join(f'{{"id": "{p.id}", "prompt": "{p.messages[0]["content"]}"}}\n' for p in PROMPTS)
    )
    config = MonitorConfig(reward_model="unused", prompts=str(tmp_path / "prompts.jsonl"), sampling=GREEDY)
    curves = {}
    tokenizer = AutoTokenizer.from_pretrained(tiny_policy_dir)
    generators = {
        "here": None,
        "there": ServerGenerator(server.url, weights=LoraHotLoad(), limits=QUICK, tokenizer=tokenizer),
    }
    for name, generator in generators.items():
        monitor = monitor_of(tmp_path / name, generator)
        source = Source(folder=adapters, base=str(tiny_policy_dir))
        monitor, swept = sweep(source, config, monitor=monitor)
        assert swept.judged == [0, 10, 20]
        if generator is not None:
            with pytest.raises(ValueError, match="`jobs` must be 1"):
                sweep(source, config, monitor=monitor, jobs=2)
        curves[name] = [(p.step, p.status, p.values["reward"].tolist()) for p in monitor.curve]
    assert curves["here"] == curves["there"]
    assert len({tuple(rewards) for _, _, rewards in curves["there"]}) == 3  # three different models answered
