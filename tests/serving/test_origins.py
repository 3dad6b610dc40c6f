"""Pages of other origins: nothing is changed for them, unless `cors` names them, and then refusals are readable too."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

SHOP, EVIL = "https://shop.example", "https://evil.example"


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": EVIL},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": EVIL, "sec-fetch-site": "cross-site"},
    ],
)
def test_another_page_changes_nothing(server: Any, headers: dict[str, str]) -> None:
    """Requests without a body need no preflight, so a browser would send them."""
    before = server.http.get("/v1/models").json()
    for method, path in (
        ("POST", "/v1/models/v1/activate"), ("DELETE", "/v1/users/u1"), ("DELETE", "/v1/items/i1"),
        ("PUT", "/v1/items"), ("POST", "/v1/events"),
    ):  # fmt: skip
        refused = server.http.request(method, path, headers=headers)
        assert (refused.status_code, refused.json()["type"]) == (403, "urn:temporec:problem:origin")
        assert "cors" in refused.json()["detail"]
    assert server.http.get("/v1/models").json() == before
    assert server.http.get("/v1/users/u1/events").json()["events"]
    assert server.http.get("/v1/status", headers=headers).status_code == 200


def test_the_own_page_and_programs_do_what_they_may(server: Any) -> None:
    for headers in (
        {}, {"origin": server.url}, {"origin": server.url, "sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}
    ):  # fmt: skip
        assert server.http.post("/v1/models/v1/activate", headers=headers).status_code == 200


def test_cors_lets_a_page_call_a_service_with_tokens(
    copied: Callable[[], Path], start: Callable[..., Any], temporec: Callable[..., Any]
) -> None:
    folder = copied()
    secret = temporec("tokens", "add", folder, "shop", "--role", "write").stdout.strip()
    server = start(folder, "--set", f"cors={SHOP}")
    asked = {
        "origin": SHOP, "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type",
    }  # fmt: skip
    preflight = server.http.options("/v1/events", headers=asked)  # a browser sends it without the token
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == SHOP
    assert "POST" in preflight.headers["access-control-allow-methods"]
    allowed = preflight.headers["access-control-allow-headers"].lower()
    assert "authorization" in allowed
    assert "content-type" in allowed
    with httpx.Client(base_url=server.url, timeout=30, headers={"authorization": f"Bearer {secret}"}) as client:
        page = {"origin": SHOP, "sec-fetch-site": "cross-site"}
        for answer in (
            client.post("/v1/events", json={"user": "u1", "item": "i1"}, headers=page),
            client.get("/v1/users/u1/recommendations", headers=page),
            client.get("/v1/users/u1/events", headers=page),
        ):
            assert answer.status_code == 200, answer.text
            assert answer.headers["access-control-allow-origin"] == SHOP
            assert "x-request-id" in answer.headers["access-control-expose-headers"]
        refused = client.delete("/v1/users/u1", headers=page)
        assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (403, SHOP)
        evil = client.post("/v1/events", json={"user": "u1", "item": "i1"}, headers={"origin": EVIL})
        assert evil.status_code == 403
        assert "access-control-allow-origin" not in evil.headers
    unknown = server.http.get("/v1/users/u1/recommendations", headers={"origin": SHOP})
    assert (unknown.status_code, unknown.headers["access-control-allow-origin"]) == (401, SHOP)
    refused = server.http.options("/v1/events", headers={**asked, "origin": EVIL})
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


def test_probes_come_under_any_name(copied: Callable[[], Path], start: Callable[..., Any]) -> None:
    server = start(copied(), "--set", "allowed_hosts=shop.example")
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/v1/status", 421), ("/", 421)):
        assert server.http.get(path).status_code == status, path
    assert server.http.get("/v1/status", headers={"host": "shop.example"}).status_code == 200
