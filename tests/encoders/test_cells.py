"""Every cell once more, slowly, event by event from the equations in docs/encoders.md, beside the module."""

import math

import pytest
import torch
from torch import Tensor

from temporec.encoders.base import EncoderConfig, Steps, TemporalEncoder, dropout, gap_buckets
from temporec.encoders.hstu import HSTU, HSTUConfig
from temporec.encoders.pool import Mean, MeanConfig
from temporec.encoders.recurrent import GRU, LSTM, RNN, GRUConfig, LSTMConfig, RNNConfig
from temporec.encoders.tcn import TCN, TCNConfig
from temporec.encoders.transformer import Transformer, TransformerConfig

B, T, D, H, WINDOW = 3, 11, 8, 2, 5
Weights = dict[str, Tensor]


def events() -> Steps:
    """Gaps from a second to a month, with ties."""
    draw = torch.Generator().manual_seed(3)
    dt = (10 ** (6.4 * torch.rand(B, T, generator=draw))).floor()
    dt[:, 4], dt[:, 0] = 0.0, 0.0
    return Steps(torch.randn(B, T, D, generator=draw), dt, torch.full((B,), T))


def weights_of(encoder: TemporalEncoder, layer: int, room: str) -> Weights:
    """The parameters of one layer in fp64, moved off their starting values, by their short names."""
    prefix = f"{room}.{layer}."
    found = {key: value for key, value in encoder.named_parameters() if key.startswith(prefix)}
    draw = torch.Generator().manual_seed(layer)
    with torch.no_grad():
        for value in found.values():
            value.add_(0.3 * torch.randn(value.shape, generator=draw))
    return {key.removeprefix(prefix): value.detach().double() for key, value in found.items()}


