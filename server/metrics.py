"""What Prometheus sees: our own registry on a port of its own. No other module imports its client.

Import this module before Feast: Feast turns prometheus_client into multiprocess mode where it is
the first to import it, and Metrics refuses to start in that mode.

`Metrics` is the observer of the features' reads (read_seconds, missing, age) and of the cache of
images (hit, missed, …), and has one for each sampling engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
    values,
)

_OTHER = "other"
_MAX_CHILDREN = 200  # label sets of one metric

_REQUEST_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 20, 40, 80)
_STAGE_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TICK_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5)
_READ_S = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.002,
    0.003,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
)
_AGE_S = (1, 10, 60, 300, 900, 3600, 10800, 21600, 43200, 86400, 172800, 604800, 2592000, 7776000)
_LAG_S = (0.1, 1, 10, 60, 600, 3600, 21600, 86400, 604800, 2592000)
_LOAD_S = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
_ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)

_Metric = TypeVar("_Metric", Counter, Gauge, Histogram)


class MultiprocessMode(RuntimeError):
    """prometheus_client is in multiprocess mode, in which our registry would stay empty."""


class _Children(Generic[_Metric]):
    """The children of one metric, cached by their label values and bounded in number."""

    def __init__(self, metric: _Metric, num_labels: int) -> None:
        self._metric: _Metric = metric
        self._by_labels: dict[tuple[str, ...], _Metric] = {} if num_labels else {(): metric}

    def __call__(self, *labels: str) -> _Metric:
        child = self._by_labels.get(labels)
        if child is None:
            if len(self._by_labels) >= _MAX_CHILDREN:
                labels = tuple(_OTHER for _ in labels)
            child = self._by_labels[labels] = self._metric.labels(*labels)
        return child


class _Instruments:
    """Makes metrics with our prefix in our registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def counter(self, name: str, text: str, *labels: str) -> _Children[Counter]:
        counter = Counter(f"etalage_{name}", text, labels, registry=self._registry)
        return _Children(counter, len(labels))

    def gauge(self, name: str, text: str, *labels: str) -> _Children[Gauge]:
        gauge = Gauge(f"etalage_{name}", text, labels, registry=self._registry)
        return _Children(gauge, len(labels))

    def histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> _Children[Histogram]:
        histogram = Histogram(
            f"etalage_{name}", text, labels, registry=self._registry, buckets=buckets
        )
        return _Children(histogram, len(labels))


class _Server(Protocol):
    server_port: int

    def shutdown(self) -> None: ...

    def server_close(self) -> None: ...


