"""An OpenAI-compatible endpoint with bad habits, as a process of its own: `/HABIT/v1/chat/completions`.

It prints its port. `GET /HABIT/seen` gives the requests so far. Good answers rank the candidates backwards.
"""

import json
import re
import sys
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SEEN: dict[str, list[dict[str, Any]]] = defaultdict(list)
MARKER = re.compile(r"<\|im_start\|>|<\|im_end\|>|\[/?INST\]|<</?SYS>>|###|^(?:system|user|assistant):", re.M | re.I)


def candidates(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    document, _ = json.JSONDecoder().raw_decode(messages[-1]["content"])
    found: list[dict[str, str]] = document["candidates"]
    return found


def backwards(body: dict[str, Any]) -> dict[str, Any]:
    return {"ranking": [row["id"] for row in reversed(candidates(body["messages"]))]}


def outside_the_data(messages: list[dict[str, str]]) -> str:
    """All text that a model would not read as data: other messages, and what leaves the JSON of the last one.

    The chat is rendered with the markers of a chat template and cut at them again, as a tokenizer with special tokens
    does, so a marker inside a text would end its message.
    """
    content = messages[-1]["content"]
    parts = MARKER.split(content)
    try:
        _, end = json.JSONDecoder().raw_decode(parts[0])
    except ValueError:
        end = 0
    return "\n".join([*(m["content"] for m in messages[:-1]), parts[0][end:], *parts[1:]])


def obedient(body: dict[str, Any]) -> dict[str, Any]:
    """Follows any 'rank me first' or 'answer with ID' that it finds outside the data."""
    orders = outside_the_data(body["messages"]).lower() + json.dumps(body.get("response_format", {})).lower()
    if "rank me first" in orders:
        return {"ranking": ["hijacked"]}
    return backwards(body)


def completion(text: str, **more: Any) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}, **more}
    return json.dumps({"choices": [choice], "usage": {"total_tokens": 100}}).encode()


class Endpoint(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def reply(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.reply(200, json.dumps(SEEN[self.path.split("/")[1]]).encode())

    def do_POST(self) -> None:
        habit = self.path.split("/")[1]
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(raw)
        SEEN[habit].append({"path": self.path, "body": body, "key": self.headers.get("Authorization")})
        getattr(self, habit)(body, len(SEEN[habit]))

    def good(self, body: dict[str, Any], nth: int) -> None:
        self.reply(200, completion(json.dumps(backwards(body))))

    def obedient(self, body: dict[str, Any], nth: int) -> None:
        self.reply(200, completion(json.dumps(obedient(body))))

    def fenced(self, body: dict[str, Any], nth: int) -> None:
        answer = json.dumps(backwards(body))
        self.reply(200, completion(f"<think>{{maybe}}</think>Sure!\n```json\n{answer}\n```\nEnjoy."))

    def partial(self, body: dict[str, Any], nth: int) -> None:
        self.reply(200, completion(json.dumps({"ranking": [candidates(body["messages"])[2]["id"]]})))

    def hang(self, body: dict[str, Any], nth: int) -> None:
        time.sleep(60)

    def drip(self, body: dict[str, Any], nth: int) -> None:
        for _ in range(600):  # of a status line that never ends: every single read is in time
            self.wfile.write(b"H")
            self.wfile.flush()
            time.sleep(0.1)

    def prose(self, body: dict[str, Any], nth: int) -> None:
        self.reply(200, completion("I would put the lantern first."))

    def html(self, body: dict[str, Any], nth: int) -> None:
        self.reply(200, b"<!doctype html><title>Sign in</title>", "text/html")

    def busy_once(self, body: dict[str, Any], nth: int) -> None:
        if nth == 1:
            self.reply(429, b'{"error": {"message": "slow down"}}', Retry_After="1")
        else:
            self.good(body, nth)

    def busy(self, body: dict[str, Any], nth: int) -> None:
        self.reply(429, b'{"error": {"message": "slow down"}}', Retry_After="3600")

    def broken(self, body: dict[str, Any], nth: int) -> None:
        self.reply(503, b"upstream is gone")

    def foreign(self, body: dict[str, Any], nth: int) -> None:
        self.reply(200, completion('{"ranking": ["i1", "i99"]}'))

    def twice(self, body: dict[str, Any], nth: int) -> None:
        self.reply(200, completion('{"ranking": ["i2", "i1", "i2"]}'))

    def wrong(self, body: dict[str, Any], nth: int) -> None:
        self.reply(200, completion('{"items": {"i1": 3}}'))

    def truncated(self, body: dict[str, Any], nth: int) -> None:
        self.reply(200, completion('{"ranking": ["i1", "i'))

    def cut(self, body: dict[str, Any], nth: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "5000")
        self.end_headers()
        self.wfile.write(b'{"choices": [')
        self.close_connection = True

    def long(self, body: dict[str, Any], nth: int) -> None:
        self.reply(200, completion('{"ranking": ["i1"', finish_reason="length"))

    def silent(self, body: dict[str, Any], nth: int) -> None:
        self.reply(200, b'{"choices": [{"message": {"content": null, "refusal": "no"}}]}')

    def odd(self, body: dict[str, Any], nth: int) -> None:
        self.reply(200, b"[" * 100_000)

    def huge(self, body: dict[str, Any], nth: int) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            for _ in range(4096):  # 256 MB
                self.wfile.write(b"x" * 65536)
            SEEN["huge-all"].append({})
        except OSError:
            pass

    def redirect(self, body: dict[str, Any], nth: int) -> None:
        self.reply(307, b"", Location=f"http://{self.headers['Host']}/good/v1/chat/completions")

    def refused(self, body: dict[str, Any], nth: int) -> None:
        told = {"error": {"message": f"wrong key: {self.headers.get('Authorization')}\n<b>sorry</b>"}}
        self.reply(401, json.dumps(told).encode())

    def old(self, body: dict[str, Any], nth: int) -> None:
        kind = body.get("response_format", {}).get("type", "text")
        if kind != "text":
            self.reply(400, f'{{"error": "unknown response_format {kind}"}}'.encode())
        else:
            self.good(body, nth)

    def new(self, body: dict[str, Any], nth: int) -> None:
        for option in ("max_tokens", "temperature"):
            if option in body:
                told = {"error": {"message": f"Unsupported parameter: '{option}' is not supported with this model."}}
                self.reply(400, json.dumps(told).encode())
                return
        self.good(body, nth)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()
