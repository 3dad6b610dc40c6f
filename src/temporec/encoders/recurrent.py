"""Recurrent encoders: RNN (tanh), LSTM, GRU, on torch's fused kernels. The equations stand in docs/encoders.md."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from temporec.encoders.base import EncoderConfig, State, Steps, TemporalEncoder, dropout
from temporec.registry import register

__all__ = ["GRU", "LSTM", "RNN", "GRUConfig", "LSTMConfig", "RNNConfig"]


class RecurrentConfig(EncoderConfig):
    """Options of recurrent encoders; `dropout` stands between layers."""

    residual: bool = True  # the output of a layer is cell(input) + input

    @property
    def receptive_field(self) -> None:
        """All events: the state covers the whole history."""
        return None


class RNNConfig(RecurrentConfig):
    """Options of the plain recurrent network (Elman 1990)."""

    kind: Literal["rnn"] = "rnn"


class LSTMConfig(RecurrentConfig):
    """Options of the LSTM (Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000)."""

    kind: Literal["lstm"] = "lstm"


class GRUConfig(RecurrentConfig):
    """Options of the GRU (Cho et al. 2014; the reset gate acts after the product, as in cuDNN)."""

    kind: Literal["gru"] = "gru"


_ROWS = 16  # below this many rows, matrix products take other kernels that differ in the last bit


class _Recurrent(TemporalEncoder):
    """Stacked layers on torch's fused kernels. Causal, so right padding needs no packing.

    Without gradients the states of valid events are equal to the last bit with any number of pads.
    """

    cell: type[nn.RNN] | type[nn.LSTM] | type[nn.GRU]

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__(config)
        self.residual = self.adds_input = config.residual
        dim = config.dim
        self.layers = nn.ModuleList(self.cell(dim, dim, batch_first=True) for _ in range(config.layers))

    def forward(self, steps: Steps) -> Tensor:
        x = steps.x
        batch, length = x.shape[:2]
        if 0 < batch * length < _ROWS:
            x = F.pad(x, (0, 0, 0, -(-_ROWS // batch) - length))
        for i, layer in enumerate(self.layers):
            y: Tensor = layer(x)[0]
            x = self._join(i, x, y)
        return x[:, :length]

    def _join(self, i: int, x: Tensor, y: Tensor) -> Tensor:
        if self.residual:
            y = y + x
        return y if i == len(self.layers) - 1 else dropout(y, self.config.dropout, self.training)

    def initial_state(self, batch_size: int) -> State:
        weight = next(self.parameters())
        names = [f"h{i}" for i in range(len(self.layers))]
        return {name: weight.new_zeros(batch_size, self.config.dim) for name in names}

    def step(self, x: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        return self.advance(x[:, None], dt[:, None], state)

    def advance(self, x: Tensor, dt: Tensor, state: State) -> tuple[Tensor, State]:
        after: State = {}
        for i, layer in enumerate(self.layers):
            y, new = layer(x, self._hidden(state, i))
            after.update(self._named(new, i))
            x = self._join(i, x, y)
        return x[:, -1], after

    def _hidden(self, state: State, i: int) -> Tensor | tuple[Tensor, Tensor]:
        return state[f"h{i}"][None]

    def _named(self, new: Tensor | tuple[Tensor, Tensor], i: int) -> State:
        assert isinstance(new, Tensor)
        return {f"h{i}": new[0]}


@register("encoder", "rnn")
class RNN(_Recurrent):
    """h_t = tanh(W x_t + U h_(t-1) + b)."""

    Config = RNNConfig
    cell = nn.RNN


@register("encoder", "gru")
class GRU(_Recurrent):
    """h_t = (1 - z_t) n_t + z_t h_(t-1), with reset gate r_t and update gate z_t."""

    Config = GRUConfig
    cell = nn.GRU


@register("encoder", "lstm")
class LSTM(_Recurrent):
    """c_t = f_t c_(t-1) + i_t g_t, h_t = o_t tanh(c_t).

    The bias of the forget gate starts one higher, so that the cell remembers at first (Jozefowicz et al. 2015).
    """

    Config = LSTMConfig
    cell = nn.LSTM

    def __init__(self, config: LSTMConfig) -> None:
        super().__init__(config)
        dim = config.dim
        with torch.no_grad():
            for layer in self.layers:
                bias = layer.bias_ih_l0
                assert isinstance(bias, Tensor)
                bias[dim : 2 * dim] += 1.0

    def initial_state(self, batch_size: int) -> State:
        state = super().initial_state(batch_size)
        cells = {name.replace("h", "c"): torch.zeros_like(value) for name, value in state.items()}
        return {**state, **cells}

    def _hidden(self, state: State, i: int) -> tuple[Tensor, Tensor]:
        return state[f"h{i}"][None], state[f"c{i}"][None]

    def _named(self, new: Tensor | tuple[Tensor, Tensor], i: int) -> State:
        return {f"h{i}": new[0][0], f"c{i}": new[1][0]}
