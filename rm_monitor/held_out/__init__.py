"""Prompts that nothing was chosen by: `fresh` settles a warning, `confirmation` says how good the best is."""
