"""Real data inside the package: the Online Retail sheet as its publisher gives it, nothing cleaned.

541,909 invoice lines of a British gift shop, December 2010 to December 2011, with cancellations, missing customers,
duplicates and entries that are no products. CC BY 4.0; cite Chen, D. (2015), doi 10.24432/C5BW33 (README.md beside it).
"""

from pathlib import Path

import polars as pl

__all__ = ["SERVICE_CODES", "online_retail", "online_retail_items", "online_retail_path"]

SERVICE_CODES = "POST|DOT|[Mm]|D|S|B|C2|BANK CHARGES|AMAZONFEE|CRUK|PADS|gift_.*"
"""StockCodes that are no products (postage, fees, discounts, vouchers ...), for `CleanConfig(drop_items=...)`."""


def online_retail_path() -> Path:
    """Path of the shipped Parquet file, fit for `read_table` and for the command line."""
    return Path(__file__).with_name("online_retail.parquet")


def online_retail() -> pl.DataFrame:
    """The raw sheet: InvoiceNo, StockCode, Description, Quantity, InvoiceDate, UnitPrice, CustomerID, Country."""
    return pl.read_parquet(online_retail_path(), glob=False)


def online_retail_items(frame: pl.DataFrame | None = None) -> pl.DataFrame:
    """One row per StockCode: `item` and `title`, its most frequent Description (first in the alphabet on ties).

    Only lines that were sold count: stock corrections carry remarks such as "damaged" in place of a description.
    """
    frame = online_retail() if frame is None else frame
    named = frame.select(
        pl.col("StockCode").alias("item"),
        pl.col("Description").str.replace_all(r"\s+", " ").str.strip_chars().alias("title"),
        (pl.col("UnitPrice") > 0).alias("sold"),
    ).filter(pl.col("title") != "")
    counts = named.group_by("item", "title").agg(pl.len().alias("n"), pl.col("sold").sum())
    return (
        counts.filter(pl.col("sold") > 0)
        .sort(["item", "sold", "title"], descending=[False, True, False])
        .unique("item", keep="first", maintain_order=True)
        .select("item", "title")
    )
