"""Tokens, roles, limits, headers; nothing hostile gets past, and nothing secret gets out."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from temporec.errors import ConfigError, UnknownNameError
from temporec.serving.problems import Problem
from temporec.serving.security import RateLimit, Tokens, add_token, allows, read_tokens, revoke_token, role_needed

ROUTES = [
    ("GET", "/v1/users/u1/recommendations", "read"), ("POST", "/v1/recommendations", "read"),
    ("GET", "/metrics", "read"), ("GET", "/v1/status", "read"), ("GET", "/v1/openapi.json", "read"),
    ("GET", "/v1/learning", "read"),
    ("GET", "/v1/models", "read"), ("POST", "/v1/events", "write"), ("POST", "/v1/feedback", "write"),
    ("PUT", "/v1/items", "write"), ("DELETE", "/v1/items/i1", "write"), ("DELETE", "/v1/users/u1", "admin"),
    ("POST", "/v1/models/v1/activate", "admin"), ("POST", "/v1/anything", "admin"), ("PUT", "/", None),
    ("GET", "/", None), ("GET", "/healthz", None), ("GET", "/readyz", None), ("GET", "/static/x.js", None),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "role"), ROUTES)
def test_every_address_has_its_role(method: str, path: str, role: str | None) -> None:
    assert role_needed(method, path) == role


def test_roles_include_each_other() -> None:
    assert allows("admin", "read")
    assert allows("write", "write")
    assert not allows("read", "write")
    assert not allows("write", "admin")


def test_tokens_are_stored_as_hashes(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    secret = add_token(path, "shop", "write")
    assert len(secret) > 40
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0
    tokens = Tokens(path)
    assert tokens.check(f"Bearer {secret}".encode()).role == "write"
    for wrong in (None, b"", b"Bearer", b"Bearer nix", f"Basic {secret}".encode(), f"Bearer {secret}x".encode()):
        with pytest.raises(Problem) as refused:
            tokens.check(wrong)
        assert refused.value.status == 401
    with pytest.raises(ConfigError, match="already"):
        add_token(path, "shop", "read")
    with pytest.raises(ConfigError, match="role"):
        add_token(path, "other", "root")
    with pytest.raises(UnknownNameError, match="shop"):
        revoke_token(path, "nix")
    revoke_token(path, "shop")
    assert read_tokens(path) == []


def test_a_closed_service_never_becomes_open(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    secret = add_token(path, "only", "admin")
    tokens = Tokens(path)
    revoke_token(path, "only")
    time.sleep(1.1)
    with pytest.raises(Problem):
        tokens.check(f"Bearer {secret}".encode())
    with pytest.raises(Problem):
        tokens.check(None)
    path.write_text("damaged")
    time.sleep(1.1)
    with pytest.raises(Problem):
        tokens.check(None)


def test_a_rate_is_counted_per_token() -> None:
    limit = RateLimit(rate=2.0, burst=3)
    for _ in range(3):
        limit.spend("a", 10.0)
    with pytest.raises(Problem) as refused:
        limit.spend("a", 10.0)
    assert refused.value.headers["retry-after"] == "1"
    limit.spend("b", 10.0)
    limit.spend("a", 10.6)
    with pytest.raises(Problem):
        limit.spend("a", 10.6)


@pytest.fixture(scope="module")
def guarded(
    copied: Callable[[], Path], start: Callable[..., Any], temporec: Callable[..., Any]
) -> Iterator[tuple[Any, dict[str, httpx.Client]]]:
    """A server on all addresses, and a client of each role."""
    folder = copied()
    refused = temporec("serve", folder, "--host", "0.0.0.0", "--port", "0")
    assert refused.returncode == 2
    assert "temporec tokens add" in refused.stderr
    secrets = {}
    for role in ("read", "write", "admin"):
        made = temporec("tokens", "add", folder, role, "--role", role)
        assert made.returncode == 0, made.stderr
        secrets[role] = made.stdout.strip()
    assert temporec("tokens", "list", folder).stdout.split() == ["read", "read", "write", "write", "admin", "admin"]
    server = start(folder, "--host", "0.0.0.0", "--set", "rate=2", "--set", "burst=400")
    url = server.url.replace("0.0.0.0", "127.0.0.1")
    clients = {
        role: httpx.Client(base_url=url, headers={"authorization": f"Bearer {secret}"}, timeout=30)
        for role, secret in secrets.items()
    }
    clients["nobody"] = httpx.Client(base_url=url, timeout=30)
    yield server, clients
    for client in clients.values():
        client.close()
    text = server.log_path.read_text()
    assert not any(secret in text for secret in secrets.values())


def test_roles_hold_over_http(guarded: tuple[Any, dict[str, httpx.Client]]) -> None:
    event = {"user": "u1", "item": "i1"}
    for role, client in guarded[1].items():
        expected = {
            "nobody": (401, 401, 401),
            "read": (200, 403, 403),
            "write": (200, 200, 403),
            "admin": (200, 200, 200),
        }
        got = (
            client.get("/v1/users/u1/recommendations").status_code,
            client.post("/v1/events", json=event).status_code,
            client.delete("/v1/users/u1").status_code,
        )
        assert got == expected[role]
        assert client.get("/healthz").status_code == 200
        assert client.get("/").status_code == 200
    refused = guarded[1]["nobody"].get("/v1/models")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["content-type"] == "application/problem+json"


def test_too_many_requests_of_one_token(guarded: tuple[Any, dict[str, httpx.Client]]) -> None:
    statuses = [guarded[1]["write"].get("/v1/status") for _ in range(600)]
    limited = [answer for answer in statuses if answer.status_code == 429]
    assert limited
    assert {answer.status_code for answer in statuses} == {200, 429}
    assert int(limited[0].headers["retry-after"]) >= 1
    assert guarded[1]["read"].get("/v1/status").status_code == 200


def test_headers_of_every_answer(server: Any) -> None:
    for path in ("/v1/users/u1/recommendations", "/v1/nix", "/", "/healthz", "/v1/users/u1/recommendations?k=0"):
        headers = server.http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"].startswith(
            "default-src 'self'" if path == "/" else "default-src 'none'"
        )
        assert "unsafe" not in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]+", headers["x-request-id"])
    own = server.http.get("/healthz", headers={"x-request-id": "mine-1", "origin": "https://evil.example"})
    assert own.headers["x-request-id"] == "mine-1"
    assert "access-control-allow-origin" not in own.headers
    assert server.http.get("/healthz", headers={"x-request-id": "a b\t<"}).headers["x-request-id"] != "a b\t<"


def test_an_open_service_answers_to_loopback_names_only(server: Any) -> None:
    """Else a page in a browser could reach it under a name of its own (DNS rebinding)."""
    assert server.http.get("/v1/status", headers={"host": "evil.example"}).status_code == 421
    assert server.http.get("/v1/status", headers={"host": "localhost:1"}).status_code == 200


def test_a_form_of_another_page_is_no_request(server: Any) -> None:
    body = json.dumps({"user": "u1", "item": "i1"})
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert server.http.post("/v1/events", content=body, headers={"content-type": kind}).status_code == 415


def test_no_outside_host_and_no_docs_page(server: Any) -> None:
    assert server.http.get("/docs").status_code == 404
    assert server.http.get("/redoc").status_code == 404
    assert not re.search(r"https?://", server.http.get("/").text)


def raw(server: Any, data: bytes) -> bytes:
    """What comes back when bytes are sent as they are."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        with suppress(OSError):
            connection.sendall(data)
        parts = []
        with suppress(ConnectionResetError):  # the server closed before it had read all
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts)


