"""What a request may show."""

import polars as pl
import pytest

from temporec.data.catalog import Catalog
from temporec.errors import ColumnError, UnknownIdError
from temporec.ranking.filters import Filters, allowed_mask


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    items = pl.DataFrame(
        {
            "item": ["a", "b", "c", "d"],
            "brand": ["x", "y", "x", None],
            "tags": [["new", "red"], ["red"], [], None],
            "price": [1, 2, 3, 4],
            "photo": [[0.1, 0.2]] * 4,
        }
    )
    return Catalog.build(pl.Series(["a"]), items)


def shown(filters: Filters, catalog: Catalog) -> str:
    mask = allowed_mask(filters, catalog)
    assert mask is not None
    assert not mask[0]
    return "".join(str(item) for item in catalog.vocabulary.decode(mask.nonzero()[:, 0].numpy()))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(blocked=["b"]), "acd"),
        (Filters(allowed=["b", "a"]), "ab"),
        (Filters(allowed=[]), ""),
        (Filters(allowed=["a", "b"], blocked=["a"]), "b"),
        (Filters(category={"brand": ["x"]}), "ac"),
        (Filters(category={"brand": "x"}), "ac"),
        (Filters(category={"tags": ["red"]}), "ab"),
        (Filters(category={"tags": ["new", "other"]}), "a"),
        (Filters(category={"tags": ["red"], "brand": ["y"]}), "b"),
        (Filters(category={"price": ["2"]}), "b"),
        (Filters(category={"price": [2, 3]}), "bc"),  # type: ignore[list-item]
        (Filters(category={"tags": []}), ""),
        (Filters(category={"brand": []}), ""),
    ],
)
def test_rules(filters: Filters, expected: str, catalog: Catalog) -> None:
    assert shown(filters, catalog) == expected


def test_no_rules_need_no_mask(catalog: Catalog) -> None:
    assert allowed_mask(Filters(exclude_seen=True), catalog) is None


def test_errors_name_what_is_wrong(catalog: Catalog) -> None:
    with pytest.raises(UnknownIdError, match="'zz'"):
        allowed_mask(Filters(blocked=["zz"]), catalog)
    with pytest.raises(ColumnError, match=r"'colour'.*brand"):
        allowed_mask(Filters(category={"colour": ["red"]}), catalog)
    with pytest.raises(ColumnError, match=r"'photo'.*has: brand, tags, price$"):
        allowed_mask(Filters(category={"photo": ["0.1"]}), catalog)
