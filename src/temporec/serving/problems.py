"""Errors as problem+json (RFC 9457): status, title, and the sentence of what to do."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson

from temporec.errors import (
    CheckpointError,
    EventConflictError,
    StoreBusyError,
    StoreError,
    TemporecError,
    UnknownIdError,
    UnknownNameError,
)

__all__ = ["MEDIA_TYPE", "Problem", "of_error", "of_validation"]

MEDIA_TYPE = "application/problem+json"
_STATUS: tuple[tuple[type[TemporecError], int, str], ...] = (
    (EventConflictError, 409, "conflict"),
    (StoreBusyError, 429, "busy"),
    (StoreError, 503, "store"),
    (CheckpointError, 409, "checkpoint"),
    (UnknownNameError, 404, "unknown-name"),
    (UnknownIdError, 422, "unknown-id"),
    (TemporecError, 422, "invalid"),
)
_SHOWN = 10  # errors of one body that are named


class Problem(Exception):  # noqa: N818
    """An answer that is an error. `code` names the kind in `type`; `detail` says what came and what to do."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers, self.errors = dict(headers or {}), list(errors)

    def body(self, request: str) -> bytes:
        """The document, with the id of the request."""
        document: dict[str, Any] = {
            "type": f"urn:temporec:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "request": request,
        }
        if self.errors:
            document["errors"] = self.errors
        return orjson.dumps(document)


def of_error(error: TemporecError, unknown: int = 422) -> Problem:
    """The problem of a library error; `unknown` is the status of an id that does not exist."""
    status, code = next((status, code) for kind, status, code in _STATUS if isinstance(error, kind))
    if code == "unknown-id":
        status = unknown
    return Problem(status, code, str(error), headers={"retry-after": "1"} if status in (429, 503) else None)


def of_validation(errors: Sequence[Any], where: str = "") -> Problem:
    """The problem of values that a schema refuses: each place and what is wrong there, never the value itself."""
    named = []
    for error in errors[:_SHOWN]:
        place = ".".join(str(part) for part in error["loc"])
        named.append({"where": f"{where}.{place}" if where else place, "what": error["msg"]})
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    detail = f"{named[0]['where']}: {named[0]['what']}{more}; see /v1/openapi.json for what is allowed"
    return Problem(422, "invalid", detail, errors=named)
