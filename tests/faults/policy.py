"""The tiny policy of the tests, for campaigns that run outside pytest."""

from pathlib import Path


def save_policy(folder):
    """A 2-layer Llama with random weights and attention dropout, beside a byte-level tokenizer."""
    from tests.conftest import build_policy, build_tokenizer

    folder = Path(folder)
    tokenizer = build_tokenizer()
    build_policy(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
