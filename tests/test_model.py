"""The whole SequenceModel, for every encoder: causal, one event at a time as all at once, loss on valid positions."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from temporec import registry
from temporec.data.batch import SequenceBatch, pad_rows
from temporec.data.dataset import build_dataset
from temporec.data.sequences import Sequences
from temporec.errors import ConfigError
from temporec.losses.base import Negatives
from temporec.model import ModelConfig, ModelInputs, SequenceModel

ENCODERS = [name for name in registry.names("encoder") if name != "llm"]  # the encoder contract builds one of those
V, D, WINDOW = 24, 16, 6
LENGTHS = (12, 5, 9, 1)  # more than the attention window, and less


def build(encoder: str, seed: int = 0, **options: Any) -> SequenceModel:
    """A model with every event embedding, and weights of its own everywhere (some start at zero)."""
    config = {
        "encoder": {"kind": encoder, "dim": D, "max_len": WINDOW},
        "events": ["time", "event_kind", "event_value"],
        **options,
    }
    inputs = ModelInputs(V, options={"event_kind": {"kinds": 3}, "event_value": {"mean": 1.0, "std": 2.0}})
    model = SequenceModel(ModelConfig.of(config), inputs, seed)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    return model.eval()


@pytest.fixture
def batch() -> SequenceBatch:
    """Four histories with times, kinds, values and targets."""
    rng = np.random.default_rng(3)
    n = sum(LENGTHS)
    frame = pl.DataFrame(
        {
            "user": np.repeat(np.arange(len(LENGTHS)), [n + 1 for n in LENGTHS]),
            "item": np.concatenate([rng.permutation(np.arange(1, V))[: n + 1] for n in LENGTHS]),
            "time": np.concatenate([np.cumsum(rng.integers(0, 10**8, n + 1)) for n in LENGTHS]),
            "kind": rng.choice(["view", "cart", "buy"], n + len(LENGTHS)),
            "value": rng.random(n + len(LENGTHS)),
        }
    )
    sequences = Sequences(build_dataset(frame).interactions, 50, 4096)
    return sequences.gather(*sequences.windows(0, 0), np.random.default_rng(0))


def with_rubbish(batch: SequenceBatch) -> SequenceBatch:
    """Three more columns, and rubbish in all that stands at padded positions."""
    changed = {}
    more = torch.arange(batch.items.shape[1] + 3)[None, :] < batch.lengths[:, None]
    for name in ("items", "times", "dt", "gap", "kinds", "values"):
        column = torch.nn.functional.pad(getattr(batch, name), (0, 3))
        changed[name] = torch.where(more, column, torch.full_like(column, 2))
    assert batch.targets is not None
    return replace(batch, **changed, targets=torch.nn.functional.pad(batch.targets, (0, 3)))


@pytest.mark.parametrize("encoder", ENCODERS)
@torch.no_grad()
def test_causality(encoder: str, batch: SequenceBatch) -> None:
    """State t is the same to the last bit whatever happens after it."""
    model = build(encoder)
    before = model.hidden(batch)
    cut = 4
    later = torch.arange(batch.items.shape[1])[None, :] > cut
    assert batch.kinds is not None
    changed = replace(
        batch,
        items=torch.where(later & batch.mask, batch.items % (V - 1) + 1, batch.items),
        times=batch.times + later * 10**9,
        dt=batch.dt + later * 777.0,
        kinds=torch.where(later, 4 - batch.kinds.clamp(1, 3), batch.kinds),
    )
    after = model.hidden(changed)
    assert torch.equal(before[:, : cut + 1], after[:, : cut + 1])
    assert not torch.allclose(before[0, cut + 1 :], after[0, cut + 1 :], atol=1e-3)


@pytest.mark.parametrize("encoder", ENCODERS)
@torch.no_grad()
def test_padding_changes_nothing(encoder: str, batch: SequenceBatch) -> None:
    model = build(encoder)
    plain, padded = model.hidden(batch), model.hidden(with_rubbish(batch))
    for b, n in enumerate(batch.lengths.tolist()):
        torch.testing.assert_close(plain[b, :n], padded[b, :n], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.last_hidden(batch), model.last_hidden(with_rubbish(batch)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("encoder", ENCODERS)
@torch.no_grad()
def test_step_equals_forward(encoder: str, residual: bool, batch: SequenceBatch) -> None:
    """Event after event through embedding, encoder and norm, beyond the attention window too."""
    model = build(encoder, residual=residual)
    table, state, steps = model.item_table(), model.encoder.initial_state(len(LENGTHS)), []
    for t in range(batch.items.shape[1]):
        one = SequenceBatch(
            batch.items[:, t : t + 1], batch.times[:, t : t + 1], batch.dt[:, t : t + 1],
            torch.ones(len(LENGTHS), dtype=torch.int64),
            kinds=None if batch.kinds is None else batch.kinds[:, t : t + 1],
            values=None if batch.values is None else batch.values[:, t : t + 1],
        )  # fmt: skip
        h, state = model.advance(one, state, table)
        steps.append(h)
    whole, stepped = model.hidden(batch, table), torch.stack(steps, dim=1)
    for b, n in enumerate(batch.lengths.tolist()):
        torch.testing.assert_close(whole[b, :n], stepped[b, :n], atol=1e-5, rtol=1e-5)


def sampled(model: SequenceModel) -> Negatives | None:
    if not model.criterion.needs.negatives:
        return None
    return Negatives(torch.arange(1, V, 2), torch.full((V,), -1.0))


def one(batch: SequenceBatch, b: int) -> SequenceBatch:
    """One history without any padding."""
    n = int(batch.lengths[b])
    columns: dict[str, Tensor] = {
        name: getattr(batch, name)[b : b + 1, :n]
        for name in ("items", "times", "dt", "targets", "gap", "kinds", "values")
    }
    return replace(batch, lengths=batch.lengths[b : b + 1], **columns)


@pytest.mark.parametrize("loss", registry.names("loss"))
@torch.no_grad()
def test_loss_counts_valid_positions_only(loss: str, batch: SequenceBatch) -> None:
    """The mean over all positions of all histories, each computed alone; padding and rubbish in it change nothing."""
    model = build("gru", loss={"kind": loss})
    value = model.loss(batch, sampled(model))
    parts = torch.stack([model.loss(one(batch, b), sampled(model)) for b in range(len(LENGTHS))])
    counts = batch.lengths.float()
    close = 1e-3 if loss == "bpr" else 1e-5  # BPR is a mean over pairs; a negative that is the target makes none
    torch.testing.assert_close(value, (parts * counts).sum() / counts.sum(), atol=close, rtol=close)
    torch.testing.assert_close(value, model.loss(with_rubbish(batch), sampled(model)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_no_gradient_flows_from_a_position_without_a_target(encoder: str, batch: SequenceBatch) -> None:
    """With one target at position 2 of the first history, only the events up to it get a gradient."""
    model = build(encoder, head={"tied": False}, events=[])
    assert batch.targets is not None
    targets = torch.zeros_like(batch.targets)
    targets[0, 2] = batch.targets[0, 2]
    model.loss(replace(batch, targets=targets)).backward()
    (weight,) = (p for name, p in model.named_parameters() if name.startswith("items."))
    assert weight.grad is not None
    touched = set(torch.nonzero(weight.grad.abs().sum(dim=1)).flatten().tolist())
    assert touched
    assert touched <= set(batch.items[0, :3].tolist())
    assert int(batch.items[0, 2]) in touched


@torch.no_grad()
def test_loss_is_cross_entropy_of_the_scores(batch: SequenceBatch) -> None:
    model = build("lstm")
    assert batch.targets is not None
    scores = model.head.scores(model.head.query(model.hidden(batch)[batch.mask]), model.item_vectors())
    expected = torch.nn.functional.cross_entropy(scores, batch.targets[batch.mask])
    torch.testing.assert_close(model.loss(batch), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_same_seed_builds_the_same_model_and_leaves_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = build("hstu", 1), build("hstu", 1), build("hstu", 2)
    assert torch.equal(torch.rand(3), expected)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    assert not torch.equal(first.item_table(), other.item_table())


@torch.no_grad()
def test_item_tables() -> None:
    """Ids started by vectors, ids and projected vectors, vectors alone, one-hot; PAD is always zero."""
    vectors = torch.arange((V - 1) * D, dtype=torch.float32).view(V - 1, D)
    for fuse, dim, inputs in [
        ("start", D, ModelInputs(V, start=vectors)),
        ("add", D, ModelInputs(V, vectors=vectors[:, :3])),
        ("concat", D, ModelInputs(V, vectors=vectors[:, :3])),
        ("gate", D, ModelInputs(V, vectors=vectors[:, :3])),
        ("only", D, ModelInputs(V, vectors=vectors[:, :3])),
        ("one_hot", V - 1, ModelInputs(V)),
    ]:
        model = SequenceModel(ModelConfig.of({"encoder": {"kind": "gru", "dim": dim}, "fuse": fuse}), inputs)
        table = model.item_table()
        assert table.shape == (V, dim), fuse
        assert not table[0].any(), fuse
        assert table[1:].any(dim=1).all(), fuse


def test_what_cannot_be_built_or_learned_is_said() -> None:
    for options, said in [
        ({"fuse": "only"}, "needs item vectors"),
        ({"encoder": "gpt"}, "no encoder named 'gpt'; known: "),
        ({"events": ["ids"]}, "is not an event embedding; use time"),
    ]:
        with pytest.raises(ConfigError, match=said):
            SequenceModel(ModelConfig.of(options), ModelInputs(V))
    offsets = np.asarray([0]), np.asarray([2])
    plain = pad_rows(np.asarray([1, 2], np.int32), np.zeros(2, np.int64), *offsets)
    with pytest.raises(ConfigError, match="has no targets; take batches from Sequences"):
        build("gru").loss(plain)
