"""How answers look, for the OpenAPI document."""

from http import HTTPStatus
from typing import Any

from temporec.serving.problems import MEDIA_TYPE

__all__ = ["ANSWER", "EXPLANATION", "PROBLEM", "document", "problems"]

_TYPES = {int: "integer", str: "string", bool: "boolean", list: "array", float: "number", dict: "object"}
_ID = {"anyOf": [{"type": "string"}, {"type": "integer"}]}
_NULL = {"type": "null"}

PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "required": ["type", "title", "status", "detail", "request"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What came, what is allowed, what to do."},
        "request": {"type": "string"},
        "errors": {"type": "array", "items": {"type": "object"}},
    },
}
ROW = {
    "type": "object",
    "required": ["rank", "item", "title", "score", "probability"],
    "properties": {
        "rank": {"type": "integer"},
        "item": _ID,
        "title": {"anyOf": [{"type": "string"}, _NULL]},
        "score": {"type": "number"},
        "probability": {"type": "number"},
        "why": {"type": "string"},
    },
}


def document(title: str, /, **fields: type) -> dict[str, Any]:
    """An answer with some required fields."""
    schema = {
        "type": "object",
        "title": title,
        "required": list(fields),
        "properties": {name: {"type": _TYPES[kind]} for name, kind in fields.items()},
    }
    return {"description": title, "content": {"application/json": {"schema": schema}}}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Errors that a route can answer with, and those that every route can."""
    every = (400, 401, 403, 404, 405, 408, 413, 415, 421, 429, 500, 504)
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in sorted({*statuses, *every})
    }


ANSWER = document("Recommendations", source=str, version=str, request=str, items=list)
ANSWER["content"]["application/json"]["schema"]["properties"] |= {
    "user": {"anyOf": [*_ID["anyOf"], _NULL]},
    "items": {"type": "array", "items": ROW},
}
EXPLANATION = document("Explanation", title=str, source=str, k=int, rank=int, of=int, score=float, why=str, text=str)
EXPLANATION["content"]["application/json"]["schema"]["properties"] |= {
    "item": _ID,
    "score": {"anyOf": [{"type": "number"}, _NULL], "description": "null: nothing is known of the item yet."},
}
