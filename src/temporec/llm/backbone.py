"""A causal language model as the temporal encoder: event vectors stand where its word vectors stood."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from temporec.encoders.base import EncoderConfig, State, Steps, TemporalEncoder, ring_write, window_mask
from temporec.errors import CheckpointError, ConfigError
from temporec.llm.adapters import add_lora, unlist_frozen, weights_digest
from temporec.llm.smollm2 import smollm2_folder, transformers
from temporec.registry import register

__all__ = ["LanguageModelConfig", "LanguageModelEncoder"]


class LanguageModelConfig(EncoderConfig):
    """Options of the language model.

    Args:
        model: `smollm2` (packaged, no network), a folder, or a hub name. Decoders with rotary positions work (Llama,
            Mistral, Qwen, SmolLM, ...); only safetensors files are read, and no code of theirs is run.
        layers: the first so many layers of it are used.
        train: `lora` trains low-rank additions to the attention's matrices (dropout falls on these), `all` every
            weight, `none` only the two projections between event vectors and word vectors.
        lora_rank: rank of those additions.
    """

    kind: Literal["llm"] = "llm"
    model: str = "smollm2"
    layers: PositiveInt = 6
    train: Literal["lora", "none", "all"] = "lora"
    lora_rank: PositiveInt = 8


@register("encoder", "llm")
class LanguageModelEncoder(TemporalEncoder):
    """x [D] -> LayerNorm, linear -> language model [hidden] -> linear -> h [D].

    At the start, projected events have the size of word vectors. Each layer sees the last `max_len` events, in
    `forward` and in the ring cache of `step` alike; this needs relative positions, which rotary ones are.

    Frozen weights are non-persistent buffers: no optimiser, average or checkpoint holds them. A checkpoint names the
    model and holds the SHA-256 of the weights that it was trained on; other weights under the same name are refused.
    """

    Config = LanguageModelConfig
    weights_hash: Tensor  # uint8 [32]

    def __init__(self, config: LanguageModelConfig) -> None:
        super().__init__(config)
        self.options = config
        model = _load(config)
        scale = float(model.get_input_embeddings().weight.detach().std())
        model.set_input_embeddings(None)
        self.register_buffer(
            "weights_hash", torch.frombuffer(bytearray(weights_digest(model.state_dict())), dtype=torch.uint8)
        )
        self.register_load_state_dict_pre_hook(_refuse_other_weights)  # type: ignore[no-untyped-call]
        if config.train == "lora":
            places = [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and "attn" in name]
            add_lora(model, places, config.lora_rank, config.dropout)
        elif config.train == "none":
            model.requires_grad_(False)
        unlist_frozen(model)
        self.model, hidden = model, model.config.hidden_size
        self.norm = nn.LayerNorm(config.dim)
        self.into, self.out = nn.Linear(config.dim, hidden), nn.Linear(hidden, config.dim)
        nn.init.normal_(self.into.weight, std=scale * config.dim**-0.5)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.into.bias)
        nn.init.zeros_(self.out.bias)
        self._cache_name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"

    def forward(self, steps: Steps) -> Tensor:
        length, device = steps.x.shape[1], steps.x.device
        mask = window_mask(length, self.options.max_len, device)
        return self._run(steps.x, torch.arange(length, device=device)[None], mask[None, None])

    def initial_state(self, batch_size: int) -> State:
        own, weight = self.model.config, self.out.weight
        heads, width = own.num_key_value_heads, getattr(own, "head_dim", None)
        shape = (batch_size, self.options.max_len, heads, width or own.hidden_size // own.num_attention_heads)
        state = {f"{name}{i}": weight.new_zeros(shape) for i in range(self.options.layers) for name in "kv"}
        return {**state, "count": torch.zeros(batch_size, dtype=torch.int64, device=weight.device)}

    def step(self, x: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        count = state["count"]
        live = torch.arange(self.options.max_len, device=x.device) <= count[:, None]
        ring = _Ring(state)
        hidden = self._run(x[:, None], count[:, None], live[:, None, None], ring)
        return hidden[:, 0], {**ring.after, "count": count + 1}

    def _run(self, x: Tensor, positions: Tensor, mask: Tensor, ring: "_Ring | None" = None) -> Tensor:
        """Event vectors x [B, T, D] at some positions [B or 1, T]; `mask` [B or 1, 1, T, K] says what each may see."""
        words = self.into(self.norm(x))
        cache = {} if ring is None else {self._cache_name: ring}
        found = self.model(
            inputs_embeds=words, position_ids=positions, attention_mask=mask, use_cache=ring is not None, **cache
        )
        hidden: Tensor = self.out(found.last_hidden_state)
        return hidden


class _Ring:
    """Keys and values of the last `max_len` events, as the attention layers of transformers ask for them."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.after: State = {}

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Take key and value [B, heads, 1, width] of one event; all that its layer may see [B, heads, L, width]."""
        for name, new in (("k", key), ("v", value)):
            self.after[f"{name}{layer}"] = ring_write(self.state[f"{name}{layer}"], new[:, :, 0], self.state["count"])
        k, v = (self.after[f"{name}{layer}"].to(key.dtype).transpose(1, 2) for name in "kv")
        return k, v

    def get_seq_length(self, layer: int = 0) -> int:
        """Not used: positions and mask are given."""
        return 0


def _load(config: LanguageModelConfig) -> Any:
    """The first layers of a language model, in fp32 and without its output layer."""
    hugging = transformers()
    source = str(smollm2_folder()) if config.model == "smollm2" else config.model
    with _quiet(hugging.logging), _as_config_error(config.model):
        own = hugging.AutoConfig.from_pretrained(source)
        if config.layers > own.num_hidden_layers:
            raise ConfigError(f"it has {own.num_hidden_layers} layers, encoder.layers asks for {config.layers}")
        own.num_hidden_layers = config.layers
        if getattr(own, "layer_types", None):
            own.layer_types = own.layer_types[: config.layers]
        model = hugging.AutoModel.from_pretrained(
            source, config=own, dtype=torch.float32, attn_implementation="sdpa", use_safetensors=True
        )
        if not hasattr(model, "rotary_emb"):
            raise ConfigError(f"its kind, {own.model_type}, has no rotary positions; Llama, Mistral, Qwen, SmolLM have")
    return model


@contextmanager
def _quiet(logging: Any) -> Iterator[None]:
    """That later layers and the output layer are left out is meant, and needs no warning."""
    level, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()


@contextmanager
def _as_config_error(name: str) -> Iterator[None]:
    """Whatever a library says against a model, in one sentence."""
    try:
        yield
    except (OSError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"language model {name!r} cannot be used: {' '.join(str(error).split())[:200]}; give a folder with "
            "config.json and model.safetensors, a hub name (with network), or smollm2, which needs none"
        ) from None


def _refuse_other_weights(encoder: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    assert isinstance(encoder, LanguageModelEncoder)
    saved = state.get(f"{prefix}weights_hash")
    if saved is not None and not torch.equal(saved.cpu(), encoder.weights_hash.cpu()):
        raise CheckpointError(
            f"language model {encoder.options.model!r} is not the one that this recommender was trained on "
            "(its weights have another hash); put the old one back, or fit again"
        )
