"""Answers from a vLLM engine in this process, which is given the weights in training at each evaluation."""

from __future__ import annotations

from rm_monitor.generators.vllm.generator import VLLMGenerator

__all__ = ["VLLMGenerator"]
