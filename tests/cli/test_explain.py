"""temporec explain and recommend --why: the command line says what Python says, under the same names."""

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from temporec.recommend.base import Recommender
from temporec.recommend.explanation import Explanation, Removal
from temporec.recommend.query import Query

Answered = Callable[..., str]
PAGE = Path(__file__).parents[2] / "docs" / "explain.md"


@pytest.fixture(scope="module")
def model(shop: Path) -> Recommender:
    return Recommender.load(shop)


def test_json_is_what_python_gives(answered: Answered, shop: Path, model: Recommender) -> None:
    words = ["--user", "u3", "--history", "i7,i8", "--at", "2020-10-01", "--k", "4", "--block", "i10,i11"]
    query = Query(user="u3", history=["i7", "i8"], at="2020-10-01", k=4)
    shown, hidden = model.recommend(query).ids[0], "i10"
    for item in (str(shown), hidden):
        found = json.loads(answered("explain", shop, "--item", item, *words, "--json"))
        assert set(found) == {field.name for field in fields(Explanation)} | {"why", "text"}
    assert found["why_not"] == ["blocked"]
    plain = json.loads(answered("explain", shop, "--item", str(shown), *words[:-2], "--json"))
    assert plain == json.loads(json.dumps(model.explain(shown, query).to_dict()))


def test_text_for_people(answered: Answered, shop: Path, model: Recommender) -> None:
    said = answered("explain", shop, "--history", "i1,i4", "--item", "i4", "--k", "3")
    assert said == f"i4\n\n{model.explain('i4', history=['i1', 'i4'], k=3).to_text()}\n"
    assert "the history has it already" in said


def test_recommend_why(answered: Answered, shop: Path, model: Recommender) -> None:
    words = ["recommend", shop, "--user", "u5", "--k", "3"]
    plain = json.loads(answered(*words, "--json"))
    found = json.loads(answered(*words, "--why", "--json"))
    assert [{**row, "why": model.explain(row["item"], user="u5", k=3).why} for row in plain["items"]] == found["items"]
    table = answered(*words, "--why").splitlines()
    assert [line.strip() for line in table[2::2]] == [row["why"] for row in found["items"]]
    assert [table[0], *table[1::2]] == answered(*words).splitlines()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--user", "u3", "--item", "nothing"], "1 item id(s) not in the catalog of 30: 'nothing'"),
        (["--user", "nobody", "--item", "i3"], "user 'nobody' is not among the 80 known users"),
        (["--user", "u3", "--item", "i3", "--at", "soon"], "time 'soon' is not ISO 8601"),
        (["--user", "u3", "--item", "i3", "--k", "0"], "k must be a whole number of at least 1"),
        (["--user", "u3", "--item", "i3", "--category", "brand=x"], "no column 'brand' in the catalog"),
    ],
)
def test_bad_input(refused: Callable[..., str], shop: Path, words: list[str], said: str) -> None:
    assert said in refused("explain", shop, *words)


def test_why_is_for_one_request(refused: Callable[..., str], shop: Path, tmp_path: Path) -> None:
    out = tmp_path / "all.parquet"
    assert "leave out --all-users" in refused("recommend", shop, "--all-users", "--why", "--out", out)
    assert not out.exists()


def test_the_page_names_every_field_and_every_reason(answered: Answered) -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    assert {field.name for field in fields(Explanation)} <= named
    assert re.findall(r"^\| `(\w+)` \|", page.split("| `why_not` |")[1].split("##")[0], re.MULTILINE) == list(
        get_args(Removal)
    )
    options = set(re.findall(r"`(--[a-z]+)`", page))
    assert options <= set(re.findall(r"--[a-z]+", answered("explain", "--help")))
