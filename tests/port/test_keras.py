"""The classic LSTM in torch and in Keras finds the same probabilities."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from temporec.data.batch import SequenceBatch
from temporec.encoders.base import Steps
from temporec.encoders.recurrent import LSTM, LSTMConfig
from temporec.errors import CheckpointError
from temporec.model import ModelConfig, ModelInputs, SequenceModel
from temporec.port.keras import ClassicNames, build_keras, from_keras, lstm_from_keras, lstm_to_keras, to_keras
from temporec.recommend.fit_config import FitConfig

V, D, C, B, T = 30, 16, 11, 5, 9
NAMES = ClassicNames(embedding="items.weight", layers=("encoder.layers.0", "encoder.layers.1"), dense="dense")


class Classic(nn.Module):
    """Embedding, two LSTM layers without residual paths, a dense layer of its own: 30 items in, 11 classes out."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.items, self.dense = nn.Embedding(V, D), nn.Linear(D, C)
        self.encoder = LSTM(LSTMConfig(dim=D, layers=2, residual=False))

    def probabilities(self, items: Tensor, mute_pad: bool) -> np.ndarray[Any, Any]:
        steps = Steps(self.items(items), torch.zeros(items.shape), torch.full((len(items),), items.shape[1]))
        scores = self.dense(self.encoder(steps)[:, -1])
        if mute_pad:
            scores[:, 0] = -torch.inf
        return np.asarray(scores.softmax(dim=1))


def histories() -> Tensor:
    return torch.randint(1, V, (B, T), generator=torch.Generator().manual_seed(3))


@pytest.fixture
def classic() -> FitConfig:
    """The textbook model as it is shipped."""
    return FitConfig.from_file(Path(__file__).parents[2] / "configs" / "classic-lstm.yaml")


@torch.no_grad()
def chances(model: SequenceModel, items: Tensor | None = None) -> np.ndarray[Any, Any]:
    """Probabilities of the next item as Temporec gives them."""
    items = histories() if items is None else items
    batch = SequenceBatch(items, torch.zeros_like(items), torch.zeros(items.shape), torch.full((len(items),), T))
    query = model.eval().query(batch)
    return np.asarray(model.head.scores(query, model.item_vectors()).softmax(dim=1))


def arrays(state: dict[str, np.ndarray[Any, Any]]) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value) for key, value in state.items()}


@torch.no_grad()
def test_there_and_back_computes_the_same() -> None:
    model, other = Classic(0), Classic(1)
    other.load_state_dict(arrays(from_keras(to_keras(model.state_dict(), NAMES, mute_pad=False), NAMES)))
    np.testing.assert_allclose(
        other.probabilities(histories(), False), model.probabilities(histories(), False), rtol=0, atol=1e-6
    )


def test_the_default_names_are_those_of_the_classic_model() -> None:
    config = ModelConfig.of(
        {
            "encoder": {"kind": "lstm", "dim": D, "layers": 2, "residual": False},
            "head": {"score": "dot", "tied": False},
            "norm": False,
        }
    )
    model = SequenceModel(config, ModelInputs(size=V))
    state = from_keras(to_keras(model.state_dict()))
    assert set(state) == set(model.state_dict())
    model.load_state_dict(arrays(state))


@torch.no_grad()
def test_the_classic_config_there_and_back_finds_the_same_probabilities(classic: FitConfig) -> None:
    model, other = SequenceModel(classic, ModelInputs(size=V), seed=0), SequenceModel(classic, ModelInputs(size=V), 1)
    other.load_state_dict(arrays(from_keras(to_keras(model.state_dict(), mute_pad=False))))
    np.testing.assert_allclose(chances(other), chances(model), rtol=0, atol=1e-6)


def test_ten_thousand_items_in_and_ten_classes_out_train(classic: FitConfig) -> None:
    model = SequenceModel(classic, ModelInputs(size=10_001, classes=11))
    items = torch.randint(1, 10_001, (B, T), generator=torch.Generator().manual_seed(0))
    batch = SequenceBatch(
        items, torch.zeros_like(items), torch.zeros(B, T), torch.full((B,), T), targets=items % 10 + 1
    )
    adam = torch.optim.Adam(model.parameters(), 0.01)
    losses = []
    for _ in range(25):
        losses.append(model.loss(batch))
        adam.zero_grad()
        losses[-1].backward()
        adam.step()
    assert losses[0].item() == pytest.approx(np.log(10), abs=0.2)
    assert losses[-1].item() < 0.5 * losses[0].item()
    assert chances(model, items).shape == (B, 11)
    weights = to_keras(model.state_dict())
    assert [weights[0].shape, weights[-1].shape] == [(10_001, 128), (11,)]


