"""An OpenAI-compatible server around a small transformers model: what vLLM would answer, by transformers."""

import contextlib
import threading
from pathlib import Path

import torch

from tests.servers import serve


class PolicyServer:
    """Greedy by ``model.generate``, sampled by ``torch.multinomial``; adapters and whole folders load."""

    def __init__(self, folder, *, owner="vllm"):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.models = {"base": AutoModelForCausalLM.from_pretrained(folder).eval()}
        self.folder, self.owner, self.lock, self.unloaded = folder, owner, threading.Lock(), []

    def __call__(self, path, body):
        with self.lock, torch.random.fork_rng():
            return getattr(self, path.strip("/").replace("/", "_"), self.unknown)(body)

    def unknown(self, body):
        return 404, {"detail": "Not Found"}

    def v1_models(self, body):
        return {"object": "list", "data": [{"id": name, "owned_by": self.owner} for name in self.models]}

    def v1_completions(self, body):
        prompt = body["prompt"]
        ids = prompt if isinstance(prompt, list) else self.tokenizer(prompt)["input_ids"]
        return self.answer(ids, body, lambda text: {"text": text})

    def v1_chat_completions(self, body):
        ids = self.tokenizer.apply_chat_template(
            body["messages"], add_generation_prompt=True, return_dict=False
        )
        return self.answer(ids, body, lambda text: {"message": {"role": "assistant", "content": text}})

    def answer(self, ids, body, shaped):
        assert body["repetition_penalty"] == 1.0  # or generation_config.json would decide
        assert body["top_k"] == -1
        model = self.models.get(body["model"])
        if model is None:
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        tokens = self.greedy(model, ids, body) if body["temperature"] == 0 else self.sampled(model, ids, body)
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        ended = tokens[-1] == self.tokenizer.eos_token_id
        choice = {"index": 0, "finish_reason": "stop" if ended else "length", **shaped(text)}
        return {"choices": [choice], "usage": {"completion_tokens": len(tokens), "prompt_tokens": len(ids)}}

    def greedy(self, model, ids, body):
        out = model.generate(
            torch.tensor([ids]),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
            do_sample=False,
            max_new_tokens=body["max_tokens"],
            pad_token_id=self.tokenizer.pad_token_id,
        )
        return out[0, len(ids) :].tolist()

    def sampled(self, model, ids, body):
        draw = torch.Generator().manual_seed(body["seed"])
        tokens = []
        for _ in range(body["max_tokens"]):
            with torch.no_grad():
                logits = model(torch.tensor([ids + tokens])).logits[0, -1] / body["temperature"]
            tokens.append(int(torch.multinomial(logits.softmax(-1), 1, generator=draw)))
            if tokens[-1] == self.tokenizer.eos_token_id:
                break
        return tokens

    def v1_load_lora_adapter(self, body):
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        name, path = body["lora_name"], body["lora_path"]
        if name in self.models:
            return 400, {"error": {"message": f"The lora adapter '{name}' has already been loaded."}}
        if not (Path(path) / "adapter_config.json").is_file():
            return 404, {"error": {"message": f"No adapter found for {path}"}}
        base = AutoModelForCausalLM.from_pretrained(self.folder)
        self.models[name] = PeftModel.from_pretrained(base, path).eval()
        return b"Success"

    def v1_unload_lora_adapter(self, body):
        if self.models.pop(body["lora_name"], None) is None:
            return 404, {"error": {"message": "cannot be found"}}
        self.unloaded.append(body["lora_name"])
        return b"Success"

    def update_weights_from_disk(self, body):
        from transformers import AutoModelForCausalLM

        try:
            self.models = {"base": AutoModelForCausalLM.from_pretrained(body["model_path"]).eval()}
        except Exception as problem:
            return {"success": False, "message": str(problem)}
        return {"success": True, "message": ""}


@contextlib.contextmanager
def policy_server(folder, **how):
    policy = PolicyServer(folder, **how)
    with serve(policy) as running:
        running.policy = policy
        yield running
