"""The contract of encoders that turn texts into vectors, and the way from a name to one of them.

The core has none of its own: those of the extra `llm`, and of third parties, come by entry points.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from temporec import registry
from temporec.data.trainable_texts import TrainableTexts, TuneConfig
from temporec.errors import ConfigError, MissingExtraError, UnknownNameError

__all__ = ["TextEncoder", "open_text_encoder"]

_WORD_VECTORS = (".txt", ".vec", ".npy")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class TextEncoder(ABC):
    """Texts to vectors that need no fitting.

    Attributes:
        encoded: texts that were encoded so far.
        cached: texts whose vector was known already.
    """

    encoded: int = 0
    cached: int = 0

    @property
    @abstractmethod
    def identity(self) -> str:
        """Model and hash of its weights: two encoders of one identity give the same vectors."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors float32 [n, d]; an empty text is the zero row."""

    def trainable(self, texts: Sequence[str], config: TuneConfig, seed: int = 0) -> TrainableTexts:
        """The texts of a catalog for a model that trains this encoder too.

        Raises:
            ConfigError: this encoder cannot learn.
        """
        raise ConfigError(
            f"text encoder {self.identity} cannot learn; text.tune needs a transformer: minilm, a hub name or a folder"
        )

    def tuned(self, config: TuneConfig, weights: Mapping[str, Tensor]) -> "TextEncoder":
        """This encoder with what `trainable` learned; its identity is another one."""
        raise ConfigError(f"text encoder {self.identity} cannot take over what another one has learned")


def open_text_encoder(name: str) -> TextEncoder:
    """The encoder of a registered name, of a file of word vectors, of a model folder or of a model on the hub.

    Raises:
        UnknownNameError: none of these.
        MissingExtraError: it needs a package that is not installed.
    """
    known = registry.names("text_encoder")
    if name in known:
        return _checked(name, registry.get("text_encoder", name)())
    path = Path(name).expanduser()
    close = get_close_matches(name, ["tfidf", "given", "none", *known], n=1)
    if path.suffix in _WORD_VECTORS:
        kind = "word-vectors"
    elif (name and path.is_dir()) or (_HUB_NAME.fullmatch(name) and not close):
        kind = "huggingface"
    else:
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise UnknownNameError(
            f"no text encoder named {name!r}{hint}; known: tfidf, given, none, {', '.join(known)}; or give a folder, a "
            "hub name such as intfloat/multilingual-e5-small, or a .txt, .vec or .npy file of word vectors"
        )
    if kind not in known:
        raise MissingExtraError(
            f"text encoder {name!r} needs language models, which are not installed. Run: pip install 'temporec[llm]'"
        )
    return _checked(name, registry.get("text_encoder", kind)(name))


def _checked(name: str, made: Any) -> TextEncoder:
    if not isinstance(made, TextEncoder):
        raise ConfigError(f"text encoder {name!r} is a {type(made).__name__}; it must be a TextEncoder")
    return made
