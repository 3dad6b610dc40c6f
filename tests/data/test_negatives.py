import numpy as np
import pytest
import torch

from temporec.data.negatives import NegativeSampler
from temporec.errors import DataError
from temporec.runtime import generator

COUNTS = np.asarray([99, 4, 0, 1, 16, 1])  # row 0 is PAD


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_frequencies_follow_log_q(alpha: float) -> None:
    sampler = NegativeSampler(COUNTS, alpha)
    q = np.exp(sampler.log_q.numpy())
    expected = np.asarray([0.0, *(float(c) ** alpha for c in COUNTS[1:])])
    assert q == pytest.approx(expected / expected.sum(), rel=1e-6)
    drawn = np.bincount(sampler.sample(40_000, generator(0)).numpy(), minlength=6) / 40_000
    assert drawn == pytest.approx(q, abs=0.01)
    assert (drawn[q == 0] == 0).all()


def test_types_and_seed() -> None:
    sampler = NegativeSampler(COUNTS)
    assert sampler.log_q.dtype == torch.float32
    first = sampler.sample(50, generator(3, 1))
    assert first.dtype == torch.int64
    assert torch.equal(first, sampler.sample(50, generator(3, 1)))
    assert not torch.equal(first, sampler.sample(50, generator(3, 2)))
    assert sampler.sample(0).shape == (0,)


@pytest.mark.parametrize("form", ["mask", "bias"])
def test_items_taken_out_are_never_drawn(form: str) -> None:
    mask = np.asarray([True, True, True, True, False, True])
    allowed = mask if form == "mask" else torch.where(torch.from_numpy(mask), 0.0, -torch.inf)
    sampler = NegativeSampler(COUNTS, 0.0, allowed)
    assert torch.isneginf(sampler.log_q[[0, 4]]).all()
    assert set(sampler.sample(2_000, generator(0)).tolist()) == {1, 2, 3, 5}


def test_the_ends_of_the_unit_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draws at 0 and just below 1 hit the first and the last item that may be drawn, never a neighbour of weight 0."""
    sampler = NegativeSampler(np.asarray([5, 0, 2, 3, 0]))
    ends = torch.tensor([0.0, np.nextafter(1.0, 0.0), 1.0], dtype=torch.float64)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: ends)
    assert sampler.sample(3).tolist() == [2, 3, 3]


@pytest.mark.parametrize(
    ("counts", "alpha"), [([5, 0, 0], 1.0), ([5], 0.0), ([0, -1], 1.0), ([0, np.nan], 1.0), ([0, 1], -1.0)]
)
def test_refused(counts: list[float], alpha: float) -> None:
    with pytest.raises(DataError, match=r"no item is left|alpha >= 0"):
        NegativeSampler(np.asarray(counts), alpha)
