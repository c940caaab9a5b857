"""The blocks of the documents on servers run as they stand, against servers on this machine."""

import re
from pathlib import Path

import pytest
import yaml

from rm_monitor.generators import load_generator
from rm_monitor.monitor.config import MonitorConfig
from tests.http_faults import Scores
from tests.scorers.test_judge import Judge
from tests.servers import serve

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"^```(python|yaml)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(document, kind, section=""):
    text = (ROOT / "docs" / document).read_text(encoding="utf-8")
    return [code for language, code in FENCE.findall(text[text.index(section) :]) if language == kind]


class Ids(Scores):
    """Scores token ids by their sum."""

    def __call__(self, path, body):
        if body is None:
            return super().__call__(path, body)
        return {"data": [{"index": i, "data": [3.0 - sum(x) % 7]} for i, x in enumerate(body["input"])]}


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_reward_model_dir):
    """What a reader has: a folder with prompts and a reward model, and a key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUDGE_KEY", "a-key")
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "What is a tide?", "chosen": "The sea, rising."}\n')
    (tmp_path / "path" / "to").mkdir(parents=True)
    (tmp_path / "path" / "to" / "reward-model").symlink_to(tiny_reward_model_dir)


def run(code, names, **addresses):
    for written, real in addresses.items():
        code = code.replace({"node": "http://node17:8000", "api": "https://api.example.com"}[written], real)
    exec(compile(code, "a block of the documents", "exec"), names)


def ranks(path, body):
    """As Nemotron's GenRM ends its reply."""
    said = "[The Begin of Ranking Score]\n\\boxed{1}\n[The End of Ranking Score]"
    return {"model": "genrm", "choices": [{"finish_reason": "stop", "message": {"content": said}}]}


def test_the_blocks_on_reward_models_behind_servers_run(here):
    remote, judge, published, ensemble = blocks("reward-models.md", "python", "## Behind a server")[:4]
    names = {}
    with serve(Ids()) as scores, serve(Judge()) as judges:
        run(remote, names, node=scores.url)
        assert names["scorer"].codec.name == "vllm"
        run(judge, names, api=judges.url)
        assert judges.asked[0][3]["Authorization"] == "Bearer a-key"
        run(ensemble, names)
    with serve(ranks) as genrm:
        run(published, names, node=genrm.url)
    assert "nemotron_genrm" in names["genrm"].describe()
    assert list(names["both"].members) == ["small", "judge"]


def test_the_blocks_on_generation_servers_run(here):
    (code,), (settings,) = (blocks("generation-servers.md", kind) for kind in ("python", "yaml"))
    names = {}
    run(code, names)
    assert names["monitor"].settings.generator is names["server"]
    given = yaml.safe_load(settings)["generator"]
    config = MonitorConfig.from_mapping({"reward_model": "r", "prompts": "p", "generator": given})
    assert type(load_generator(config.generator).weights).__name__ == "LoraHotLoad"
