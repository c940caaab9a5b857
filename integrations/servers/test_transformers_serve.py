"""`transformers serve`, pinned to a folder: it lists no models, and answers."""

import sys
from pathlib import Path

import pytest

from integrations.servers.conftest import in_process, serving, tell
from rm_monitor import Sampling
from rm_monitor.errors import GenerationError
from rm_monitor.generators.server import ServerGenerator

GREEDY = Sampling(temperature=0.0, max_new_tokens=12)


def test_a_named_model_answers_as_in_this_process_though_none_is_listed(tiny, prompts, record_property):
    folder = Path("wide/policy").resolve()

    def command(port):
        words = [Path(sys.executable).with_name("transformers"), "serve", folder, "--dtype", "float32"]
        return [*words, "--device", "cpu", "--port", port, "--host", "127.0.0.1"]

    with serving(command) as url:
        with pytest.raises(GenerationError):
            ServerGenerator(url).generate(prompts, GREEDY)
        server = ServerGenerator(url, model=str(folder), concurrency=1)
        said = [c.text for c in server.generate(prompts, GREEDY)]
        alone = [c.text for p in prompts[:3] for c in server.generate([p], GREEDY)]
    here = in_process(folder, prompts, GREEDY)
    same = sum(a == b for a, b in zip(said, here, strict=True))
    tell(record_property, f"transformers serve, greedy: {same} of {len(here)} texts as in this process")
    assert said == here
    assert alone == said[:3]
