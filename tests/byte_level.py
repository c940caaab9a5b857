"""A tokenizer of bytes with the control tokens a test needs: any text survives it, and it needs no file."""

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_level(
    template=CHATML, *, special=("<|im_start|>", "<|im_end|>"), plain=(), eos="<|im_end|>", post=""
):
    """``plain`` tokens are added but not special, as Qwen's <think>; ``post`` is put around plain text."""
    vocabulary = {c: i for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    for token in dict.fromkeys(["<pad>", "<s>", eos, *special]):
        vocabulary[token] = len(vocabulary)
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    if post:
        around = [(token, vocabulary[token]) for token in post.split() if token != "$A"]
        core.post_processor = processors.TemplateProcessing(single=post, special_tokens=around)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token=eos,
        pad_token="<pad>",
        additional_special_tokens=list(special),
        model_max_length=4096,
    )
    if plain:
        tokenizer.add_tokens([AddedToken(token, special=False) for token in plain])
    tokenizer.chat_template = template
    return tokenizer


def small_policy(tokenizer, seed=0, **more):
    """An untrained policy over those tokens."""
    import torch

    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    ids = dict(pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id, bos_token_id=None)
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=512, **sizes, **ids, **more)
    ).eval()


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]
