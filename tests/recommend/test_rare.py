"""Rows of items with few events stand between what was learned and what their texts say; others hardly move."""

import numpy as np
import pytest
import torch
from tests.recommend.test_cold import fit

from temporec.model import ModelInputs, SequenceModel
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.rare import mix_rare_items
from temporec.recommend.text_map import TextMap

ITEMS, DIM = 60, 8


def parts(fuse: str = "start") -> tuple[SequenceModel, TextMap, np.ndarray, np.ndarray]:
    """A table whose rows follow the texts, and items with 1 to 1,000 events."""
    draw = np.random.default_rng(0)
    texts = draw.normal(size=(ITEMS, 6)).astype(np.float32)
    texts[5] = 0.0
    events = np.logspace(0, 3, ITEMS).astype(np.int64)
    events[7] = 0
    config = FitConfig.of({"encoder": {"kind": "gru", "dim": DIM}, "fuse": fuse})
    vectors = None if fuse == "start" else torch.from_numpy(texts)
    model = SequenceModel(config, ModelInputs(ITEMS + 1, vectors=vectors))
    if fuse == "start":
        with torch.no_grad():
            rows = texts @ draw.normal(size=(6, DIM)) + 0.5 * draw.normal(size=(ITEMS, DIM))
            model.get_parameter("items.0.weight")[1:] = torch.from_numpy(rows)
    text_map = TextMap.fit(texts, model.item_table(), events)
    assert text_map is not None
    return model, text_map, texts, events


def test_the_fewer_events_the_nearer_to_the_text() -> None:
    model, text_map, texts, events = parts()
    before = model.item_table().detach().clone()
    assert mix_rare_items(model, text_map, texts, events, 2.0, None) == 2.0
    after = model.item_table().detach()
    moved = (1 - torch.cosine_similarity(before[1:], after[1:])).numpy()
    known = (events > 0) & texts.any(axis=1)
    other = torch.from_numpy(np.flatnonzero(~np.insert(known, 0, False)))  # PAD among them
    assert torch.equal(before[other], after[other])
    assert moved[known][:10].mean() > 10 * moved[known][-10:].mean()
    torch.testing.assert_close(before.norm(dim=1), after.norm(dim=1))


def test_an_item_does_not_vouch_for_itself() -> None:
    """What a text tells of a known item comes from other rows: its own one may be anything."""
    _, text_map, texts, events = parts()
    known = np.flatnonzero((events > 0) & texts.any(axis=1))
    places = np.arange(len(known))
    told = text_map(texts[known], places)
    text_map.rows[3] = -text_map.rows[3]
    again = text_map(texts[known], places)
    assert torch.equal(told[3], again[3])
    assert not torch.equal(text_map(texts[known])[3], again[3])


def test_the_judge_chooses_and_without_one_nothing_changes() -> None:
    model, text_map, texts, events = parts()
    before = model.item_table().detach().clone()
    assert mix_rare_items(model, text_map, texts, events, None, None) == 0.0
    assert torch.equal(model.item_table(), before)
    told = iter([0.1, 0.1, 0.3, 0.2, 0.1])
    assert mix_rare_items(model, text_map, texts, events, None, lambda: next(told)) == 1.0
    chosen = model.item_table().detach().clone()
    again, *rest = parts()
    again.load_state_dict({**again.state_dict(), "items.0.weight": before})
    assert mix_rare_items(again, *rest, 1.0, None) == 1.0
    torch.testing.assert_close(again.item_table(), chosen)
    same = again.item_table().detach().clone()
    assert mix_rare_items(again, *rest, None, lambda: 0.3) == 0.0
    assert torch.equal(again.item_table(), same)


def test_a_table_of_several_parts_stays() -> None:
    model, text_map, texts, events = parts("add")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert mix_rare_items(model, text_map, texts, events, 2.0, None) == 0.0
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("fade", [0.0, 1.0])
def test_a_fit_with_a_fade(fade: float) -> None:
    """The same training; only the rows of items with texts differ, and words still find them."""
    made = fit(cold={"fade": fade})
    plain = fit(cold={"fade": 0.0})
    table, other = made.model.state_dict(), plain.model.state_dict()
    same = {name for name in table if torch.equal(table[name], other[name])}
    assert set(table) - same == (set() if fade == 0.0 else {"items.0.weight"})
    assert {str(item).split("-")[0] for item in made.recommend(words="mug", k=4).ids} == {"mug"}
