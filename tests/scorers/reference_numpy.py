"""What the scorers are checked against: plain numpy in float64, written from the papers, without torch or
our code.

One unpadded sequence at a time. Llama (RMSNorm, rotary positions, grouped queries, SwiGLU), from arXiv
2302.13971 and 2104.09864; heads from their authors' descriptions.
"""

import json

import numpy as np
from safetensors.numpy import load_file


def load(folder):
    """Config and float64 weights of a folder."""
    config = json.loads((folder / "config.json").read_text())
    weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= {name: w.astype(np.float64) for name, w in load_file(file).items()}
    return config, weights


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def rotate(x, base):
    """Rotary positions on ``(length, heads, d)``; the two halves of d are the two coordinates."""
    length, _, d = x.shape
    angle = np.arange(length)[:, None] / base ** (np.arange(0, d, 2) / d)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def llama_hidden(config, weights, ids, prefix="model."):
    """``(length, hidden)`` states after the final norm."""
    w = lambda name: weights[prefix + name]  # noqa: E731
    heads, groups = config["num_attention_heads"], config["num_key_value_heads"]
    d = config["hidden_size"] // heads
    eps = config["rms_norm_eps"]
    base = config.get("rope_theta") or config["rope_parameters"]["rope_theta"]
    x = w("embed_tokens.weight")[list(ids)]
    length = len(x)
    future = np.triu(np.full((length, length), -np.inf), 1)
    for i in range(config["num_hidden_layers"]):
        layer = f"layers.{i}."
        h = rms_norm(x, w(layer + "input_layernorm.weight"), eps)
        q, k, v = (h @ w(f"{layer}self_attn.{n}_proj.weight").T for n in "qkv")
        q = rotate(q.reshape(length, heads, d), base)
        k = np.repeat(rotate(k.reshape(length, groups, d), base), heads // groups, axis=1)
        v = np.repeat(v.reshape(length, groups, d), heads // groups, axis=1)
        attention = softmax(np.einsum("qhd,khd->hqk", q, k) / np.sqrt(d) + future)
        mixed = np.einsum("hqk,khd->qhd", attention, v).reshape(length, -1)
        x = x + mixed @ w(layer + "self_attn.o_proj.weight").T
        h = rms_norm(x, w(layer + "post_attention_layernorm.weight"), eps)
        gate = h @ w(layer + "mlp.gate_proj.weight").T
        up = h @ w(layer + "mlp.up_proj.weight").T
        x = x + (gate * sigmoid(gate) * up) @ w(layer + "mlp.down_proj.weight").T
    return rms_norm(x, w("norm.weight"), eps)


def bradley_terry(folder, ids):
    """The labels of a ``*ForSequenceClassification`` Llama."""
    config, weights = load(folder)
    return llama_hidden(config, weights, ids)[-1] @ weights["score.weight"].T


BYTES = {}  # byte -> the printable character that stands for it in byte-level vocabularies (GPT-2's table)
_printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
for _byte in range(256):
    BYTES[_byte] = chr(_byte) if _byte in _printable else None
for _i, _byte in enumerate(b for b in range(256) if BYTES[b] is None):
    BYTES[_byte] = chr(256 + _i)


def byte_ids(vocabulary, *pieces):
    """Ids of text pieces, one a byte; a piece in a tuple is the name of a control token."""
    ids = []
    for piece in pieces:
        if isinstance(piece, tuple):
            ids.append(vocabulary[piece[0]])
        else:
            ids += [vocabulary[BYTES[byte]] for byte in piece.encode()]
    return ids
