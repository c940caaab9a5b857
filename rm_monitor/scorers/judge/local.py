"""A language model in this process that answers a judge's questions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import GenerationConfig

from rm_monitor.scorers.checkpoint import Checkpoint
from rm_monitor.scorers.judge.voices import Answer, Turns
from rm_monitor.scorers.options import Options
from rm_monitor.scorers.run import networks
from rm_monitor.scorers.run.frozen import frozen, library_versions
from rm_monitor.scorers.run.keys import device_name
from rm_monitor.scorers.text.answers import ControlTokens, strip_think
from rm_monitor.scorers.text.coverage import left_out
from rm_monitor.scorers.text.encodings import ChatEncoding, tokenizer_digest
from rm_monitor.text.whole import healed
from rm_monitor.types import Prompt

__all__ = ["LocalVoice"]

_TOP = 20
_TOGETHER = 8192  # tokens of questions that are answered together, unless the user says otherwise


class LocalVoice:
    """Greedy answers, by questions of equal length together and without padding.

    Args:
        checkpoint: The judge's folder.
        options: What the user said.
    """

    keeps = True

    def __init__(self, checkpoint: Checkpoint, options: Options) -> None:
        self.model = options.name or checkpoint.name
        self.tokenizer = networks.tokenizer_for(options, checkpoint)
        self.chat = ChatEncoding.of(self.tokenizer, template=options.chat_template, name=checkpoint.name)
        self.network = networks.language_model(checkpoint, options)
        self.device = next(self.network.parameters()).device
        limit = networks.longest_input(self.network.config, self.tokenizer)
        self.longest = min((n for n in (limit, options.max_length) if n is not None), default=None)
        self._budget = options.batch_tokens or _TOGETHER
        self._control = ControlTokens(self.tokenizer, self.chat.template)
        facts = networks.identity_of(self.network, checkpoint.weights_digest(), checkpoint.config_digest())
        self.identity: Mapping[str, Any] = {
            **{f"model.{k}": v for k, v in facts.items()},
            **self.chat.identity,
            "tokenizer": tokenizer_digest(self.tokenizer),
            "device": device_name(self.device),
            "longest": str(self.longest),
            **library_versions(self.device),
        }

    @property
    def facts(self) -> Sequence[tuple[str, str]]:
        """Network and device."""
        size = sum(p.numel() for p in self.network.parameters())
        return (
            ("network", f"{type(self.network).__name__}, {size / 1e6:,.3g} M parameters"),
            ("device", device_name(self.device)),
        )

    def shown(self, text: str, *, think: bool) -> str:
        """No reasoning, no half characters, and the judge's own control tokens broken."""
        text = str(healed(text))
        return self._control.neutralise(strip_think(text) if think else text)

    def unread(self, prompt: Prompt, turns: Turns) -> tuple[str, Sequence[str]]:
        """Why it cannot be asked these turns, and which parts of the prompt are not in their ids."""
        ids, refused = self._ids(turns)
        return refused, () if refused else left_out(prompt, ids, self.tokenizer)

    def _ids(self, turns: Turns) -> tuple[tuple[int, ...], str]:
        """The ids of a question, and why it cannot be asked; empty if it can."""
        try:
            ids = self.chat.ids(turns, generation_prompt=True)
        except Exception as error:  # templates say no through whatever jinja raises
            return (), f"its template refuses the question: {error}"
        if self.longest is not None and len(ids) >= self.longest:
            return ids, f"the question is {len(ids)} tokens, and it reads {self.longest}"
        return ids, ""

    def answer(self, asked: Sequence[Turns], *, max_tokens: int, logprobs: bool) -> list[Answer]:
        """One answer a conversation; one that its template refuses or that is too long has none."""
        answers: dict[int, Answer] = {}
        by_length: dict[int, list[tuple[int, tuple[int, ...]]]] = defaultdict(list)
        for i, turns in enumerate(asked):
            ids, refused = self._ids(turns)
            if refused:
                answers[i] = Answer(None, refused=refused)
            else:
                by_length[len(ids)].append((i, ids))
        for length, rows in by_length.items():
            size = max(1, self._budget // length)
            room = max_tokens if self.longest is None else min(max_tokens, self.longest - length)
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                said = self._generate([ids for _, ids in part], room, logprobs)
                answers |= dict(zip([i for i, _ in part], said, strict=True))
        return [answers[i] for i in range(len(asked))]

    def _generate(self, rows: Sequence[tuple[int, ...]], room: int, logprobs: bool) -> list[Answer]:
        ids = torch.tensor(rows, device=self.device)
        ends = _ends(self.network, self.tokenizer)
        # A config of our own: sampling and penalties that the model was published with would change verdicts.
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=room,
            eos_token_id=list(ends) or None,
            pad_token_id=next(iter(ends), 0),
        )
        with frozen(self.network, device=self.device):
            out = self.network.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                generation_config=config,
                return_dict_in_generate=True,
                output_logits=logprobs,
            )
        answers = []
        for i, row in enumerate(out.sequences[:, ids.shape[1] :].tolist()):
            length = next((n for n, token in enumerate(row) if token in ends), len(row))
            text = self.tokenizer.decode(row[:length], skip_special_tokens=True)
            choice: dict[str, Any] = {
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop" if length < len(row) else "length",
            }
            if logprobs:
                steps = [out.logits[n][i].float().log_softmax(-1).topk(_TOP) for n in range(length)]
                choice["logprobs"] = {
                    "content": [
                        self._token(token, step) for token, step in zip(row[:length], steps, strict=True)
                    ]
                }
            answers.append(Answer(choice))
        return answers

    def _token(self, token: int, step: Any) -> dict[str, Any]:
        """One token and its alternatives, as servers write them."""
        top = zip(step.indices.tolist(), step.values.tolist(), strict=True)
        return {
            "token": self.tokenizer.decode([token]),
            "top_logprobs": [{"token": self.tokenizer.decode([t]), "logprob": p} for t, p in top],
        }


def _ends(network: Any, tokenizer: Any) -> dict[int, None]:
    """The tokens that end an answer: the model's own list, and the tokenizer's."""
    told = getattr(network.generation_config, "eos_token_id", None)
    listed = told if isinstance(told, (list, tuple)) else [told]
    return dict.fromkeys(int(i) for i in [*listed, tokenizer.eos_token_id] if i is not None)
