"""Whatever is sent, no answer is a failure of the service: schemathesis over its document, and a fuzz by hand."""

import json
import math
import random
import string
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

EXAMPLES = [300, pytest.param(5_000, marks=pytest.mark.slow)]
TEXTS = [
    "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "'; DROP TABLE temporec_records;--", "<script>alert(1)</script>",
    "\u0000", "a\u0000b", "\ud800", "\uffff", "☃" * 200, "x" * 10_000, "", " ", "\n", "%s%n", "{{7*7}}", "${jndi:ldap://x}",
    "NaN", "-0", "--5", "1e999", "٣", "9" * 400, "null", "true", "v1", "u1", "i1",
]  # fmt: skip
VALUES: list[Any] = [
    *TEXTS, 0, -1, 2**63, -(2**63) - 1, 10**400, 1.5, -0.0, True, None, [], {}, [[]], {"a": {}}, ["i1"] * 20_000,
]  # fmt: skip
ADDRESSES = [
    ("POST", "/v1/events"), ("POST", "/v1/recommendations"), ("PUT", "/v1/items"), ("POST", "/v1/feedback"),
]  # fmt: skip
NAMES = [
    "user",
    "item",
    "time",
    "id",
    "kind",
    "value",
    "history",
    "words",
    "at",
    "k",
    "candidates",
    "filters",
    "diversity",
    "why",
    "version",
    "action",
    "request",
    "title",
    "price",
    "available",
    "exclude_seen",
    "allowed",
    "blocked",
    "category",
]
BODIES = [
    b"", b"{", b"[", b"nul", b'{"user": NaN}', b'{"user":"u1","item":"i1","value":NaN}',
    b'{"user":"u1","item":"i1","value":Infinity}', b'{"user":"u1","item":"i1","value":1e999}', b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"user":"\xff\xfe","item":"i1"}',
    b'{"item":"z","price":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"item":"z","title":"\\ud800"}', b'{"user":"\\ud800","item":"i1"}', b'{"item":"\\u0000","title":"a"}',
    b'{"item":"i1","price":' + b"9" * 5_000 + b"}", b"1" * 2_000_000,
]  # fmt: skip