class Metrics:
    """All metrics of one server. `methods` are those that may become a label.

    Raises MultiprocessMode.
    """

    def __init__(self, methods: Iterable[str] = ()) -> None:
        if values.ValueClass.__name__ != "MutexValue":
            raise MultiprocessMode(
                "prometheus_client is in multiprocess mode: unset PROMETHEUS_MULTIPROC_DIR, "
                "and import server.metrics before feast"
            )
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._methods = frozenset(methods)
        self._server: _Server | None = None
        new = _Instruments(self.registry)
        counter, gauge, histogram = new.counter, new.gauge, new.histogram
        self._requests = counter("requests_total", "Requests answered.", "method", "code", "source")
        self._in_flight = gauge("requests_in_flight", "Requests being worked on.", "method")
        self._request_s = histogram(
            "request_seconds", "From arrival to last byte.", _REQUEST_S, "method"
        )
        self._refusals = counter(
            "admission_refusals_total", "Requests refused for load or state.", "reason"
        )
        self._stage_s = histogram("stage_seconds", "Stages of requests.", _STAGE_S, "stage")
        self._personalization = counter(
            "personalization_total", "Why shoppers took part or did not.", "reason"
        )
        self._denied = counter(
            "denied_texts_total", "Texts refused for words that are denied.", "category"
        )
        self._withheld = counter(
            "sensitive_inputs_total", "Interests of shoppers left out as sensitive.", "category"
        )
        self._model = Info("etalage_model", "The model that samples.", registry=self.registry)
        self._revisions = gauge(
            "model_revisions", "Revisions of models that are held.", "model", "state"
        )
        self._loads = counter("model_loads_total", "Loads of models.", "result")
        self._load_s = histogram(
            "model_load_seconds", "From the start of a load to serving, or to failing.", _LOAD_S
        )
        self._queue_depth = gauge("queue_depth", "Rows that wait for the engine.", "device")
        self._queue_s = histogram("queue_seconds", "Wait of rows for their first tick.", _STAGE_S)
        self._rows = histogram("rows_per_forward", "Rows that shared a forward.", _ROWS)
        self._forward_rows = counter("forward_rows_total", "Rows of forwards.", "model")
        self._padding = counter("padding_rows_total", "Rows that filled a bucket up.", "model")
        self._tick_s = histogram("tick_seconds", "Forwards.", _TICK_S, "model", "bucket")
        self._pace_s = gauge(
            "tick_pace_seconds",
            "What a forward is expected to take.",
            "device",
            "model",
            "shape",
            "bucket",
        )
        self._largest = gauge(
            "largest_bucket_rows", "Largest forward, after memory ran out.", "device"
        )
        self._reused = counter("steps_reused_total", "Steps done with an earlier prediction.")
        self._shared = counter("steps_shared_total", "Steps taken over from other rows.", "how")
        self._latents = gauge(
            "shared_latents_bytes", "States kept for rows that walk alike.", "device"
        )
        self._steps = counter("steps_total", "Steps sampled.")
        self._wasted = counter("steps_wasted_total", "Steps sampled for images nobody got.")
        self._tries = counter("tries_total", "Images that failed verification.", "reason")
        self._fallbacks = counter(
            "fallbacks_total", "Images of which no try was good enough: packshots were shown."
        )
        self._defects = counter("defects_total", "Defects found in packshots.", "defect")
        self._repairs = counter("repairs_total", "Repairs of packshots.", "repair")
        self._signatures = counter("signatures_total", "Images that were to be signed.", "result")
        self._signing_s = histogram("signing_seconds", "Signing of images.", _STAGE_S)
        self._cache_hits = counter("cache_hits_total", "Images found in the cache.", "tier")
        self._cache_misses = counter("cache_misses_total", "Images that had to be made.")
        self._cache_joins = counter(
            "cache_joins_total", "Requests that got what was made for others at the same time."
        )
        self._cache_evictions = counter(
            "cache_evictions_total", "Images gone from the cache for want of room.", "tier"
        )
        self._cache_bytes = gauge("cache_bytes", "What the cache holds.", "tier")
        self._cache_failures = counter("cache_failures_total", "Failures of a tier.", "tier")
        self._batch_requests = counter(
            "batch_requests_total", "Requests of batches that were answered.", "outcome"
        )
        self._batch_images = counter("batch_images_total", "Images made in batches.")
        self._assignments = counter(
            "assignments_total", "Requests that an experiment took in.", "experiment", "arm"
        )
        self._shown = counter(
            "experiment_images_total",
            "Images answered for an experiment.",
            "experiment",
            "arm",
            "degradation",
        )
        self._unshown = counter(
            "experiment_refusals_total",
            "Requests of an experiment that got no image.",
            "experiment",
            "arm",
        )
        self._shown_s = histogram(
            "experiment_seconds",
            "From a request of an experiment to its answer.",
            _REQUEST_S,
            "experiment",
            "arm",
        )
        self._events = counter(
            "events_total", "Sound events that came in.", "kind", "experiment", "arm"
        )
        self._rejected_events = counter(
            "events_rejected_total", "Events that were not kept.", "reason"
        )
        self._event_lag_s = histogram(
            "event_lag_seconds", "From the oldest event of a batch to its record.", _LAG_S
        )
        self._sample_ratio = gauge(
            "sample_ratio_p_value",
            "How likely shoppers would be so unevenly spread over arms by chance.",
            "experiment",
        )
        self._authentications = counter(
            "authentications_total", "Callers asked who they are.", "kind", "result"
        )
        self._quota_refusals = counter(
            "quota_refusals_total", "Requests beyond a tenant's quota.", "tenant"
        )
        self._reloads = counter(
            "access_reloads_total",
            "Certificates, tenants and keys read again, as they had changed.",
            "what",
            "result",
        )
        self._certificate_end_s = gauge(
            "certificate_expiry_timestamp_seconds", "When the server's certificate ends."
        )
        self._read_s = histogram("feature_read_seconds", "Feature reads.", _READ_S, "view")
        self._missing = counter(
            "feature_missing_total", "Feature rows that could not be used.", "view", "reason"
        )
        self._age_s = histogram("feature_age_seconds", "Age of rows when read.", _AGE_S, "view")
        self._breakers = gauge(
            "breaker_open", "1 while a dependency is left alone, or tried.", "dependency"
        )
        self._skips = counter(
            "breaker_skips_total", "Questions that were not asked of it.", "dependency"
        )
        self._engine_rows = gauge("engine_rows", "Rows that wait, walk or are decoded.")
        self._restarts = counter("engine_restarts_total", "Engines that broke.", "device", "result")
        self._tasks = gauge("tasks", "Tasks of the event loop.")
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def serve(self, host: str, port: int) -> int:
        """Open the scrape port, 0 for a free one, and return it. Raises OSError."""
        self._server, _ = start_http_server(port, addr=host, registry=self.registry)
        return self._server.server_port

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    # the door

    def method(self, name: str) -> str:
        """The label of a method; `other` for what is not ours."""
        return name if name in self._methods else _OTHER

    def started(self, method: str) -> None:
        self._in_flight(self.method(method)).inc()

    def finished(
        self, method: str, code: str, source: str, seconds: float, trace_id: str = ""
    ) -> None:
        """`trace_id` of a trace in which one can look at such a request."""
        label = self.method(method)
        self._in_flight(label).dec()
        self._requests(label, code, source).inc()
        self._request_s(label).observe(seconds, {"trace_id": trace_id} if trace_id else None)

    def not_ours(self, code: str) -> None:
        """A call of a method that nobody implements."""
        self._requests(_OTHER, code, "none").inc()

    # the pipeline

    def stages(self, timings_s: Mapping[str, float]) -> None:
        for stage, seconds in timings_s.items():
            self._stage_s(stage).observe(seconds)

    def personalization(self, reason: str) -> None:
        self._personalization(reason).inc()

    def denied(self, category: str) -> None:
        self._denied(category).inc()

    def withheld(self, category: str) -> None:
        self._withheld(category).inc()

    def model(self, name: str, digest: str) -> None:
        self._model.info({"name": name, "digest": digest})

    def refused(self, reason: str) -> None:
        self._refusals(reason).inc()

    def tried(self, reasons: Iterable[str]) -> None:
        """An image failed verification."""
        for reason in reasons:
            self._tries(reason).inc()

    def fell_back(self, count: int) -> None:
        """No try of so many images was good enough."""
        self._fallbacks().inc(count)

    def repaired(self, defects: Iterable[str], repairs: Iterable[str]) -> None:
        for defect in defects:
            self._defects(defect).inc()
        for repair in repairs:
            self._repairs(repair).inc()

    def signed(self, result: str, seconds: float) -> None:
        """An image was "signed", or it "failed"."""
        self._signatures(result).inc()
        self._signing_s().observe(seconds)

    # the cache of images

    def hit(self, tier: str) -> None:
        self._cache_hits(tier).inc()

    def missed(self) -> None:
        self._cache_misses().inc()

    def joined(self) -> None:
        self._cache_joins().inc()

    def evicted(self, tier: str, count: int) -> None:
        self._cache_evictions(tier).inc(count)

    def held(self, tier: str, num_bytes: int) -> None:
        self._cache_bytes(tier).set(num_bytes)

    def failed(self, tier: str) -> None:
        self._cache_failures(tier).inc()

    # batches

    def batch_requests(self, outcome: str, count: int) -> None:
        self._batch_requests(outcome).inc(count)

    def batch_images(self, count: int) -> None:
        self._batch_images().inc(count)

    # the experiments

    def assigned(self, experiment: str, arm: str) -> None:
        self._assignments(experiment, arm).inc()

    def showed(
        self, experiment: str, arm: str, degradation: str, num_images: int, seconds: float
    ) -> None:
        self._shown(experiment, arm, degradation).inc(num_images)
        self._shown_s(experiment, arm).observe(seconds)

    def showed_nothing(self, experiment: str, arm: str) -> None:
        self._unshown(experiment, arm).inc()

    def recorded(self, kind: str, experiment: str, arm: str, count: int) -> None:
        self._events(kind, experiment, arm).inc(count)

    def rejected(self, reason: str, count: int) -> None:
        self._rejected_events(reason).inc(count)

    def event_lag(self, seconds: float) -> None:
        self._event_lag_s().observe(seconds)

    def sample_ratio(self, experiment: str, p_value: float) -> None:
        self._sample_ratio(experiment).set(p_value)

    # who may call

    def authenticated(self, kind: str, result: str) -> None:
        self._authentications(kind, result).inc()

    def quota_refused(self, tenant: str) -> None:
        self._quota_refusals(tenant).inc()

    def reloaded(self, what: str, result: str) -> None:
        self._reloads(what, result).inc()

    def certificate_expires(self, unix_s: float) -> None:
        self._certificate_end_s().set(unix_s)

    # the models

    def model_state(self, name: str, state: str, change: int) -> None:
        self._revisions(name, state).inc(change)

    def model_load(self, result: str, seconds: float) -> None:
        """One that changed nothing is counted, but not timed."""
        self._loads(result).inc()
        if result != "unchanged":
            self._load_s().observe(seconds)

    # the process

    def breaker(self, dependency: str, is_open: bool) -> None:
        self._breakers(dependency).set(is_open)

    def breaker_skipped(self, dependency: str) -> None:
        self._skips(dependency).inc()

    def restarted(self, device: str, result: str) -> None:
        """An engine broke and was started again, or could not be."""
        self._restarts(device, result).inc()

    def inside(self, num_tasks: int, num_rows: int) -> None:
        self._tasks().set(num_tasks)
        self._engine_rows().set(num_rows)

    def engine(self, device: str) -> EngineMetrics:
        return EngineMetrics(self, device)

    # the features

    def read_seconds(self, view: str, seconds: float) -> None:
        self._read_s(view).observe(seconds)

    def missing(self, view: str, reason: str) -> None:
        self._missing(view, reason).inc()

    def age(self, view: str, seconds: float) -> None:
        self._age_s(view).observe(seconds)


