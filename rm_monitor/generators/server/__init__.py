"""Answers from an OpenAI-compatible server: vLLM, SGLang, llama.cpp, `trl vllm-serve`.

A server answers with the weights it has, so how it gets the checkpoint's is part of the generator
(`weights`); what each kind of server must be told so that it samples as `Sampling` says is in `dialects`.
"""

from rm_monitor.generators.server.server import ServerGenerator
from rm_monitor.generators.server.weights import LoraHotLoad, ReloadFromDisk, RunCommand, Weights

__all__ = ["LoraHotLoad", "ReloadFromDisk", "RunCommand", "ServerGenerator", "Weights"]
