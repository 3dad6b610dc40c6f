"""`temporec.Client` against a real service: the verbs of a recommender, and errors as in Python."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import temporec
from temporec.data.dataset import build_dataset
from temporec.errors import DataError, EventConflictError, ServiceError, UnknownIdError, UnknownNameError
from temporec.recommend.base import Recommender
from temporec.recommend.fit_config import FitConfig
from temporec.recommend.fitting import fit_recommender
from temporec.recommend.query import Event
from temporec.runtime import RunOptions


@pytest.fixture(scope="module")
def client(server: Any) -> Iterator[temporec.Client]:
    with temporec.Client(server.url) as made:
        yield made


def test_answers_are_those_of_the_model(client: temporec.Client, model: Path) -> None:
    offline = Recommender.load(model)
    filters = temporec.Filters(blocked=["i9"], allowed=[f"i{n}" for n in range(15)], exclude_seen=False)
    for fields in ({"user": "u3"}, {"history": ["i1", Event("i2", 1_800_000_000)]}, {"user": "u4", "filters": filters}):
        answer, own = client.recommend(k=4, **fields), offline.recommend(k=4, **fields)  # type: ignore[arg-type]
        assert answer.ids == own.ids
        assert [row.title for row in answer] == [row.title for row in own]
        assert answer.version == "v1"
    assert client.similar("i3", 4).ids == offline.similar("i3", 4).ids
    category = temporec.Filters(category={"price": ["3.0", "12.0"]})
    assert client.recommend(user="u9", filters=category).ids == offline.recommend(user="u9", filters=category).ids
    found, own_reason = client.explain("i6", user="u0"), offline.explain("i6", user="u0")
    assert (found.rank, found.place, found.why_not) == (own_reason.rank, own_reason.place, own_reason.why_not)
    assert found.to_text()
    assert [event.item for event in found.events] == [event.item for event in own_reason.events]


def test_a_profile_counts_in_an_explanation(tmp_path: Path, start: Callable[..., Any]) -> None:
    """Users of one town walk along the first half of a circle of items, those of the other along the second."""
    rows = [(f"u{u}", f"i{u % 2 * 10 + (u // 2 + t) % 10}", 1_700_000_000_000 + t) for u in range(40) for t in range(6)]
    users = pl.DataFrame(
        {"user": [f"u{u}" for u in range(40)], "town": ["Oslo", "Lima"] * 20, "member": [True, False] * 20}
    )
    dataset = build_dataset(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row"))
    config = FitConfig.of({
        "encoder": {"kind": "gru", "dim": 16}, "dropout": 0.0, "training": {"epochs": 20, "lr": 0.01, "tokens": 256},
    })  # fmt: skip
    made = fit_recommender(replace(dataset, users=users), config, RunOptions(precision="fp32")).recommender
    made.save(tmp_path / "shop")
    server = start(tmp_path / "shop")
    with temporec.Client(server.url) as client:
        ranks = []
        for profile in ({"town": "Oslo", "member": True}, {"town": "Lima"}):
            own, found = made.explain("i3", profile=profile), client.explain("i3", profile=profile)
            assert (found.rank, found.source) == (own.rank, own.source)
            assert found.score == pytest.approx(own.score, abs=1e-4)
            ranks.append(found.rank)
        assert ranks[0] < ranks[1]
        with pytest.raises(DataError, match="colour"):
            client.explain("i3", profile={"colour": "red"})
    refused = server.http.get("/v1/explanations", params={"item": "i3", "profile": "town"})
    assert refused.status_code == 422
    assert "column=value" in refused.json()["detail"]


def test_events_items_feedback_and_forgetting(client: temporec.Client) -> None:
    client.send("c1", "i1", kind="view")
    assert client.history("c1")[0].item == "i1"
    assert "i1" not in client.recommend(user="c1", k=100).ids
    rows = [("c2", f"i{n}", 1_800_000_000_000 + n) for n in range(12)]
    assert client.update(pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")) == 12
    assert [event.item for event in client.history("c2")] == [row[1] for row in rows]
    assert client.add_items(pl.DataFrame({"item": ["c-new"], "title": ["thing number 3"]})) == 1
    assert "c-new" in client.recommend(user="c1", k=100).ids
    client.remove_item("c-new")
    assert "c-new" not in client.recommend(user="c1", k=100).ids
    answer = client.recommend(user="c1", k=2)
    client.feedback(answer, answer.ids[0], "clicked")
    assert 'temporec_feedback_total{action="clicked",version="v1"} 1.0' in client._http.get("/metrics").text
    assert client.forget("c2")["events"] == 12
    assert client.recommend(user="c2").source == "popularity"


@pytest.mark.parametrize(
    "user", ["a/b", "../../etc", "50%", "a?b#c", "ünï ☃", "x" * 500, "'; DROP TABLE users;--", "."]
)
def test_any_id_finds_its_user(client: temporec.Client, user: str) -> None:
    client.send(user, "i2")
    assert [event.item for event in client.history(user)] == ["i2"]
    assert "i2" not in client.recommend(user=user, k=100).ids
    assert client.forget(user)["events"] == 1


def test_errors_are_those_of_python(client: temporec.Client, server: Any) -> None:
    with pytest.raises(UnknownIdError, match="nix"):
        client.send("c3", "nix")
    with pytest.raises(UnknownIdError, match="nix"):
        client.similar("nix")
    with pytest.raises(UnknownNameError, match="v9"):
        client.activate("v9")
    client.send("c3", "i1", 1_800_000_000, id="c3-1")
    with pytest.raises(EventConflictError, match="c3-1"):
        client.send("c3", "i2", 1_800_000_000, id="c3-1")
    with pytest.raises(DataError, match="k"):
        client.recommend(user="c3", k=5_000)
    with temporec.Client("http://127.0.0.1:1") as nowhere, pytest.raises(ServiceError, match="temporec serve"):
        nowhere.status()
    assert client.status()["version"] == client.models()["current"] == "v1"


def test_a_token_is_sent(copied: Callable[[], Path], start: Callable[..., Any], temporec: Any) -> None:
    from temporec import Client

    folder = copied()
    secret = temporec("tokens", "add", folder, "shop", "--role", "write").stdout.strip()
    server = start(folder)
    with Client(server.url) as nobody, pytest.raises(ServiceError, match="token"):
        nobody.status()
    with Client(server.url, token=secret) as client:
        client.send("u1", "i19")
        with pytest.raises(ServiceError, match="admin"):
            client.forget("u1")
