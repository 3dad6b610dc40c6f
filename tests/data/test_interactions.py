"""The way back to external ids."""

import polars as pl

from temporec.data.dataset import build_dataset


def test_external_ids_come_back_and_an_unknown_kind_stays_unknown() -> None:
    frame = pl.DataFrame(
        {"user": ["b", "a", "a"], "item": ["y", "x", "y"], "time": [3000, 1000, 2000], "kind": ["buy", None, "view"]}
    )
    dataset = build_dataset(frame)
    back = dataset.interactions.to_frame(dataset.catalog.vocabulary)
    assert back.select("user", "item", "time", "kind").rows() == [
        ("a", "x", 1000, None), ("a", "y", 2000, "view"), ("b", "y", 3000, "buy"),
    ]  # fmt: skip