@pytest.mark.parametrize("examples", EXAMPLES)
def test_schemathesis_finds_no_failure(
    copied: Callable[[], Path], start: Callable[..., Any], examples: int, record_property: Callable[[str, object], None]
) -> None:
    """Answers to right and to wrong data have the status and the form that the document says.

    Operations that take something share the examples, those with a body last: they never run out of examples.
    """
    hypothesis = pytest.importorskip("hypothesis")
    requests = pytest.importorskip("requests")
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    server = start(copied(), "--set", "log_requests=false", "--set", "rate=0")
    schema = schemathesis.openapi.from_url(f"{server.url}/v1/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 18
    operations.sort(key=lambda each: (len(each.body) > 0, len(each.query) > 0, len(each.path_parameters) > 0))
    rich = [each for each in operations if len(each.body) + len(each.query) + len(each.path_parameters) > 0]
    plain = [each for each in operations if each not in rich]
    modes = list(schemathesis.GenerationMode)
    turns = [(each, modes[0]) for each in plain] + [(each, mode) for each in rich for mode in modes]
    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    sent, free = Counter[str](), list[str]()
    began, session = time.monotonic(), requests.Session()
    session.hooks["response"].append(lambda answer, **_: sent.update([f"{answer.status_code // 100}xx"]))
    for turn, (operation, mode) in enumerate(turns):

        @hypothesis.settings(
            max_examples=math.ceil(max(1, examples - sent.total()) / (len(turns) - turn)),
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def check(case: Any) -> None:
            case.call_and_validate(checks=checks, session=session)

        try:
            check()
        except hypothesis.errors.Unsatisfiable:  # any text is right there, so nothing is wrong
            free.append(f"{operation.label} {mode}")
    session.close()
    assert len(free) <= 4, free
    figures = {"requests": sent.total(), "seconds": round(time.monotonic() - began, 1), **dict(sorted(sent.items()))}
    for name, figure in figures.items():
        record_property(name, figure)
    print(figures, "right or wrong at will:", free)
    assert sent.total() >= examples
    assert sent["2xx"] > examples // 10
    assert sent["4xx"] > examples // 10
    assert server.process.poll() is None
    assert server.http.get("/readyz").status_code == 200


def healthy(answer: httpx.Response) -> bool:
    """Whether an answer is one that the service meant to give."""
    if answer.status_code < 400:
        return True
    kind = answer.headers["content-type"]
    return answer.status_code < 500 and kind.startswith(("application/problem+json", "text/plain"))


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_broken_bodies(server: Any, body: bytes) -> None:
    for method, path in ADDRESSES:
        answer = server.http.request(method, path, content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 413, 422), (path, answer.text[:300])
        assert answer.headers["content-type"] == "application/problem+json"


def test_hostile_values_in_every_field(server: Any) -> None:
    draw = random.Random(7)
    for _ in range(600):
        method, path = draw.choice(ADDRESSES)
        body: Any = {name: draw.choice(VALUES) for name in draw.sample(NAMES, draw.randint(1, 6))}
        if draw.random() < 0.7:
            body |= {"user": draw.choice(TEXTS), "item": draw.choice(["i1", "i2", *TEXTS])}
        if draw.random() < 0.2:
            body = [body] * draw.choice([1, 2, 1_001])
        content = json.dumps(body)[:900_000]
        answer = server.http.request(method, path, content=content, headers={"content-type": "application/json"})
        assert healthy(answer), (method, path, content[:300], answer.text[:300])


def test_hostile_addresses(server: Any) -> None:
    draw = random.Random(8)
    from urllib.parse import quote

    for _ in range(400):
        text = draw.choice(TEXTS).encode("utf-8", "surrogatepass")
        part = quote(text, safe="" if draw.random() < 0.5 else "/%")[:3_000]
        path = draw.choice(
            ["/v1/users/{}/recommendations", "/v1/users/{}/events", "/v1/items/{}/similar", "/v1/{}", "/static/{}",
             "/{}", "/v1/explanations?item={}&user={}", "/v1/users/u1/recommendations?{}={}", "/v1/items?query={}",
             "/v1/users/u1/recommendations?at={}", "/v1/users/u1/recommendations?blocked={}"]
        ).replace("{}", part)  # fmt: skip
        try:
            answer = server.http.request(draw.choice(["GET", "GET", "HEAD", "DELETE", "PATCH", "TRACE"]), path)
        except httpx.InvalidURL:
            continue
        assert healthy(answer), (path[:300], answer.text[:300])
        assert b"root:" not in answer.content


def test_hostile_headers(server: Any) -> None:
    draw = random.Random(9)
    names = ["authorization", "content-type", "accept", "x-request-id", "content-encoding", "range", "expect", "origin",
             "x-forwarded-for", "cookie", "transfer-encoding", "if-none-match", "te", "upgrade"]  # fmt: skip
    for _ in range(300):
        value = "".join(draw.choices(string.printable[:-5], k=draw.choice([0, 3, 50, 3_000]))).strip()
        headers = {
            draw.choice(names): draw.choice([value, "gzip", "bytes=0-", "100-continue", "websocket", "Bearer x"])
        }
        try:
            answer = server.http.post("/v1/events", content=b'{"user":"u1","item":"i1"}', headers=headers)
        except (httpx.LocalProtocolError, httpx.RemoteProtocolError):
            continue
        assert healthy(answer), (headers, answer.text[:300])
        assert value not in answer.headers.get("x-request-id", "") or len(value) <= 64


def test_a_hostile_title_comes_back_as_json(server: Any) -> None:
    answer = server.http.get("/v1/items", params={"query": "<script>"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["items"] == [{"item": "i7", "title": "<script>alert(1)</script>"}]
