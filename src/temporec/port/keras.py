"""The classic LSTM model (embedding, stacked LSTM, dense softmax) to and from Keras 3, as plain arrays.

Both libraries compute the same cell; only the layout differs:

=================  =====================================  =========================================
part               torch                                  Keras
=================  =====================================  =========================================
embedding          weight [V, D]                          embeddings [V, D]
LSTM, input        weight_ih_l0 [4H, D], rows i f g o     kernel [D, 4H], columns i f c o (c is g)
LSTM, recurrent    weight_hh_l0 [4H, H]                   recurrent_kernel [H, 4H]
LSTM, bias         bias_ih_l0 + bias_hh_l0, each [4H]     bias [4H]
dense              weight [C, H], bias [C]                kernel [H, C], bias [C]
=================  =====================================  =========================================

The mapping needs NumPy only; `build_keras` imports Keras (`pip install 'temporec[keras]'`) and works on any backend.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from temporec.errors import CheckpointError, MissingExtraError

__all__ = ["Array", "ClassicNames", "build_keras", "from_keras", "lstm_from_keras", "lstm_to_keras", "to_keras"]

Array: TypeAlias = NDArray[np.float32]
_MUTED = np.float32(-1e9)  # exp of it is exactly 0, and unlike -inf it survives being trained on
_LSTM_PARTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


@dataclass(frozen=True, slots=True)
class ClassicNames:
    """Where the parts of the classic model stand in a torch state dict."""

    embedding: str = "items.0.weight"
    layers: tuple[str, ...] = ("encoder.layers.0", "encoder.layers.1")  # one LSTM each, first layer first
    dense: str = "head.dense"  # holds weight and bias


def lstm_to_keras(weight_ih: ArrayLike, weight_hh: ArrayLike, bias_ih: ArrayLike, bias_hh: ArrayLike) -> list[Array]:
    """Kernel [D, 4H], recurrent kernel [H, 4H] and bias [4H] of one layer."""
    return [_array(weight_ih).T.copy(), _array(weight_hh).T.copy(), _array(bias_ih) + _array(bias_hh)]


def lstm_from_keras(kernel: ArrayLike, recurrent: ArrayLike, bias: ArrayLike) -> list[Array]:
    """weight_ih [4H, D], weight_hh [4H, H], bias_ih [4H], and a bias_hh [4H] of zeros."""
    return [_array(kernel).T.copy(), _array(recurrent).T.copy(), _array(bias), np.zeros_like(_array(bias))]


def to_keras(
    state: Mapping[str, ArrayLike], names: ClassicNames | None = None, *, mute_pad: bool = True
) -> list[Array]:
    """The list that `keras_model.set_weights` takes, from a torch state dict (CPU tensors or arrays).

    Args:
        mute_pad: give class 0 the bias -1e9. Temporec never offers PAD; this takes it out of the Keras softmax too.

    Raises:
        CheckpointError: a part is missing or does not fit its neighbour.
    """
    names = names or ClassicNames()
    weights = [_part(state, names.embedding)]
    for layer in names.layers:
        weights += lstm_to_keras(*(_part(state, f"{layer}.{part}") for part in _LSTM_PARTS))
    weights += [_part(state, f"{names.dense}.weight").T.copy(), _part(state, f"{names.dense}.bias").copy()]
    _check(weights, len(names.layers))
    if mute_pad:
        weights[-1][0] = _MUTED
    return weights


def from_keras(weights: Sequence[ArrayLike], names: ClassicNames | None = None) -> dict[str, Array]:
    """The torch state dict of `keras_model.get_weights()`; exactly the names in `names`, nothing else.

    Raises:
        CheckpointError: the list does not hold an embedding, the layers named, and a dense layer that fit together.
    """
    names = names or ClassicNames()
    arrays = [_array(weight) for weight in weights]
    _check(arrays, len(names.layers))
    state = {names.embedding: arrays[0]}
    for i, layer in enumerate(names.layers):
        parts = lstm_from_keras(*arrays[1 + 3 * i : 4 + 3 * i])
        state |= {f"{layer}.{part}": value for part, value in zip(_LSTM_PARTS, parts, strict=True)}
    return {**state, f"{names.dense}.weight": arrays[-2].T.copy(), f"{names.dense}.bias": arrays[-1]}


def build_keras(weights: Sequence[Array]) -> Any:
    """A Keras model with these weights: item numbers [B, T] -> probabilities of the next class [B, C] after the last.

    Dropout, residual paths and LayerNorm are no part of the classic model. All T events of a row count: give rows of
    one length together.
    """
    try:
        import keras
    except ImportError as error:
        raise MissingExtraError(
            "the port needs Keras, which is not installed. Run: pip install 'temporec[keras]'"
        ) from error
    count = (len(weights) - 3) // 3
    _check(weights, count)
    layers = [keras.layers.Embedding(*weights[0].shape)]
    for i in range(count):
        layers.append(keras.layers.LSTM(weights[2 + 3 * i].shape[0], return_sequences=i < count - 1))
    layers.append(keras.layers.Dense(len(weights[-1]), activation="softmax"))
    model = keras.Sequential([keras.Input((None,), dtype="int32"), *layers])
    model.set_weights(list(weights))
    return model


def _array(values: ArrayLike) -> Array:
    return np.asarray(values).astype(np.float32)


def _part(state: Mapping[str, ArrayLike], name: str) -> Array:
    if name not in state:
        raise CheckpointError(
            f"the model has no weights {name!r}; known: {', '.join(sorted(state))}. Only the classic LSTM model ports "
            "to Keras; other names go into ClassicNames"
        )
    return _array(state[name])


def _check(weights: Sequence[Array], layers: int) -> None:
    """Every array has the shape that the one before it asks for."""
    if len(weights) != 3 + 3 * layers or layers < 1:
        raise CheckpointError(
            f"{len(weights)} arrays came; an embedding, {layers} LSTM layers of 3 and a dense layer of 2 are "
            f"{3 + 3 * layers}"
        )
    if weights[0].ndim != 2:
        raise CheckpointError(f"the embedding has shape {weights[0].shape}; needed: [items, dim]")
    width = weights[0].shape[1]
    for i in range(layers):
        kernel, recurrent, bias = (weight.shape for weight in weights[1 + 3 * i : 4 + 3 * i])
        hidden = recurrent[0]
        wanted = ((width, 4 * hidden), (hidden, 4 * hidden), (4 * hidden,))
        if (kernel, recurrent, bias) != wanted:
            raise CheckpointError(f"LSTM layer {i} has shapes {(kernel, recurrent, bias)}; needed: {wanted}")
        width = hidden
    kernel, bias = weights[-2].shape, weights[-1].shape
    if kernel != (width, *bias):
        raise CheckpointError(f"the dense layer has shapes {(kernel, bias)}; needed: [{width}, classes] and [classes]")
