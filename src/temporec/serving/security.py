"""Who may do what: tokens with roles, hashed at rest; rate limits; the headers of every answer."""

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from temporec.durable import writing
from temporec.errors import ConfigError, UnknownNameError
from temporec.serving.logs import log
from temporec.serving.problems import Problem

__all__ = [
    "API_POLICY", "HEADERS", "PAGE_POLICY", "RateLimit", "Role", "Token", "Tokens", "add_token", "allows",
    "is_foreign", "read_tokens", "revoke_token", "role_needed",
]  # fmt: skip

Role = Literal["read", "write", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOOK = 1.0  # seconds between two looks at the file of tokens

API_POLICY = b"default-src 'none'; frame-ancestors 'none'"
PAGE_POLICY = b"default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


@dataclass(frozen=True, slots=True)
class Token:
    """One entry of tokens.json: the SHA-256 of a token of 256 random bits, never the token."""

    name: str
    role: Role
    hash: str


def read_tokens(path: Path) -> list[Token]:
    """The tokens of a file; none where it does not exist."""
    if not path.exists():
        return []
    try:
        tokens = [Token(str(e["name"]), e["role"], str(e["hash"])) for e in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError, KeyError, TypeError):
        raise ConfigError(f"{path} is damaged; restore it, or delete it and give new tokens") from None
    if wrong := [token.role for token in tokens if token.role not in ROLES]:
        raise ConfigError(f"{path} holds the role {wrong[0]!r}; roles are {', '.join(ROLES)}")
    return tokens


def add_token(path: Path, name: str, role: str) -> str:
    """A new token, which is stored as its hash only: whoever loses it needs another."""
    tokens = read_tokens(path)
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a token's name holds 1 to 64 letters, digits, dots, dashes or underscores; got {name!r}")
    if role not in ROLES:
        raise ConfigError(f"role must be one of {', '.join(ROLES)}; got {role!r}")
    if any(token.name == name for token in tokens):
        raise ConfigError(f"there is a token {name!r} already; revoke it first or choose another name")
    secret = f"temporec_{secrets.token_urlsafe(32)}"
    _write(path, [*tokens, Token(name, next(r for r in ROLES if r == role), _hash(secret))])
    return secret


def revoke_token(path: Path, name: str) -> None:
    """Remove a token; a running service refuses it within a second."""
    tokens = read_tokens(path)
    kept = [token for token in tokens if token.name != name]
    if len(kept) == len(tokens):
        raise UnknownNameError(f"no token {name!r}; there are: {', '.join(t.name for t in tokens) or 'none'}")
    _write(path, kept)


def _write(path: Path, tokens: Sequence[Token]) -> None:
    part = path.with_name(f".{path.name}.part-{os.getpid()}")
    with writing(path, part):
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump([asdict(token) for token in tokens], file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


class Tokens:
    """The tokens of a running service; a change of the file counts within a second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._looked, self._changed = 0.0, -1
        self._tokens: list[Token] = []
        self._look(time.monotonic())

    @property
    def is_open(self) -> bool:
        """Whether there are no tokens, so that everybody who reaches the service may do everything."""
        return not self._tokens

    def _look(self, now: float) -> None:
        self._looked = now
        changed = self.path.stat().st_mtime_ns if self.path.exists() else 0
        if changed != self._changed:
            was_closed, self._changed = bool(self._tokens), changed
            try:
                self._tokens = read_tokens(self.path)
            except ConfigError as error:
                if not was_closed:
                    raise
                log("tokens cannot be read; those from before hold", level=logging.ERROR, why=str(error))
            if was_closed and not self._tokens:
                # The last token was revoked: a closed service never becomes an open one while it runs.
                self._tokens = [Token("nobody", "read", "")]

    def check(self, authorization: bytes | None) -> Token:
        """The token of an Authorization header; every hash is compared, each in constant time."""
        if (now := time.monotonic()) - self._looked > _LOOK:
            self._look(now)
        if not self._tokens:
            return Token("open", "admin", "")
        scheme, _, secret = (authorization or b"").partition(b" ")
        given = hashlib.sha256(secret.strip()).hexdigest() if scheme.lower() == b"bearer" else "-"
        found = [token for token in self._tokens if hmac.compare_digest(token.hash, given)]
        if not found:
            raise Problem(
                401, "unauthorized", "give a valid token in the header Authorization: Bearer TOKEN; "
                "`temporec tokens add` makes one", headers={"www-authenticate": "Bearer"},
            )  # fmt: skip
        return found[0]


def role_needed(method: str, path: str) -> Role | None:
    """The role that a request needs, by method and path; None = anybody."""
    if path in ("/healthz", "/readyz", "/") or path.startswith("/static/"):
        return None
    if method in ("GET", "HEAD", "OPTIONS") or path == "/v1/recommendations":
        return "read"
    if path.startswith(("/v1/models", "/v1/users")):
        return "admin"
    return "write" if path.startswith(("/v1/events", "/v1/items", "/v1/feedback")) else "admin"


def allows(held: Role, needed: Role) -> bool:
    """Whether a role includes another: admin > write > read."""
    return ROLES.index(held) >= ROLES.index(needed)


def is_foreign(headers: Mapping[bytes, bytes], origins: Collection[str]) -> bool:
    """Whether a browser says that a page of another origin sends this, one that is not among the allowed origins."""
    origin = headers.get(b"origin", b"").decode("latin-1")
    if origin in origins or "*" in origins:
        return False
    if (site := headers.get(b"sec-fetch-site")) is not None:
        return site not in (b"same-origin", b"none")
    return bool(origin) and origin.partition("://")[2].lower() != headers.get(b"host", b"").decode("latin-1").lower()


class RateLimit:
    """A bucket per token that `rate` requests per second refill up to `burst`."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, float(burst)
        self._buckets: dict[str, tuple[float, float]] = {}

    def spend(self, name: str, now: float) -> None:
        """Count one request; raises the problem 429 when the bucket is empty."""
        if not self.rate:
            return
        left, before = self._buckets.get(name, (self.burst, now))
        left = min(self.burst, left + (now - before) * self.rate)
        if left < 1.0:
            wait = max(1, round((1.0 - left) / self.rate))
            raise Problem(
                429, "rate", f"this token may send {self.rate:g} requests per second; wait and try again",
                headers={"retry-after": str(wait)},
            )  # fmt: skip
        self._buckets[name] = (left - 1.0, now)