def linear(x: Tensor, w: Weights, name: str) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def norm(x: Tensor, w: Weights, name: str, eps: float = 1e-5) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    spread = (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return centred / spread * w[f"{name}.weight"] + w[f"{name}.bias"]


def silu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


def bucket(seconds: float, buckets: int) -> int:
    return min(math.floor(2 * math.log2(1 + seconds)), buckets - 1)


def recurrent(kind: str, x: Tensor, w: Weights) -> Tensor:
    """One recurrent layer [B, T, D]."""
    h, c, states = torch.zeros_like(x[:, 0]), torch.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        a = x[:, t] @ w["weight_ih_l0"].T + w["bias_ih_l0"]
        b = h @ w["weight_hh_l0"].T + w["bias_hh_l0"]
        if kind == "rnn":
            h = torch.tanh(a + b)
        elif kind == "lstm":
            i, f, g, o = (a + b).chunk(4, dim=-1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
        else:
            (a_r, a_z, a_n), (b_r, b_z, b_n) = a.chunk(3, dim=-1), b.chunk(3, dim=-1)
            z = torch.sigmoid(a_z + b_z)
            h = (1 - z) * torch.tanh(a_n + torch.sigmoid(a_r + b_r) * b_n) + z * h
        states.append(h)
    return torch.stack(states, dim=1)


def rotated(vector: Tensor, position: int, base: float) -> Tensor:
    """One head's query or key [d] turned by the angles of its position."""
    turned = vector.clone()
    for p in range(len(vector) // 2):
        angle = position * base ** (-2 * p / len(vector))
        a, b = vector[2 * p], vector[2 * p + 1]
        turned[2 * p] = a * math.cos(angle) - b * math.sin(angle)
        turned[2 * p + 1] = a * math.sin(angle) + b * math.cos(angle)
    return turned


def transformer(x: Tensor, tau: Tensor, w: Weights, config: TransformerConfig) -> Tensor:
    """One block on one history [T, D]."""
    q, k, v = linear(norm(x, w, "norm1"), w, "qkv").chunk(3, dim=-1)
    attended, width = torch.zeros_like(x), D // H
    for t in range(len(x)):
        seen = range(max(0, t - WINDOW + 1), t + 1)
        for head in range(H):
            part = slice(head * width, (head + 1) * width)
            query = rotated(q[t, part], t, config.rotary_base)
            scores = [float(query @ rotated(k[j, part], j, config.rotary_base)) / math.sqrt(width) for j in seen]
            if config.time_bias:
                gaps = [bucket(float(tau[t] - tau[j]), config.time_buckets) for j in seen]
                scores = [score + float(w["time"][gap]) for score, gap in zip(scores, gaps, strict=True)]
            total = sum(math.exp(score) for score in scores)
            for score, j in zip(scores, seen, strict=True):
                attended[t, part] += math.exp(score) / total * v[j, part]
    x = x + linear(attended, w, "out")
    return x + linear(gelu(linear(norm(x, w, "norm2"), w, "up")), w, "down")


def hstu(x: Tensor, tau: Tensor, w: Weights, config: HSTUConfig) -> Tensor:
    """One layer on one history [T, D]."""
    u, v, q, k = silu(linear(norm(x, w, "norm", 1e-6), w, "inner")).chunk(4, dim=-1)
    attended, width = torch.zeros_like(x), D // H
    for t in range(len(x)):
        for j in range(max(0, t - WINDOW + 1), t + 1):
            bias = w["position"][t - j]
            if config.time_bias:
                bias = bias + w["time"][bucket(float(tau[t] - tau[j]), config.time_buckets)]
            for head in range(H):
                part = slice(head * width, (head + 1) * width)
                attended[t, part] += silu(q[t, part] @ k[j, part] + bias) / WINDOW * v[j, part]
    return x + linear(norm(attended, w, "norm_out", 1e-6) * u, w, "out")


def tcn(x: Tensor, layer: int, w: Weights, kernel: int) -> Tensor:
    """One block [B, T, D]; the weights of the taps stand oldest first."""
    u = norm(x, w, "norm")
    taps = w["conv.weight"].unflatten(1, (kernel, D))
    y = w["conv.bias"].expand_as(x).clone()
    for t in range(x.shape[1]):
        for back in range(kernel):
            source = t - back * 2**layer
            if source >= 0:
                y[:, t] += u[:, source] @ taps[:, kernel - 1 - back].T
    return x + linear(gelu(y), w, "out")


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("cls", "config"), [(RNN, RNNConfig), (LSTM, LSTMConfig), (GRU, GRUConfig)])
@torch.no_grad()
def test_recurrent(cls: type[TemporalEncoder], config: type[EncoderConfig], residual: bool) -> None:
    encoder = cls(config.of({"dim": D, "layers": 2, "residual": residual})).eval()
    steps = events()
    x = steps.x.double()
    for layer in range(2):
        h = recurrent(encoder.config.kind, x, weights_of(encoder, layer, "layers"))
        x = h + x if residual else h
    torch.testing.assert_close(encoder(steps).double(), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("time_bias", [False, True])
@torch.no_grad()
def test_transformer(time_bias: bool) -> None:
    config = TransformerConfig(dim=D, heads=H, max_len=WINDOW, time_bias=time_bias, time_buckets=30)
    encoder, steps = Transformer(config).eval(), events()
    x, tau = steps.x.double(), steps.dt.double().cumsum(dim=1)
    for layer in range(2):
        w = weights_of(encoder, layer, "blocks")
        x = torch.stack([transformer(row, times, w, config) for row, times in zip(x, tau, strict=True)])
    torch.testing.assert_close(encoder(steps).double(), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("time_bias", [False, True])
@torch.no_grad()
def test_hstu(time_bias: bool) -> None:
    config = HSTUConfig(dim=D, heads=H, max_len=WINDOW, time_bias=time_bias, time_buckets=30)
    encoder, steps = HSTU(config).eval(), events()
    x, tau = steps.x.double(), steps.dt.double().cumsum(dim=1)
    for layer in range(2):
        w = weights_of(encoder, layer, "blocks")
        x = torch.stack([hstu(row, times, w, config) for row, times in zip(x, tau, strict=True)])
    torch.testing.assert_close(encoder(steps).double(), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel", [1, 2, 3])
@torch.no_grad()
def test_tcn(kernel: int) -> None:
    encoder, steps = TCN(TCNConfig(dim=D, layers=3, kernel=kernel)).eval(), events()
    x = steps.x.double()
    for layer in range(3):
        x = tcn(x, layer, weights_of(encoder, layer, "blocks"), kernel)
    torch.testing.assert_close(encoder(steps).double(), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("layers", "kernel", "expected"), [(1, 3, 3), (3, 2, 8), (2, 1, 1), (4, 3, 31)])
def test_tcn_reaches_exactly_its_receptive_field(layers: int, kernel: int, expected: int) -> None:
    config = TCNConfig(dim=D, layers=layers, kernel=kernel)
    assert config.receptive_field == expected
    x = torch.randn(1, 40, D, requires_grad=True)
    TCN(config)(Steps(x, torch.zeros(1, 40), torch.tensor([40])))[:, -1].square().sum().backward()
    assert x.grad is not None
    felt = x.grad[0].abs().amax(dim=1) > 0
    assert felt.tolist() == [age < expected for age in reversed(range(40))]


@torch.no_grad()
def test_mean() -> None:
    steps = events()
    expected = torch.stack([steps.x[:, : t + 1].mean(dim=1) for t in range(T)], dim=1)
    torch.testing.assert_close(Mean(MeanConfig(dim=D))(steps), expected)


def test_gap_buckets_widen_by_the_root_of_two_and_end_in_the_last() -> None:
    gaps = [0.0, 0.4, 0.5, 1.0, 2.0, 59.0, 60.0, 3600.0, 86400.0, 86400.0 * 365, -5.0]
    expected = [bucket(max(gap, 0.0), 40) for gap in gaps]
    found = gap_buckets(torch.tensor(gaps, dtype=torch.float64), torch.zeros(1, dtype=torch.float64), 40)
    assert found.tolist() == expected
    assert expected[0] == 0
    assert expected[-2] == 39


def test_dropout_keeps_its_rate_and_the_mean() -> None:
    torch.manual_seed(0)
    y = dropout(torch.ones(400, 500), 0.3, training=True)
    assert float((y == 0).float().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(y.mean()) == pytest.approx(1.0, abs=0.02)
    assert len(y.unique()) == 2
    assert torch.equal(dropout(y, 0.3, training=False), y)
