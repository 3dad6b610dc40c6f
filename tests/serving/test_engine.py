"""The engine keeps the order of the log and outlives what fails in it; what cannot be stored leaves no trace."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from temporec.errors import StoreError
from temporec.serving.app import create_app
from temporec.serving.service import Service
from temporec.serving.settings import ServeConfig
from temporec.serving.tracing import _Spans
from temporec.store.records import Record

Talk = Callable[[Service, httpx.AsyncClient], Awaitable[Any]]


@pytest.fixture
def served(copied: Callable[[], Path]) -> Callable[..., Any]:
    """`served(talk)` runs a conversation with a service of its own, in this process."""

    def run(talk: Talk, **settings: Any) -> Any:
        async def talked() -> Any:
            service = Service.open(copied(), ServeConfig(allowed_hosts=("service",), **settings))
            service.start()
            transport = httpx.ASGITransport(create_app(service))
            try:
                async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                    return await talk(service, client)
            finally:
                service.close()

        return asyncio.run(talked())

    return run


async def items_of(client: httpx.AsyncClient, user: str) -> list[str]:
    return [event["item"] for event in (await client.get(f"/v1/users/{user}/events")).json()["events"]]


def test_an_event_behind_a_call_stays_behind_it(served: Callable[..., Any]) -> None:
    async def talk(service: Service, client: httpx.AsyncClient) -> list[str]:
        begun, busy = threading.Event(), threading.Event()

        def be_busy(_: object) -> None:
            begun.set()
            busy.wait(30)

        service.engine.submit(be_busy)
        assert begun.wait(10)
        forgotten = service.engine.submit(lambda answering: answering.current.live.forget("u3"))
        sent = asyncio.create_task(client.post("/v1/events", json={"user": "u3", "item": "i11"}))
        while not service.log.end():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # the writer has handed the event to the engine
        busy.set()
        assert (await sent).status_code == 200
        assert forgotten.result(10) == 6
        return await items_of(client, "u3")

    assert served(talk) == ["i11"]


@pytest.mark.parametrize(("mode", "left"), [("state", ["i12"]), ("frozen", [])])
def test_an_event_after_a_forgetting_is_kept_whoever_is_faster(
    served: Callable[..., Any], mode: str, left: list[str]
) -> None:
    """The event is stored, taken and acknowledged between the forgetting in the log and that in the states."""

    async def talk(service: Service, client: httpx.AsyncClient) -> list[str]:
        loop, forget = asyncio.get_running_loop(), service.log.forget
        await client.post("/v1/events", json={"user": "u3", "item": "i11"})

        def slow(user: str | int) -> int:
            gone = forget(user)
            event = Record("between", "events", {"user": "u3", "item": "i12", "time": 1_900_000_000_000}, "u3")
            assert asyncio.run_coroutine_threadsafe(service.store([event]), loop).result(10)
            return gone

        service.log.forget = slow  # type: ignore[method-assign]
        assert (await client.delete("/v1/users/u3")).json()["events"] == 1
        assert [record.id for record in service.log.read_user("u3")] == ["between"]
        return await items_of(client, "u3")

    assert served(talk, mode=mode) == left


def test_states_that_cannot_be_computed_beforehand_end_nothing(served: Callable[..., Any]) -> None:
    async def talk(service: Service, client: httpx.AsyncClient) -> tuple[int, list[int]]:
        current, asked = service.engine.answering.current, list[Any]()

        def fail(users: Any) -> None:
            asked.append(users)
            raise RuntimeError("no memory")

        current.live.warm = fail  # type: ignore[method-assign]
        current.cold.extend(["u1", "u2"])
        await service.engine.run(lambda _: None)
        while not asked:
            await asyncio.sleep(0.01)
        answers = [await client.get("/v1/users/u1/recommendations"), await client.get("/readyz")]
        return len(asked), [answer.status_code for answer in answers]

    assert served(talk, warm=0, timeout=3) == (1, [200, 200])


def test_a_service_without_its_engine_is_not_ready(served: Callable[..., Any]) -> None:
    async def talk(service: Service, client: httpx.AsyncClient) -> tuple[int, int]:
        before = (await client.get("/readyz")).status_code
        service.engine.close()
        return before, (await client.get("/readyz")).status_code

    assert served(talk) == (200, 503)


def test_items_that_cannot_be_stored_are_as_they_were(served: Callable[..., Any]) -> None:
    async def talk(service: Service, client: httpx.AsyncClient) -> None:
        async def known() -> tuple[list[dict[str, Any]], set[str], int]:
            titles = (await client.get("/v1/items", params={"k": 500})).json()["items"]
            shown = (await client.get("/v1/users/u9/recommendations", params={"k": 500})).json()["items"]
            return titles[:20], {row["item"] for row in shown}, len(shown)

        assert (await client.delete("/v1/items/i2")).status_code == 200
        before, store = await known(), service.log.append_groups

        def full(groups: Any) -> Any:
            raise StoreError("the disk is full; make room")

        service.log.append_groups = full  # type: ignore[method-assign]
        for change in (
            {"item": "i5", "title": "another name", "price": 99},
            {"item": "i6", "available": False},
            {"item": "i2"},
            [{"item": "i7", "title": "one of two"}, {"item": "new", "title": "thing number 3"}],
        ):
            assert (await client.put("/v1/items", json=change)).status_code == 503
            assert await known() == before, change
        assert (await client.delete("/v1/items/i8")).status_code == 503
        assert await known() == before
        service.log.append_groups = store  # type: ignore[method-assign]
        assert (await client.put("/v1/items", json={"item": "i5", "title": "another name"})).status_code == 200
        assert (await known())[0][5] == {"item": "i5", "title": "another name"}

    served(talk)


def test_the_document_knows_of_items_without_a_score(served: Callable[..., Any]) -> None:
    async def talk(service: Service, client: httpx.AsyncClient) -> Any:
        return (await client.get("/v1/openapi.json")).json()

    answer = served(talk)["paths"]["/v1/explanations"]["get"]["responses"]["200"]
    fields = answer["content"]["application/json"]["schema"]["properties"]
    assert {"type": "null"} in fields["score"]["anyOf"]
    assert {"type": "number"} in fields["score"]["anyOf"]


def test_a_span_of_a_refused_request_has_its_route_and_status(served: Callable[..., Any]) -> None:
    pytest.importorskip("opentelemetry.trace", reason="OpenTelemetry is not installed")
    provider = _Provider()

    async def talk(service: Service, client: httpx.AsyncClient) -> None:
        gate: Any = create_app(service)
        gate.tracer = _Spans(provider)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(gate), base_url="http://service") as traced:
            assert (await traced.get("/v1/users/u1/recommendations?k=0")).status_code == 422
            assert (await traced.get("/v1/users/u1/recommendations", headers={"host": "evil"})).status_code == 421
            service.engine.close()
            assert (await traced.get("/readyz")).status_code == 503

    served(talk)
    refused, unknown, failed = provider.spans
    assert refused["http.route"] == "/v1/users/{user}/recommendations"
    assert [span["http.response.status_code"] for span in provider.spans] == [422, 421, 503]
    assert ("status" in refused, "status" in unknown, "status" in failed) == (False, False, True)


class _Provider:
    """Keeps the attributes of spans, as the OpenTelemetry SDK would send them."""

    def __init__(self) -> None:
        self.spans: list[dict[str, Any]] = []

    def get_tracer(self, *_: object) -> "_Provider":
        return self

    @contextmanager
    def start_as_current_span(self, _: str) -> Iterator[Any]:
        made: dict[str, Any] = {}
        self.spans.append(made)
        yield SimpleNamespace(set_attributes=made.update, set_status=lambda status: made.update(status=status))


def test_feedback_on_unknown_versions_is_counted_together(served: Callable[..., Any]) -> None:
    async def talk(service: Service, client: httpx.AsyncClient) -> str:
        given = [{"item": "i1", "action": "shown", "version": name} for name in ("v1", "made-up-1", "made-up-2")]
        assert (await client.post("/v1/feedback", json=given)).status_code == 200
        return (await client.get("/metrics")).text

    text = served(talk)
    assert "made-up" not in text
    assert 'temporec_feedback_total{action="shown",version="v1"} 1.0' in text
    assert 'temporec_feedback_total{action="shown",version="other"} 2.0' in text
