"""Text encoders that learn together with a model: LoRA, or all weights, in the last layers of a transformer."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from temporec.data.trainable_texts import TrainableTexts, TuneConfig
from temporec.errors import CheckpointError, ConfigError
from temporec.llm.adapters import add_lora, unlist_frozen, weights_digest
from temporec.llm.encode import CachedTextEncoder, HuggingFaceEncoder

__all__ = ["TunedEncoder", "TunedTexts"]

_TEXTS = 64  # that go through the encoder at once
_STORE = 1 << 30  # bytes of states that are kept


class _Enough(Exception):  # noqa: N818
    """The states below the layers that learn are there; the rest of the forward pass is not needed."""


class TunedTexts(TrainableTexts):
    """Texts under a sentence-transformers model whose last layers learn; it runs without dropout.

    What the layers below give never changes: it is computed once and kept, unless it takes more than 1 GiB.

    Args:
        model: changed in place.
        texts: of the items; an empty one has size 0.
        config: what learns.
        seed: of the additions that LoRA starts from.
    """

    sizes: Tensor
    begin: Tensor  # of each text among the kept states
    states: Tensor  # kept, of all tokens [n, hidden]; [0] = none

    def __init__(self, model: Any, texts: Sequence[str], config: TuneConfig, seed: int = 0) -> None:
        super().__init__()
        layers = _layers(model, config.tune_layers)
        self.model, self.words = _prepared(model, layers, config, seed).eval(), list(texts)
        self._learning = layers.state_dict  # a method, so that the layers are not listed twice
        sizes = torch.zeros(len(texts), dtype=torch.int64)
        said = torch.tensor([i for i, text in enumerate(texts) if text], dtype=torch.int64)
        for places in torch.split(said, _TEXTS):
            sizes[places] = self._features(places)["attention_mask"].sum(dim=1).cpu()
        self.register_buffer("sizes", sizes, persistent=False)
        self.register_buffer("begin", sizes.cumsum(0) - sizes, persistent=False)
        below = list(layers)[: len(layers) - config.tune_layers]
        self.register_buffer("states", self._run_below(below[-1], said) if below else torch.zeros(0), persistent=False)
        self._padded: Any = None
        if len(self.states):
            for layer in below:
                layer.forward = self._replay

    def train(self, mode: bool = True) -> "TunedTexts":
        """Never: a row that is made in a step is the one that a refresh would make."""
        return super().train(False)

    def forward(self, places: Tensor) -> Tensor:
        order = self.sizes[places].argsort(stable=True)
        made = []
        for part in torch.split(places[order], _TEXTS):
            features = self._features(part)
            if len(self.states):
                mask = features["attention_mask"].bool()
                self._padded = self.states.new_zeros(*mask.shape, self.states.shape[1])
                self._padded[mask] = torch.cat([self.states[b : b + n] for b, n in self._spans(part)])
            made.append(self.model(features)["sentence_embedding"])
        return torch.cat(made)[order.argsort()]

    def weights(self) -> dict[str, Tensor]:
        return {name: weight.detach().cpu().clone() for name, weight in self._learning().items()}

    def _features(self, places: Tensor) -> dict[str, Tensor]:
        return _features(self.model, [self.words[i] for i in places.tolist()])

    def _spans(self, places: Tensor) -> list[tuple[int, int]]:
        return list(zip(self.begin[places].tolist(), self.sizes[places].tolist(), strict=True))

    def _replay(self, *_: Any, **__: Any) -> Any:
        """In place of the layers below: what the last of them gave."""
        return (self._padded,) if self._in_tuple else self._padded

    @torch.no_grad()
    def _run_below(self, last: nn.Module, said: Tensor) -> Tensor:
        """Output of the layer `last` for all texts, back to back."""
        found: list[Any] = []

        def stop(module: nn.Module, given: Any, output: Any) -> None:
            found[:] = [output]
            raise _Enough

        states = torch.zeros(0)
        hook = last.register_forward_hook(stop)
        for places in torch.split(said[self.sizes[said].argsort(stable=True)], _TEXTS):
            features = self._features(places)
            with suppress(_Enough):
                self.model(features)
            self._in_tuple = isinstance(found[-1], tuple)
            output = found[-1][0] if self._in_tuple else found[-1]
            rows = output[features["attention_mask"].bool()]
            if not len(states):
                shape = int(self.sizes.sum()), rows.shape[1]
                if shape[0] * shape[1] * rows.element_size() > _STORE:
                    break
                states = rows.new_zeros(shape)
            places_of_rows = torch.cat([torch.arange(b, b + n) for b, n in self._spans(places)])
            states[places_of_rows.to(states.device)] = rows
        hook.remove()
        return states


class TunedEncoder(CachedTextEncoder):
    """An encoder with the weights that it learned together with a model.

    Args:
        base: as it was before.
        config: how it learned.
        weights: what `TunedTexts.weights` gave.
    """

    def __init__(self, base: HuggingFaceEncoder, config: TuneConfig, weights: Mapping[str, Tensor]) -> None:
        super().__init__(f"{base.name} ({config.tune})")
        self.base, self.config, self.learned = base, config, dict(weights)

    @cached_property
    def identity(self) -> str:
        return f"{self.base.identity}+{self.config.tune}:{weights_digest(self.learned).hex()[:12]}"

    @cached_property
    def model(self) -> Any:
        """The SentenceTransformer in fp32, loaded when the first text needs it."""
        model = self.base.load()
        layers = _layers(model, self.config.tune_layers)
        made = _prepared(model, layers, self.config)
        try:
            layers.load_state_dict(self.learned)
        except RuntimeError as error:
            raise CheckpointError(
                f"what text encoder {self.base.name!r} learned does not fit it ({' '.join(str(error).split())[:200]}); "
                "fit again"
            ) from None
        return made.eval()

    @torch.no_grad()
    def vectors(self, texts: list[str]) -> np.ndarray:
        made: np.ndarray = self.model(_features(self.model, texts))["sentence_embedding"].cpu().numpy()
        return made


def _features(model: Any, texts: list[str]) -> dict[str, Tensor]:
    """What the model's forward takes, on its device; with the model's own prompt in front of each text."""
    name = getattr(model, "default_prompt_name", None)
    texts = [model.prompts[name] + text for text in texts] if name else texts
    features = model.preprocess(texts) if hasattr(model, "preprocess") else model.tokenize(texts)
    device = next(model.buffers()).device
    return {key: value.to(device) if isinstance(value, Tensor) else value for key, value in features.items()}


def _layers(model: nn.Module, wanted: int) -> nn.ModuleList:
    """The stack of layers of a transformer: the list of modules with the most weights."""
    lists = [part for part in model.modules() if isinstance(part, nn.ModuleList)]
    if not lists:
        raise ConfigError("this text encoder has no stack of layers, so it cannot learn; use text.tune=none")
    layers = max(lists, key=lambda part: sum(weight.numel() for weight in part.parameters()))
    if wanted > len(layers):
        raise ConfigError(f"text.tune_layers={wanted}, but the text encoder has {len(layers)} layers; choose fewer")
    return layers


def _prepared(model: nn.Module, layers: nn.ModuleList, config: TuneConfig, seed: int = 0) -> nn.Module:
    """The model with trainable parameters in its last layers only, changed in place."""
    model.requires_grad_(False)
    last = list(layers)[len(layers) - config.tune_layers :]
    if config.tune == "lora":
        own = {id(part) for layer in last for part in layer.modules()}
        places = [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and id(part) in own]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            add_lora(model, places, config.tune_rank)
    else:
        for layer in last:
            layer.requires_grad_(True)
    unlist_frozen(model)
    return model
