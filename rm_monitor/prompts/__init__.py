"""What is asked, and what answers are compared with."""

from rm_monitor.prompts.load import PromptSet, load_prompts
from rm_monitor.prompts.rows import read_rows
from rm_monitor.prompts.sample import Sample, sample_prompts, write_prompts

__all__ = ["PromptSet", "Sample", "load_prompts", "read_rows", "sample_prompts", "write_prompts"]
