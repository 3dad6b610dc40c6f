"""Recommending by semantic ids, from fit to new items."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from temporec.data.dataset import Dataset, build_dataset
from temporec.data.sequences import Sequences
from temporec.errors import CheckpointError, ConfigError, DataError
from temporec.ranking.filters import Filters
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.recommend.query import Query
from temporec.recommend.semantic import SemanticRecommender
from temporec.runtime import RunOptions
from temporec.workflow.compare import compare
from temporec.workflow.describe import describe
from temporec.workflow.settings import Settings

COLOURS, THINGS = ("red", "blue", "green", "white", "black"), ("lamp", "chair", "clock", "basket", "mirror")
TITLES = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]
ITEMS = len(TITLES) + 3


def rows() -> pl.DataFrame:
    """Item i is always followed by i + 1; three of them have the title of another."""
    log = [(f"u{user}", f"i{(user + t) % ITEMS:02d}", 1_600_000_000 + t) for user in range(2 * ITEMS) for t in range(7)]
    return pl.DataFrame(log, schema=["user", "item", "time"], orient="row")


def table() -> pl.DataFrame:
    titles = [*TITLES, *TITLES[:3]]
    return pl.DataFrame({"item": [f"i{number:02d}" for number in range(ITEMS)], "title": titles})


def fit(dataset: Dataset, **options: object) -> SemanticRecommender:
    config = FitConfig.of(
        {
            "encoder": {"kind": "gru", "dim": 32}, "dropout": 0.0, "training": {"epochs": 60, "lr": 0.01},
            "recommender": {"kind": "semantic", "levels": 2, "codes": 6}, **options,
        }
    )  # fmt: skip
    run = RunOptions(precision="fp32", threads=1)
    made = fit_recommender(dataset, config, run, exclude_seen=False).recommender
    assert isinstance(made, SemanticRecommender)
    return made


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return build_dataset(rows(), table())


@pytest.fixture(scope="module")
def fitted(dataset: Dataset) -> SemanticRecommender:
    return fit(dataset)


@pytest.fixture
def saved(fitted: SemanticRecommender, tmp_path: Path) -> Callable[[], SemanticRecommender]:
    """The same recommender anew from its folder."""
    fitted.save(tmp_path / "model")

    def load() -> SemanticRecommender:
        made = Recommender.load(tmp_path / "model")
        assert isinstance(made, SemanticRecommender)
        return made

    return load


def test_it_learns_what_follows_what(fitted: SemanticRecommender) -> None:
    hits = [fitted.recommend(history=[f"i{n:02d}"], k=1).ids == [f"i{(n + 1) % ITEMS:02d}"] for n in range(ITEMS)]
    assert np.mean(hits) >= 0.95


def test_scores_are_log_probabilities_of_all_items(fitted: SemanticRecommender) -> None:
    scores = fitted.score(fitted.log)
    assert scores.shape == (2 * ITEMS, ITEMS + 1)
    assert bool(torch.isneginf(scores[:, 0]).all())
    torch.testing.assert_close(torch.logsumexp(scores, 1), torch.zeros(2 * ITEMS), rtol=0, atol=1e-4)
    one = fitted.score(fitted.log.rows(np.asarray([5])))
    torch.testing.assert_close(one[0], scores[5], rtol=1e-5, atol=1e-5)


def test_the_loss_is_the_score_of_the_target(fitted: SemanticRecommender, dataset: Dataset) -> None:
    """Where all items are trained ones, both go over the same codes."""
    batch = next(Sequences(dataset.interactions, 50, 200).batches(0, 0))
    assert batch.targets is not None
    with torch.no_grad():
        loss = float(fitted.model.loss(batch))
    wanted = []
    for row, t in zip(*np.nonzero(batch.targets.numpy()), strict=True):
        history = fitted.catalog.vocabulary.decode(batch.items[row, : t + 1].numpy())
        scores = fitted.score(fitted.histories([Query(history=history)]))[0]
        wanted.append(-float(scores[batch.targets[row, t]]))
    assert len(wanted) > 100
    assert loss == pytest.approx(np.mean(wanted), rel=1e-3, abs=1e-5)


def test_a_wide_beam_answers_as_all_scores_do(fitted: SemanticRecommender) -> None:
    for n in range(0, ITEMS, 5):
        history = [f"i{n:02d}", f"i{(n + 1) % ITEMS:02d}"]
        answer = fitted.recommend(history=history, k=10, filters=Filters(exclude_seen=True))
        exact = fitted.score(fitted.histories([Query(history=history)]))[0]
        exact[torch.from_numpy(fitted.catalog.vocabulary.encode(history).astype(np.int64))] = -torch.inf
        best = torch.topk(exact, 10)
        assert answer.ids == list(fitted.catalog.vocabulary.decode(best.indices.numpy()))
        np.testing.assert_allclose([item.score for item in answer], best.values, rtol=1e-4, atol=1e-4)


def test_a_beam_of_one_still_gives_k_items_that_exist(dataset: Dataset) -> None:
    narrow = fit(dataset, recommender={"kind": "semantic", "levels": 2, "codes": 6, "beam": 1})
    answer = narrow.recommend(history=["i03"], k=4, candidates=["i00", "i09", "i26", "i27", "i04"])
    assert set(answer.ids) <= {"i00", "i09", "i26", "i27", "i04"}
    assert len(answer) == 4
    assert narrow.recommend(history=["i03"], k=5, diversity=0.5).ids
    assert narrow.recommend(k=3).source == "popularity"


def test_new_items_can_be_ranked_at_once(saved: Callable[[], SemanticRecommender], tmp_path: Path) -> None:
    recommender = saved()
    before = recommender.model.ids.codes.copy()
    new = pl.DataFrame({"item": ["new1", "new2", "i00"], "title": ["red lamp", "striped sofa", "no longer this"]})
    assert recommender.add_items(new) == 2
    codes = recommender.model.ids.codes
    assert np.array_equal(codes[:ITEMS], before)
    assert len(np.unique(codes, axis=0)) == ITEMS + 2
    assert np.array_equal(codes[ITEMS, :-1], before[0, :-1])  # the other red lamps
    scores = recommender.score(recommender.log)
    assert bool(torch.isfinite(scores[:, 1:]).all())
    torch.testing.assert_close(torch.logsumexp(scores, 1), torch.zeros(len(scores)), rtol=0, atol=1e-4)
    answer = recommender.recommend(history=["i27", "new2"], k=3, candidates=["new1", "new2", "i05"])
    assert set(answer.ids) == {"new1", "new2", "i05"}
    assert recommender.add_items(new) == 0
    with pytest.raises(DataError, match="an id of type String in every row"):
        recommender.add_items(pl.DataFrame({"item": ["new3", None], "title": ["tin", "tray"]}))
    recommender.save(tmp_path / "longer")
    assert torch.equal(Recommender.load(tmp_path / "longer").score(recommender.log), scores)


def test_words_have_codes_too(fitted: SemanticRecommender) -> None:
    """Words in the title of an item stand for it: its codes, its vector, its followers."""
    title = TITLES[7]
    rows = fitted.word_vectors([title])
    assert torch.allclose(rows[0], fitted.model.item_table()[8], atol=1e-6)
    assert fitted.recommend(history=[title], k=3).ids == fitted.recommend(history=["i07"], k=3).ids
    assert fitted.recommend(words="blue clock", k=3).source == "model"


def test_an_item_of_no_event_is_not_pushed_down(dataset: Dataset) -> None:
    """A twin of a sold item, unknown to the log, stands close to it; a softmax over all codes would bury it."""
    items = pl.concat([table(), pl.DataFrame({"item": ["twin"], "title": ["blue mirror"]})])
    made = fit(build_dataset(rows(), items))
    ranks = []
    for n in range(ITEMS):
        scores = made.score(made.histories([Query(history=[f"i{n:02d}"])]))[0]
        ranks.append(int((scores > scores[made.catalog.size - 1]).sum()))
    own = TITLES.index("blue mirror")
    assert ranks[own - 1] == min(ranks)
    assert ranks[own - 1] <= 2


def test_a_saved_one_gives_the_same_scores(
    fitted: SemanticRecommender, saved: Callable[[], SemanticRecommender], tmp_path: Path
) -> None:
    again = saved()
    assert torch.equal(again.score(again.log), fitted.score(fitted.log))
    assert again.recommend(user="u3", k=5).to_dict() == fitted.recommend(user="u3", k=5).to_dict()
    described = describe(tmp_path / "model")
    assert described.parameters == sum(p.numel() for p in fitted.model.parameters())
    (tmp_path / "model" / "semantic_ids.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        Recommender.load(tmp_path / "model")


def test_without_texts_the_log_gives_the_codes(dataset: Dataset) -> None:
    made = fit(build_dataset(rows()))
    assert made.recommend(history=["i03"], k=1).ids == ["i04"]
    with pytest.raises(ConfigError, match="fitted without texts of items"):
        made.add_items(pl.DataFrame({"item": ["new"], "title": ["red lamp"]}))


def test_features_are_refused(dataset: Dataset) -> None:
    with pytest.raises(ConfigError, match="by their codes alone"):
        fit(build_dataset(rows(), table().with_columns(price=pl.lit(1.0))), features={"columns": ["price"]})


def test_compare_takes_it_by_name() -> None:
    settings = Settings.of({"baselines": ["popularity"]})
    few = {"training.epochs": 1, "encoder.dim": 16}
    report = compare(rows(), table(), ["semantic"], settings=settings, overrides=few)
    assert "semantic" in report.models
    assert report.models["semantic"].result.metrics["ndcg@10"] >= 0.0
