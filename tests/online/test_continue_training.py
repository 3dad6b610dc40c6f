"""Steps on fresh events: what is a target, what grows, what is kept, and what replay is good for."""

import numpy as np
import pytest
import torch

from temporec.data.synthetic import MarkovProcess
from temporec.errors import TrainingError
from temporec.model import ModelConfig, ModelInputs, SequenceModel, grown
from temporec.online.continue_training import Continuation, LearnConfig, rows_of_neighbours
from temporec.online.replay import Piece, Replay, ReplayConfig, log_of
from temporec.online.windows import FreshSequences

CONFIG = ModelConfig.of({"encoder": {"kind": "gru", "dim": 16, "max_len": 8}, "dropout": 0.0})


def piece(items: list[int], fresh: int | None = None) -> Piece:
    return Piece("u", np.asarray(items, np.int32), np.arange(len(items), dtype=np.int64), fresh or len(items))


def training(size: int = 31, counts: np.ndarray | None = None, **options: object) -> Continuation:
    known = np.ones(size) if counts is None else counts
    return Continuation(SequenceModel(CONFIG, ModelInputs(size)), known, LearnConfig.of({"lr": 0.01, **options}))


def pieces_of(process: MarkovProcess, users: int = 50, shift: int = 0) -> list[Piece]:
    log = process.sample(users, 8).interactions
    return [piece((part + shift).tolist()) for part in np.split(log.item, log.offsets[1:-1])]


def hit_rate(trained: Continuation, pieces: list[Piece]) -> float:
    model = SequenceModel(CONFIG, ModelInputs(len(trained.counts)))
    model.load_state_dict(trained.published())
    model.eval()
    hits = []
    with torch.no_grad():
        for batch in FreshSequences(log_of(pieces), max_len=8).batches(0, 0):
            assert batch.targets is not None
            wanted = batch.targets > 0
            scores = model.head.scores(model.head.query(model.hidden(batch)[wanted]), model.item_vectors())
            hits.append(scores.argmax(dim=1) == batch.targets[wanted])
    return float(torch.cat(hits).double().mean())


def test_only_fresh_events_are_targets_and_the_others_are_their_context() -> None:
    long = piece(list(range(1, 21)), fresh=3)
    log = log_of([long, piece([5, 6, 7]), piece([8, 9], fresh=1)])
    sequences = FreshSequences(log, max_len=8, fresh=np.asarray([3, 3, 1]))
    for epoch in range(5):
        targets: list[int] = []
        for batch in sequences.batches(0, epoch):
            assert batch.targets is not None
            targets += batch.targets[batch.targets > 0].tolist()
            for row, length in zip(batch.items, batch.lengths, strict=True):
                if row[0] > 9:
                    assert length == 8 or row[length - 1] < 19
        assert sorted(targets) == [6, 7, 9, 18, 19, 20]


def test_learning_lowers_the_loss_and_the_weights_that_answer_follow() -> None:
    pieces, trained = pieces_of(MarkovProcess(30, concentration=0.01)), training(average=0.9)
    replay = Replay()
    first = trained.learn(pieces, replay)
    for _ in range(8):
        last = trained.learn(pieces, replay)
    assert last.loss < first.loss / 2
    assert hit_rate(trained, pieces) > 0.6
    assert len(replay) == 9 * len(pieces)
    assert first.positions == 7 * len(pieces) * 4  # nothing old was there to repeat
    assert last.positions == 2 * first.positions


def test_replay_keeps_what_was_learned_before() -> None:
    """Items 1 to 15 first, then only 16 to 30: without replay the first are forgotten."""
    old = pieces_of(MarkovProcess(15, concentration=0.01, seed=1))
    new = pieces_of(MarkovProcess(15, concentration=0.01, seed=2), shift=15)
    kept = {}
    for share in (0.0, 1.0):
        trained, replay = training(average=0.0, replay=share), Replay(ReplayConfig(capacity=200))
        for _ in range(10):
            trained.learn(old, replay)
        before = hit_rate(trained, old)
        replay = Replay(ReplayConfig(capacity=2_000, newest=0.0))
        replay.add(old)
        for _ in range(20):
            trained.learn(new, replay)
        assert hit_rate(trained, new) > 0.7
        kept[share] = hit_rate(trained, old) / before
    assert kept[1.0] > 0.95
    assert kept[0.0] < kept[1.0] - 0.1


@pytest.fixture
def grows() -> tuple[Continuation, SequenceModel]:
    trained = training(average=0.9)
    trained.learn(pieces_of(MarkovProcess(30)), Replay())
    return trained, grown(trained.model, ModelInputs(41))


def test_moments_and_averages_grow_with_the_table(grows: tuple[Continuation, SequenceModel]) -> None:
    trained, bigger = grows
    before = trained.tensors()
    rows = torch.randn(10, 16)
    trained.grow(bigger, (np.arange(31, 41), rows))
    after = trained.tensors()
    assert set(after) == set(before)
    table = "items.0.weight"
    for name in (f"model.{table}", f"average.{table}", f"moment.{table}.exp_avg", f"moment.{table}.exp_avg_sq"):
        assert torch.equal(after[name][:31], before[name])
        assert after[name].shape == (41, 16)
    assert torch.equal(after[f"model.{table}"][31:], rows)
    assert torch.equal(after[f"average.{table}"][31:], rows)
    assert not after[f"moment.{table}.exp_avg"][31:].any()
    assert torch.equal(after[f"moment.{table}.step"], before[f"moment.{table}.step"])
    assert after["counts"][31:].tolist() == [0.0] * 10
    learned = trained.learn([piece([3, 35, 4]), piece([35, 36])], Replay())
    assert np.isfinite(learned.loss)
    assert trained.counts[35] == 2


def test_an_item_without_events_is_in_no_denominator() -> None:
    counts = np.ones(31)
    counts[30] = 0
    trained = training(counts=counts, weight_decay=0.0, average=0.0)
    before = trained.model.item_table()[30].clone()
    trained.learn(pieces_of(MarkovProcess(20)), Replay())
    assert torch.equal(trained.model.item_table()[30], before)
    trained.learn([piece([1, 30])], Replay())
    assert not torch.equal(trained.model.item_table()[30], before)


def test_a_saved_training_goes_on_bit_by_bit() -> None:
    pieces = pieces_of(MarkovProcess(30))
    whole, replay = training(replay=0.0), Replay()
    whole.learn(pieces, replay)
    again = training(replay=0.0)
    again.restore(whole.tensors())
    for trained in (whole, again):
        trained.learn(pieces[::-1], replay)
    for name, value in whole.tensors().items():
        assert torch.equal(value, again.tensors()[name]), name


def test_a_loss_that_is_not_finite_stops_before_the_step() -> None:
    trained = training()
    with torch.no_grad():
        trained.model.item_table()[3] = torch.nan
    with pytest.raises(TrainingError, match="lower lr"):
        trained.learn([piece([3, 4])], Replay())


def test_new_items_start_beside_those_that_they_came_with() -> None:
    table = torch.eye(8)
    known = np.asarray([True] * 6 + [False] * 2)
    rows = rows_of_neighbours(table, [piece([1, 6, 2]), piece([6, 1]), piece([4, 0 + 7, 4])], known, 1e-4, 0)
    torch.testing.assert_close(rows[0], (2 * table[1] + table[2]) / 3, atol=1e-3, rtol=0)
    torch.testing.assert_close(rows[1], table[4], atol=1e-3, rtol=0)
