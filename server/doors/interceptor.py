"""The outermost layer of each call: its id, its log line, its metrics, its errors.

Health and reflection pass by: they answer for themselves.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc

from server import logs, tracing
from server.access.calls import Call, enter_call
from server.access.reception import Reception
from server.access.scopes import Rule, need_of
from server.doors.admission import Gate
from server.doors.messages import source_of
from server.doors.status import code_of, is_expected, message_of, reason_of, trailers_of
from server.errors import DeadlineExceeded
from server.metrics import Metrics

_REQUEST_ID = "x-request-id"
_MAX_REQUEST_ID = 128

UNREAD_S = 120.0
"""So long a message waits for a client that does not read, though its own deadline be further."""

Context = grpc.aio.ServicerContext[Any, Any]
Handler = Any  # grpc.RpcMethodHandler; its stubs know nothing of aio
log = logs.logger(__name__)


@dataclass(slots=True)
class _Call:
    method: str
    request_id: str
    started_s: float
    source: str = "none"
    is_inside: bool = False
    admitted: Call | None = None
    span: tracing.Span | None = None

    def note(self, message: object) -> None:
        source = source_of(message)
        if source:
            self.source = source if self.source in ("none", source) else "mixed"


class RequestInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]
    """Guards the methods of `service`, full name with a slash in front of each method's.

    Those that are `free` pass the gate unseen: they make room where there is none.
    """

    def __init__(
        self,
        service: str,
        gate: Gate,
        metrics: Metrics,
        reception: Reception | None,
        free: Collection[str] = (),
    ) -> None:
        """Without a `reception` nobody is asked who they are: to leave it out must be said."""
        self._prefix = f"{service}/"
        self._gate = gate
        self._metrics = metrics
        self._free = frozenset(free)
        self._reception = reception

    async def intercept_service(
        self, continuation: Callable[..., Awaitable[Handler]], handler_call_details: Any
    ) -> Handler:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method.lstrip("/")
        if handler is None:
            self._metrics.not_ours("UNIMPLEMENTED")
            return None
        if not method.startswith(self._prefix) and need_of(method) is Rule.OPEN:
            return handler
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(
                self._guard_stream(method, handler.stream_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                self._guard_stream(method, handler.unary_stream),
                handler.request_deserializer,
                handler.response_serializer,
            )
        return grpc.unary_unary_rpc_method_handler(
            self._guard_unary(method, handler.unary_unary),
            handler.request_deserializer,
            handler.response_serializer,
        )

    def _guard_unary(self, method: str, answer: Any) -> Any:
        async def guarded(request: bytes, context: Context) -> Any:
            async with self._attend(method, context) as call:
                message = await answer(request, context)
                call.note(message)
            return message

        return guarded

    def _guard_stream(self, method: str, answer: Any) -> Any:
        # It writes by itself rather than yield: a call cancelled while a message waits for a slow
        # reader closes the generator below at once, not when the garbage collector finds it.
        async def guarded(asked: bytes | AsyncIterator[bytes], context: Context) -> None:
            async with self._attend(method, context) as call:
                async with aclosing(answer(asked, context)) as messages:
                    async for message in messages:
                        call.note(message)
                        await _write(context, message)

        return guarded

    @asynccontextmanager
    async def _attend(self, method: str, context: Context) -> AsyncIterator[_Call]:
        call = _Call(method, _request_id(context), time.monotonic())
        logs.bind_request(call.request_id)
        call.span = tracing.begin(method, context.invocation_metadata() or ())
        if call.span is not None:
            logs.bind_trace(call.span.trace_id)
        context.set_trailing_metadata(((_REQUEST_ID, call.request_id),))
        self._metrics.started(method)
        failure: Exception | None = None
        code = "OK"
        try:
            if self._reception is not None:
                call.admitted = await _admit(self._reception, method, context)
            if method not in self._free:
                if call.admitted is not None:
                    call.admitted.charge_request()
                self._gate.enter()
                call.is_inside = True
            yield call
        except asyncio.CancelledError:
            # Always raised again: a handler that swallows it leaks memory in gRPC (grpc#43360).
            code = "DEADLINE_EXCEEDED" if _is_expired(context) else "CANCELLED"
            raise
        except Exception as error:  # the last line of defence: nothing else may reach the wire
            failure, code = error, code_of(error).name
        finally:
            self._finish(call, code, failure)
        if failure is not None:
            await _abort(context, failure, call.request_id)

    def _finish(self, call: _Call, code: str, failure: Exception | None) -> None:
        seconds = time.monotonic() - call.started_s
        if call.is_inside:
            self._gate.leave(seconds)
        if call.admitted is not None:
            call.admitted.end()
        exemplar = call.span.trace_id if call.span is not None and call.span.is_sampled else ""
        self._metrics.finished(call.method, code, call.source, seconds, exemplar)
        told = {"method": call.method, "code": code, "seconds": round(seconds, 4)}
        if call.admitted is not None:
            told["tenant"] = call.admitted.tenant
        if failure is not None and not is_expected(failure):
            log.error("failed", exc_info=failure, **told)
        elif failure is not None:
            log.info("refused", reason=reason_of(failure), **told)
        else:
            log.info("answered", source=call.source, **told)
        if call.span is not None:
            call.span.finish(code, call.source)


async def _admit(reception: Reception, method: str, context: Context) -> Call | None:
    """Raises Unauthenticated and PermissionDenied."""
    shown = context.auth_context()
    names = {
        name.decode("utf-8", "replace")
        for kind in ("x509_common_name", "x509_subject_alternative_name")
        for name in shown.get(kind, ())
    }
    call = await reception.admit(method, context.invocation_metadata() or (), names)
    enter_call(call)
    return call


async def _write(context: Context, message: Any) -> None:
    """Waits for a reader, but not for ever: their place is for others."""
    try:
        async with asyncio.timeout(UNREAD_S) as wait:
            await context.write(message)
    except TimeoutError:
        if not wait.expired():
            raise
        raise DeadlineExceeded("the client has not read for too long") from None


async def _abort(context: Context, error: Exception, request_id: str) -> None:
    trailers = ((_REQUEST_ID, request_id), *trailers_of(error, request_id))
    await context.abort(code_of(error), message_of(error), trailers)


def _request_id(context: Context) -> str:
    for key, value in context.invocation_metadata() or ():
        if key == _REQUEST_ID and isinstance(value, str) and 0 < len(value) <= _MAX_REQUEST_ID:
            return value
    return uuid.uuid4().hex


def _is_expired(context: Context) -> bool:
    remaining_s: float | None = context.time_remaining()
    return remaining_s is not None and remaining_s <= 0
