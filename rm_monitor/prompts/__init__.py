"""What is asked, and what answers are compared with."""

from rm_monitor.prompts.load import PromptSet, load_prompts

__all__ = ["PromptSet", "load_prompts"]