@dataclass(frozen=True, slots=True)
class EngineMetrics:
    """What the sampling engine of one device tells: its `EngineObserver`."""

    _all: Metrics
    _device: str

    def tick(self, model: str, bucket: int, num_rows: int, seconds: float) -> None:
        self._all._tick_s(model, str(bucket)).observe(seconds)
        self._all._rows().observe(num_rows)
        self._all._forward_rows(model).inc(num_rows)
        self._all._padding(model).inc(bucket - num_rows)

    def pace(self, model: str, shape: str, bucket: int, seconds: float) -> None:
        self._all._pace_s(self._device, model, shape, str(bucket)).set(seconds)

    def reused(self, count: int) -> None:
        self._all._reused().inc(count)

    def shared(self, how: str, count: int) -> None:
        self._all._shared(how).inc(count)

    def latents_bytes(self, count: int) -> None:
        self._all._latents(self._device).set(count)

    def shrunk(self, largest: int) -> None:
        self._all._largest(self._device).set(largest)

    def steps(self, count: int) -> None:
        self._all._steps().inc(count)

    def wasted(self, count: int) -> None:
        self._all._wasted().inc(count)

    def queued(self, count: int) -> None:
        """How many rows wait now."""
        self._all._queue_depth(self._device).set(count)

    def queue_seconds(self, seconds: float) -> None:
        self._all._queue_s().observe(seconds)

    def refused(self, reason: str) -> None:
        self._all._refusals(reason).inc()
