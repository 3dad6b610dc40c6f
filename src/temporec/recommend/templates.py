"""Texts of items by a template such as "{title}. {categories} {brand}"."""

from string import Formatter

import polars as pl

from temporec.data.catalog import Catalog
from temporec.errors import ColumnError, ConfigError

__all__ = ["check_template", "render"]


def check_template(template: str) -> list[str]:
    """The columns that a template names; raises `ConfigError` where it is not one."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"template {template!r} is not readable: {error}; double a brace that is meant") from None
    names = [name for _, name, _, _ in parts if name is not None]
    if not names or not all(names) or any(form or conversion for _, _, form, conversion in parts):
        raise ConfigError(f"template {template!r} must name columns in braces, such as {{title}} by {{brand}}")
    return names


def render(catalog: Catalog, template: str) -> list[str]:
    """One text per item [V]; a missing value is left out, and an item without any value has the empty text."""
    names, vectors = check_template(template), catalog.columns("vector")
    known = [name for name in catalog.frame.columns if name not in vectors]
    for name in names:
        if name not in known:
            raise ColumnError(f"template: no column {name!r} for texts in the catalog; it has: {', '.join(known)}")
    parts: list[pl.Expr] = []
    values = {name: _text(name, catalog.frame.schema[name]).fill_null("") for name in names}
    for literal, field, _, _ in Formatter().parse(template):
        parts += [pl.lit(literal)] if field is None else [pl.lit(literal), values[field]]
    said = pl.any_horizontal(*(value != "" for value in values.values()))
    text = pl.concat_str(parts).str.replace_all(r"\s+", " ").str.strip_chars()
    return catalog.frame.select(text=pl.when(said).then(text).otherwise(pl.lit("")))["text"].to_list()


def _text(name: str, dtype: pl.DataType) -> pl.Expr:
    if isinstance(dtype, pl.List):
        return pl.col(name).list.join(" ", ignore_nulls=True)
    text = pl.col(name).cast(pl.String)
    return text.str.strip_suffix(".0") if dtype.is_float() else text
