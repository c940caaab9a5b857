"""Weights & Biases: the numbers, the pictures and the best checkpoint of a run that somebody else opened."""

from rm_monitor.sinks.wandb.sink import WandbSink

__all__ = ["WandbSink"]
