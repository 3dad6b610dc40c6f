"""The shipped sheet is whole, raw and small, and goes through reader and cleaning."""

import polars as pl

from temporec.data.clean import CleanConfig, clean
from temporec.data.readers import map_columns, read_table
from temporec.data.samples import SERVICE_CODES, online_retail, online_retail_items, online_retail_path


def test_the_sheet_is_whole_and_raw() -> None:
    frame = online_retail()
    assert frame.shape == (541_909, 8)
    assert frame["CustomerID"].n_unique() == 4_372 + 1  # one of them: missing
    assert frame["StockCode"].n_unique() == 4_070
    assert frame["CustomerID"].null_count() == 135_080
    assert frame["Quantity"].sum() == 5_176_450
    assert frame["InvoiceNo"].str.starts_with("C").sum() == 9_288
    assert online_retail_path().stat().st_size < 2_700_000
    licence = online_retail_path().with_name("README.md").read_text(encoding="utf-8")
    assert "CC BY 4.0" in licence
    assert "10.24432/C5BW33" in licence


def test_it_reads_and_cleans() -> None:
    log = map_columns(read_table(online_retail_path()))
    assert log.columns == ["user", "item", "time", "value", "order"]
    out, report = clean(log, CleanConfig(drop_items=SERVICE_CODES))
    found = {rule.rule: rule.rows for rule in report.rules}
    assert found["missing_user"] == 135_080
    assert found["cancellations"] > 8_000
    assert 380_000 < len(out) < 400_000
    assert out["value"].min() == 1


def test_titles() -> None:
    items = online_retail_items()
    assert items.columns == ["item", "title"]
    assert items["item"].is_unique().all()
    assert items.filter(pl.col("item") == "85123A")["title"].item() == "WHITE HANGING HEART T-LIGHT HOLDER"
    sold = clean(map_columns(online_retail()), CleanConfig(drop_items=SERVICE_CODES))[0]["item"].unique()
    assert (~sold.is_in(items["item"].implode())).sum() <= 2
