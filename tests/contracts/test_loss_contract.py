"""What every registered loss must do."""

import math

import pytest
import torch

from temporec import registry
from temporec.losses.base import Loss, Negatives

N, V, D = 37, 60, 8


def build(name: str, **options: float) -> Loss:
    cls = registry.get("loss", name)
    loss: Loss = cls(cls.Config.of(options))
    return loss


def inputs(scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, Negatives]:
    torch.manual_seed(0)
    hidden, table = torch.randn(N, D) * scale, torch.randn(V, D) * scale
    targets = torch.randint(1, V, (N,))
    negatives = Negatives(torch.randint(1, V, (16,)), torch.full((V,), -math.log(V - 1)))
    return hidden.requires_grad_(), table.requires_grad_(), targets, negatives


@pytest.mark.parametrize("name", registry.names("loss"))
class TestLossContract:
    def test_config_round_trip(self, name: str) -> None:
        config = registry.get("loss", name).Config.of({"label_smoothing": 0.1})
        assert type(config).of(config.to_dict()) == config
        assert config.kind == name

    def test_gradients_match_finite_differences(self, name: str) -> None:
        loss = build(name)
        torch.manual_seed(1)
        hidden = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
        table = torch.randn(9, 3, dtype=torch.float64, requires_grad=True)
        targets, negatives = torch.tensor([1, 2, 8, 3, 3]), Negatives(torch.tensor([4, 5, 3]), torch.full((9,), -2.0))

        def value() -> torch.Tensor:
            return loss(hidden, table, targets, None, negatives)

        value().backward()
        for tensor in (hidden, table):
            direction, step = torch.randn_like(tensor), 1e-3
            slope = (tensor.grad * direction).sum()
            with torch.no_grad():
                tensor.add_(step * direction)
                above = value()
                tensor.sub_(2 * step * direction)
                below = value()
                tensor.add_(step * direction)
            assert float((above - below) / (2 * step)) == pytest.approx(float(slope), rel=2e-3, abs=1e-5)

    def test_pad_gets_no_gradient(self, name: str) -> None:
        hidden, table, targets, negatives = inputs()
        build(name)(hidden, table, targets, None, negatives).backward()
        assert table.grad is not None
        assert float(table.grad[0].abs().max()) == 0.0

    def test_a_good_model_has_a_lower_loss(self, name: str) -> None:
        _, table, targets, negatives = inputs()
        with torch.no_grad():
            good = build(name)(3 * table[targets], table, targets, None, negatives)
            bad = build(name)(-3 * table[targets], table, targets, None, negatives)
        assert float(good) < float(bad)

    def test_smoothing_pulls_towards_uncertainty(self, name: str) -> None:
        _, table, targets, negatives = inputs()
        sure = 10 * table.detach()[targets]
        plain, smooth = build(name), build(name, label_smoothing=0.2)
        with torch.no_grad():
            rough, exact = (loss(sure, table, targets, None, negatives) for loss in (smooth, plain))
        assert float(rough) > float(exact)

    def test_an_item_that_is_not_released_does_not_count(self, name: str) -> None:
        hidden, table, targets, negatives = inputs()
        gone = next(i for i in range(1, V) if i not in targets)
        bias = torch.zeros(V)
        bias[gone] = -math.inf
        loss = build(name)
        first = loss(hidden, table, targets, bias, negatives)
        with torch.no_grad():
            table[gone] = 50.0
        again = loss(hidden, table, targets, bias, negatives)
        torch.testing.assert_close(again, first, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("scale", [0.3, 5.0])
@pytest.mark.parametrize("masked", [False, True])
def test_chunked_cross_entropy_equals_autograd(smoothing: float, scale: float, masked: bool) -> None:
    """The fast path against its slow twin: one log_softmax over everything."""
    hidden, table, targets, _ = inputs(scale)
    bias = None
    if masked:
        bias = torch.randn(V)
        bias[next(i for i in range(1, V) if i not in targets)] = -math.inf
        bias.requires_grad_()
    leaves = [t for t in (hidden, table, bias) if t is not None]
    fast = build("cross_entropy", label_smoothing=smoothing, rows=7)(hidden, table, targets, bias)
    ours = torch.autograd.grad(fast, leaves)
    scores = (hidden @ table.T)[:, 1:] + (0.0 if bias is None else bias[1:])
    log_p, live = torch.log_softmax(scores, dim=1), torch.isfinite(scores)
    even = -(log_p.masked_fill(~live, 0.0).sum(1) / live.sum(1)).mean()
    slow = (1 - smoothing) * -log_p[torch.arange(N), targets - 1].mean() + smoothing * even
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(ours, torch.autograd.grad(slow, leaves), strict=True):
        torch.testing.assert_close(mine, torch.nan_to_num(theirs), rtol=1e-4, atol=2e-6)


def test_logq_correction_makes_the_sampled_loss_unbiased_for_the_best_model() -> None:
    """With every item drawn once and log q = -log(V - 1), sampled softmax is the full softmax."""
    hidden, table, targets, _ = inputs()
    everything = Negatives(torch.arange(1, V), torch.full((V,), -math.log(V - 1)))
    sampled = build("sampled_softmax")(hidden, table, targets, None, everything)
    full = build("cross_entropy")(hidden, table, targets)
    torch.testing.assert_close(sampled, full, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [0.3, 20.0])
@pytest.mark.parametrize("count", [16, 300])
def test_chunked_sampled_softmax_equals_autograd(scale: float, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fast path against its slow twin, which a bias of zeros takes; some negatives are targets, some come twice."""
    monkeypatch.setattr("temporec.losses.sampled_softmax._ROWS", 7)
    hidden, table, targets, _ = inputs(scale)
    negatives = Negatives(torch.randint(1, V, (count,)), torch.randn(V).log_softmax(0))
    loss = build("sampled_softmax")
    found = [loss(hidden, table, targets, bias, negatives) for bias in (None, torch.zeros(V))]
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-5)
    fast, slow = (torch.autograd.grad(3 * each, (hidden, table)) for each in found)
    for mine, theirs in zip(fast, slow, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=2e-6 * scale)


def test_bf16_buffers_stay_close_to_fp32() -> None:
    hidden, table, targets, _ = inputs(0.5)
    loss = build("cross_entropy")
    exact = loss(hidden, table, targets)
    with torch.autocast("cpu", torch.bfloat16):
        rough = loss(hidden, table, targets)
    torch.testing.assert_close(rough, exact, rtol=0.02, atol=0.02)
