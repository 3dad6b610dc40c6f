"""Temporec: temporal-dependency modelling in recommender systems, from a raw log to next-item recommendations."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from temporec.data.catalog import Catalog
    from temporec.data.clean import CleanConfig
    from temporec.data.columns import ColumnMap
    from temporec.data.dataset import Dataset
    from temporec.data.interactions import Interactions
    from temporec.errors import TemporecError
    from temporec.ranking.filters import Filters
    from temporec.recommend.base import Recommender
    from temporec.recommend.explanation import Explanation
    from temporec.recommend.fit_config import FitConfig
    from temporec.recommend.query import Event, Query, Recommendation, Recommendations
    from temporec.registry import register
    from temporec.runtime import RunOptions
    from temporec.serving.client import Client
    from temporec.workflow import LoadConfig, ProtocolConfig, Settings, compare, doctor, evaluate, fit, load  # type: ignore[no-redef]

__version__ = "0.1.0"

_WHERE = {
    "Catalog": "data.catalog",
    "CleanConfig": "data.clean",
    "Client": "serving.client",
    "ColumnMap": "data.columns",
    "Dataset": "data.dataset",
    "Event": "recommend.query",
    "Explanation": "recommend.explanation",
    "Filters": "ranking.filters",
    "FitConfig": "recommend.fit_config",
    "Interactions": "data.interactions",
    "LoadConfig": "workflow",
    "ProtocolConfig": "workflow",
    "Query": "recommend.query",
    "Recommendation": "recommend.query",
    "Recommendations": "recommend.query",
    "Recommender": "recommend.base",
    "RunOptions": "runtime",
    "Settings": "workflow",
    "TemporecError": "errors",
    "compare": "workflow",
    "doctor": "workflow",
    "evaluate": "workflow",
    "fit": "workflow",
    "load": "workflow",
    "register": "registry",
}

__all__ = [
    "Catalog",
    "CleanConfig",
    "Client",
    "ColumnMap",
    "Dataset",
    "Event",
    "Explanation",
    "Filters",
    "FitConfig",
    "Interactions",
    "LoadConfig",
    "ProtocolConfig",
    "Query",
    "Recommendation",
    "Recommendations",
    "Recommender",
    "RunOptions",
    "Settings",
    "TemporecError",
    "compare",
    "doctor",
    "evaluate",
    "fit",
    "load",
    "register",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'temporec' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(import_module(f"temporec.{_WHERE[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
