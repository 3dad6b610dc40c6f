"""Small trainable parts in a large frozen model: low-rank additions, and state dicts without what is frozen."""

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from temporec.errors import MissingExtraError

__all__ = ["add_lora", "unlist_frozen", "weights_digest"]


def add_lora(model: nn.Module, places: Sequence[str], rank: int, dropout: float = 0.0) -> None:
    """Low-rank additions (Hu et al. 2022) to the linear layers at some places, in place; the rest is frozen."""
    try:
        peft: Any = importlib.import_module("peft")
    except ImportError:
        raise MissingExtraError(
            "LoRA needs peft, which is not installed. Run: pip install peft; or train without: encoder.train=none, "
            "text.tune=last"
        ) from None
    options = peft.LoraConfig(r=rank, lora_alpha=2 * rank, lora_dropout=dropout, target_modules=list(places))
    peft.inject_adapter_in_model(options, model)


def unlist_frozen(model: nn.Module) -> None:
    """Turn frozen parameters into buffers that are in no state dict."""
    for part in model.modules():
        for name, weight in list(part.named_parameters(recurse=False)):
            if not weight.requires_grad:
                delattr(part, name)
                part.register_buffer(name, weight.detach(), persistent=False)


def weights_digest(weights: Mapping[str, Tensor]) -> bytes:
    """SHA-256 of names and contents."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.digest()