def test_keras_weights_survive_a_round_trip_exactly() -> None:
    weights = to_keras(Classic(0).state_dict(), NAMES)
    for before, after in zip(weights, to_keras(from_keras(weights, NAMES), NAMES), strict=True):
        np.testing.assert_array_equal(before, after)


def test_one_layer_follows_the_equations_of_the_keras_cell() -> None:
    """Keras's own cell written out: z = x K + h R + b, gates i, f, c, o in this order."""
    torch.manual_seed(0)
    layer = nn.LSTM(3, 4, batch_first=True)
    state = layer.state_dict()
    kernel, recurrent, bias = lstm_to_keras(*state.values())
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32)
    h, c = np.zeros((2, 4)), np.zeros((2, 4))
    for t in range(5):
        i, f, g, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
    with torch.no_grad():
        np.testing.assert_allclose(layer(torch.from_numpy(x))[0][:, -1], h, atol=1e-6)
    back = lstm_from_keras(kernel, recurrent, bias)
    np.testing.assert_array_equal(back[0], state["weight_ih_l0"])
    assert not back[3].any()


def test_faults_are_named() -> None:
    state = dict(Classic(0).state_dict())
    with pytest.raises(CheckpointError, match=r"no weights 'items\.0\.weight'"):
        to_keras(state)
    weights = to_keras(state, NAMES)
    with pytest.raises(CheckpointError, match=r"8 arrays came.* are 9"):
        from_keras(weights[:-1], NAMES)
    with pytest.raises(CheckpointError, match="LSTM layer 1"):
        from_keras([*weights[:5], weights[5][:, :-1], *weights[6:]], NAMES)
    with pytest.raises(CheckpointError, match="dense layer"):
        from_keras([*weights[:7], weights[7].T, weights[8]], NAMES)


@pytest.fixture
def keras(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("keras")
    module = importlib.import_module("keras")
    if module.backend.backend() != "torch":
        pytest.skip("Keras was imported with another backend")
    return module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Keras's and its dependencies' own
class TestAgainstKeras:
    @pytest.mark.parametrize("mute_pad", [True, False])
    @torch.no_grad()
    def test_to_keras(self, keras: Any, mute_pad: bool) -> None:
        model = Classic(0)
        there = build_keras(to_keras(model.state_dict(), NAMES, mute_pad=mute_pad))
        found = keras.ops.convert_to_numpy(there(histories().numpy()))
        np.testing.assert_allclose(found, model.probabilities(histories(), mute_pad), rtol=0, atol=1e-5)
        assert not mute_pad or not found[:, 0].any()

    @pytest.mark.parametrize(("size", "classes"), [(V, None), (10_001, 11)])
    def test_the_classic_config(self, keras: Any, classic: FitConfig, size: int, classes: int | None) -> None:
        model = SequenceModel(classic, ModelInputs(size=size, classes=classes))
        items = torch.randint(1, size, (B, T), generator=torch.Generator().manual_seed(4))
        there = build_keras(to_keras({name: weight.detach() for name, weight in model.state_dict().items()}))
        found = keras.ops.convert_to_numpy(there(items.numpy()).detach())
        np.testing.assert_allclose(found, chances(model, items), rtol=0, atol=1e-5)
        there.set_weights([np.asarray(weight) * 0.9 for weight in there.get_weights()])
        model.load_state_dict(arrays(from_keras(there.get_weights())))
        found = keras.ops.convert_to_numpy(there(items.numpy()).detach())
        np.testing.assert_allclose(found[:, 1:], chances(model, items)[:, 1:], rtol=0, atol=1e-5)

    @torch.no_grad()
    def test_from_a_model_built_and_trained_in_keras(self, keras: Any) -> None:
        there = keras.Sequential(
            [
                keras.Input((None,), dtype="int32"),
                keras.layers.Embedding(V, D),
                keras.layers.LSTM(D, return_sequences=True),
                keras.layers.LSTM(D),
                keras.layers.Dense(C, activation="softmax"),
            ]
        )
        there.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
        with torch.enable_grad():
            there.fit(histories().numpy(), np.arange(B) % C, epochs=3, verbose=0)
        model = Classic(0)
        model.load_state_dict(arrays(from_keras(there.get_weights(), NAMES)))
        found = model.probabilities(histories(), False)
        np.testing.assert_allclose(found, there.predict(histories().numpy(), verbose=0), rtol=0, atol=1e-5)
