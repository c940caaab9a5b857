"""Conversation -> token ids: what of an answer is shown, in the reward model's own format, all checked."""
