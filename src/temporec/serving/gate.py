"""What every request passes: host, token, rate, size and time; and what every answer gets: headers, log, figures."""

import asyncio
import itertools
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from temporec.errors import TemporecError
from temporec.serving.logs import log
from temporec.serving.problems import MEDIA_TYPE, Problem, of_error
from temporec.serving.security import API_POLICY, HEADERS, PAGE_POLICY, Token, allows, is_foreign, role_needed
from temporec.serving.service import Service
from temporec.serving.settings import LOOPBACK_NAMES
from temporec.serving.tracing import Tracer, route_of

__all__ = ["App", "Gate"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
_PROBES = ("/healthz", "/readyz")  # asked by whatever runs the service, under any name
_CLOSE = {"connection": "close"}


class Gate:
    """The outermost ASGI application. `shortcut` may answer a request before `app` is asked."""

    def __init__(self, app: App, shortcut: Callable[[Scope], App | None], service: Service, tracer: Tracer) -> None:
        self.app, self.shortcut, self.service, self.tracer = app, shortcut, service, tracer
        self.hosts = frozenset(name.lower() for name in service.config.allowed_hosts)
        self._prefix, self._count = secrets.token_hex(4), itertools.count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        began = time.perf_counter()
        headers = dict(reversed(scope["headers"]))  # of a repeated header, the first
        given = headers.get(b"x-request-id", b"")
        request = given.decode() if _REQUEST_ID.fullmatch(given) else f"{self._prefix}-{next(self._count):x}"
        scope.setdefault("state", {})["request"] = request
        answer = _Answer(send, request, scope["path"])
        failed: BaseException | None = None
        body_is_here = False
        with self.tracer.span(scope, answer):
            try:
                async with asyncio.timeout(self.service.config.timeout):
                    scope["state"]["token"] = self._admit(scope, headers, began).name
                    if scope["method"] in _WITH_BODY:
                        receive = await self._body(headers, receive)
                    body_is_here = True
                    await (self.shortcut(scope) or self.app)(scope, receive, answer.send)
            except Problem as problem:
                await answer.problem(problem)
            except TemporecError as error:
                await answer.problem(of_error(error))
            except TimeoutError:
                seconds = self.service.config.timeout
                text = f"the body did not come within {seconds:g} s; send it again, or send less"
                late = Problem(408, "slow", text, headers=_CLOSE)
                none = Problem(504, "timeout", f"no answer within {seconds:g} s; ask for less, or later")
                await answer.problem(none if body_is_here else late)
            except Exception as error:
                failed = error
                text = f"the service has failed at this; tell its operator the request {request}"
                await answer.problem(Problem(500, "internal", text))
        self._note(scope, answer, time.perf_counter() - began, failed)

    def _admit(self, scope: Scope, headers: dict[bytes, bytes], now: float) -> Token:
        """Refuse a wrong host, page, token, role or rate."""
        service = self.service
        hosts = self.hosts or (frozenset(LOOPBACK_NAMES) if service.tokens.is_open else None)
        if hosts is not None and scope["path"] not in _PROBES:
            host = headers.get(b"host", b"").decode("latin-1").lower()
            if host not in hosts and host.rpartition(":")[0] not in hosts:
                raise Problem(421, "host", "this service does not answer to that Host; set allowed_hosts to let it")
        if scope["method"] in _WITH_BODY and is_foreign(headers, service.config.cors):
            raise Problem(403, "origin", "a page of another origin may change nothing here; set cors to let it")
        needed = role_needed(scope["method"], scope["path"])
        if needed is None:
            return Token("nobody", "read", "")
        token = service.tokens.check(headers.get(b"authorization"))
        service.limit.spend(token.name, now)
        if not allows(token.role, needed):
            raise Problem(403, "forbidden", f"this needs a token with the role {needed}; yours has {token.role}")
        return token

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> Receive:
        """Read the whole body, which must be JSON and small, so that nothing else has to wait for a slow sender."""
        most = self.service.config.max_body
        length = headers.get(b"content-length", b"0")
        if (length.isdigit() and int(length[:20]) > most) or not length.isdigit():
            raise _too_large(most)
        parts, size = [], 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise Problem(400, "disconnect", "the body ended early; send it again")
            parts.append(message.get("body", b""))
            if (size := size + len(parts[-1])) > most:
                raise _too_large(most)
            if not message.get("more_body"):
                break
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if size and kind != b"application/json":
            raise Problem(415, "media-type", "send JSON, with the header Content-Type: application/json")
        whole: Message = {"type": "http.request", "body": b"".join(parts), "more_body": False}
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return whole

        return replay

    def _note(self, scope: Scope, answer: "_Answer", seconds: float, failed: BaseException | None) -> None:
        route = route_of(scope)
        self.service.metrics.answered(f"{scope['method']} {route}", answer.status, seconds)
        if failed is not None:
            log("a request failed", level=logging.ERROR, failed=failed, request=answer.request, route=route)
        if self.service.config.log_requests or answer.status >= 500:
            self.service.requests.add(
                request=answer.request,
                method=scope["method"],
                route=route,
                status=answer.status,
                ms=round(1000 * seconds, 2),
                token=scope["state"].get("token"),
            )


class _Answer:
    """The way of an answer to the client: headers are added, the status is noted."""

    def __init__(self, send: Send, request: str, path: str) -> None:
        self._send, self.request = send, request
        self.status, self.started = 499, False
        self._is_page = path == "/" or path.startswith("/static/")

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.started = message["status"], True
            message["headers"] = [*message["headers"], *HEADERS, *self._own()]
        await self._send(message)

    def _own(self) -> list[tuple[bytes, bytes]]:
        request = (b"x-request-id", self.request.encode())
        if self._is_page:
            return [request, (b"content-security-policy", PAGE_POLICY), (b"cache-control", b"no-cache")]
        return [request, (b"content-security-policy", API_POLICY), (b"cache-control", b"no-store")]

    async def problem(self, problem: Problem) -> None:
        """Answer with an error, unless an answer has begun."""
        if self.started:
            return
        body = problem.body(self.request)
        headers = [(name.encode(), value.encode()) for name, value in problem.headers.items()]
        headers += [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _too_large(most: int) -> Problem:
    return Problem(413, "too-large", f"a body may have {most:,} bytes; send less at once", headers=_CLOSE)
