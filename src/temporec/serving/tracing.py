"""OpenTelemetry spans of requests, where they are asked for."""

from collections.abc import Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

from temporec import __version__
from temporec.errors import MissingExtraError

__all__ = ["Tracer", "open_tracer", "route_of"]


def route_of(scope: MutableMapping[str, Any]) -> str:
    """The pattern of an address, without the ids in it."""
    return getattr(scope.get("route"), "path_format", None) or str(scope["state"].get("route", "-"))


class Answered(Protocol):
    """What a request is answered with."""

    status: int


class Tracer:
    """Makes no spans."""

    def span(self, scope: MutableMapping[str, Any], answer: Answered) -> AbstractContextManager[Any]:
        """A block that handles one request; its failures are answered in the block."""
        return nullcontext()


class _Spans(Tracer):
    def __init__(self, provider: Any) -> None:
        self._tracer = provider.get_tracer("temporec", __version__)

    @contextmanager
    def span(self, scope: MutableMapping[str, Any], answer: Answered) -> Iterator[Any]:
        from opentelemetry.trace import StatusCode

        with self._tracer.start_as_current_span(f"{scope['method']} request") as span:
            request = scope["state"]["request"]
            span.set_attributes({"http.request.method": scope["method"], "temporec.request": request})
            try:
                yield
            finally:
                span.set_attributes({"http.route": route_of(scope), "http.response.status_code": answer.status})
                if answer.status >= 500:
                    span.set_status(StatusCode.ERROR)


def open_tracer(where: str) -> Tracer:
    """Spans to nowhere (off), to standard error (console), or to a collector (otlp: set by OTEL_EXPORTER_OTLP_*)."""
    if where == "off":
        return Tracer()
    try:
        import sys

        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter

        exporter: Any
        if where == "console":
            exporter = ConsoleSpanExporter(out=sys.stderr, formatter=lambda span: span.to_json(indent=None) + "\n")
        else:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            exporter = OTLPSpanExporter()
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"traces={where} needs {error.name}, which is not installed. Run: pip install opentelemetry-sdk "
            "opentelemetry-exporter-otlp-proto-http"
        ) from None
    provider = TracerProvider(resource=Resource.create({"service.name": "temporec"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return _Spans(provider)