def test_broken_heads(server: Any) -> None:
    tail = b"Host: localhost\r\nConnection: close\r\n\r\n"
    assert raw(server, b"GET / HTTP/9.9\r\n" + tail).startswith(b"HTTP/1.1 400")
    assert raw(server, b"\x16\x03\x01\x02\x00\x01").startswith(b"HTTP/1.1 400")
    long = b"GET /healthz HTTP/1.1\r\nX-Long: " + b"a" * 100_000 + b"\r\n" + tail
    assert raw(server, long)[:12] in (b"", b"HTTP/1.1 400")
    many = b"GET /healthz HTTP/1.1\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(20_000)) + tail
    assert raw(server, many)[:12] in (b"", b"HTTP/1.1 400")
    chunked = b"POST /v1/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n"
    assert b" 413 " in raw(server, chunked + tail + b"200001\r\n" + b"1" * 0x200001 + b"\r\n0\r\n\r\n")[:20]
    length = b"POST /v1/events HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n"
    assert b" 413 " in raw(server, length + tail)[:20]
    assert server.http.get("/healthz").status_code == 200


def test_a_slow_sender_holds_nobody_up(copied: Callable[[], Path], start: Callable[..., Any]) -> None:
    server = start(copied(), "--set", "timeout=1")
    head = (
        b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    )
    began = time.monotonic()
    answer = raw(server, head)
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - began < 10
