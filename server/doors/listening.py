"""The two doors, and their way to open and to close: one for images, one for admins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from functools import partial

from server import logs
from server.access.access import Access
from server.batches.jobs import Jobs
from server.configuration import DrainSlice, ServerSlice
from server.doors import channelz
from server.doors.admission import Gate, State
from server.doors.answers import Generator
from server.doors.batches import SERVICE as BATCH_SERVICE
from server.doors.batches import BatchService
from server.doors.enhancement import SERVICE as ENHANCEMENT_SERVICE
from server.doors.enhancement import Enhancement, EnhancementService
from server.doors.experiments import SERVICE as EXPERIMENT_SERVICE
from server.doors.experiments import ExperimentService, Laboratory
from server.doors.images import CANCEL, SERVICE, ImageService
from server.doors.interceptor import RequestInterceptor
from server.doors.models import SERVICE as MODEL_SERVICE
from server.doors.models import ModelService
from server.doors.port import HealthPort, Port, Service
from server.doors.privacy import SERVICE as PRIVACY_SERVICE
from server.doors.privacy import Desk, PrivacyService
from server.doors.provenance import SERVICE as PROVENANCE_SERVICE
from server.doors.provenance import ProvenanceService, Verification
from server.metrics import Metrics
from server.models import Models

MAX_ADMIN_CALLS = 64
MAX_BATCH_CALLS = 512
"""Those who watch among them: batches don't take the places of images."""

MAX_EVENT_CALLS = 512
"""Streams among them: nor do events."""

MAX_VERIFY_CALLS = 16
"""Each holds a picture, and takes a second of a core."""
MAX_PRIVACY_CALLS = 64

log = logs.logger(__name__)


class Door:
    """Listens from `start` on, but is healthy only between `open` and `drain`."""

    def __init__(
        self, settings: ServerSlice, metrics: Metrics, access: Access | None = None
    ) -> None:
        """Without `access` everybody may call, in plain text."""
        access = access or Access()
        guard = partial(RequestInterceptor, metrics=metrics, reception=access.reception)
        self._gate = Gate(settings.max_in_flight, metrics)
        self._batch_gate = Gate(MAX_BATCH_CALLS, metrics)
        self._service = ImageService(settings, metrics)
        self._enhancement_gate = Gate(settings.max_in_flight, metrics)
        self._batches = BatchService(settings.max_message_bytes)
        self._enhancement = EnhancementService(settings.max_message_bytes)
        self._experiment_gate = Gate(MAX_EVENT_CALLS, metrics)
        self._experiments = ExperimentService(settings.max_message_bytes)
        self._provenance_gate = Gate(MAX_VERIFY_CALLS, metrics)
        self._provenance = ProvenanceService(settings.max_message_bytes)
        self._privacy_gate = Gate(MAX_PRIVACY_CALLS, metrics)
        self._privacy = PrivacyService()
        images = guard(SERVICE, self._gate, free=(CANCEL,))
        batches = guard(BATCH_SERVICE, self._batch_gate)
        repairs = guard(ENHANCEMENT_SERVICE, self._enhancement_gate)
        events = guard(EXPERIMENT_SERVICE, self._experiment_gate)
        origins = guard(PROVENANCE_SERVICE, self._provenance_gate)
        erasures = guard(PRIVACY_SERVICE, self._privacy_gate)
        services = (
            Service(SERVICE, self._service.handlers(), images),
            Service(BATCH_SERVICE, self._batches.handlers(), batches),
            Service(ENHANCEMENT_SERVICE, self._enhancement.handlers(), repairs),
            Service(EXPERIMENT_SERVICE, self._experiments.handlers(), events),
            Service(PROVENANCE_SERVICE, self._provenance.handlers(), origins),
            Service(PRIVACY_SERVICE, self._privacy.handlers(), erasures),
        )
        max_calls = 2 * settings.max_in_flight + MAX_BATCH_CALLS + MAX_EVENT_CALLS
        max_calls += MAX_VERIFY_CALLS + MAX_PRIVACY_CALLS
        self._port = Port(settings.host, settings.port, services, max_calls, access.certificates)
        self._health_port = HealthPort(
            settings.health_host, settings.health_port, self._port.health
        )

    async def start(self) -> int:
        """Listen, not healthy yet, and return the port. Raises OSError."""
        return await self._port.start()

    async def start_health(self) -> int:
        """Tell health on a port of its own, and return it. Raises OSError."""
        return await self._health_port.start()

    async def open(
        self,
        pipeline: Generator,
        models: Collection[str] | None = None,
        brand_kits: Collection[str] = (),
    ) -> None:
        """Let requests in; `models` are the names that they may ask for, "quality" by default, and
        may be a view of what changes."""
        self._service.attach(pipeline, models, brand_kits)
        self._gate.state = State.OPEN
        await self.report(True)

    def open_batches(
        self, jobs: Jobs, models: Collection[str], brand_kits: Collection[str] = ()
    ) -> None:
        """Let batches in; `models` and `brand_kits` are the names that their requests may use."""
        self._batches.attach(jobs, models, brand_kits)
        self._batch_gate.state = State.OPEN

    def open_enhancement(self, enhancer: Enhancement) -> None:
        """Let packshots in that want to be repaired."""
        self._enhancement.attach(enhancer)
        self._enhancement_gate.state = State.OPEN

    def open_experiments(self, laboratory: Laboratory) -> None:
        """Let events in, and questions of what came of them."""
        self._experiments.attach(laboratory)
        self._experiment_gate.state = State.OPEN

    def open_provenance(self, verifier: Verification) -> None:
        """Let images in of which is asked where they come from."""
        self._provenance.attach(verifier)
        self._provenance_gate.state = State.OPEN

    def name_shoppers(self, name: Callable[[str], str]) -> None:
        """Keep answers and batches under a name of whose they are, to forget them by."""
        self._service.answers.name_owners(name)
        self._batches.name_shoppers(name)

    def forget(self, name: str) -> int:
        """Drops what is kept for repeats of one shopper's requests; how many answers."""
        return self._service.answers.forget(name)

    def open_privacy(self, desk: Desk) -> None:
        """Let in who erases shoppers, asks what is held of them, or tells their consent."""
        self._privacy.attach(desk)
        self._privacy_gate.state = State.OPEN

    async def report(self, is_healthy: bool) -> None:
        """Say by name and as a whole whether we are healthy."""
        await self._port.report(is_healthy)

    async def drain(self, settings: DrainSlice) -> bool:
        """Say that we go, serve on a while, refuse, wait for those inside; False if some are left.

        A server that just stops would cancel what the transport has and we have not seen yet
        (grpc#41785); hence health first, and quiet before the end.
        """
        await self._port.say_goodbye()
        log.info("lame duck", seconds=settings.lame_duck_s)
        await asyncio.sleep(settings.lame_duck_s)
        gates = self._gate, self._batch_gate, self._enhancement_gate, self._experiment_gate
        for gate in (*gates, self._provenance_gate, self._privacy_gate):
            gate.state = State.STOPPING
        self._batches.dismiss()
        both = self._gate, self._enhancement_gate
        idle = await asyncio.gather(*(gate.idle(settings.grace_s) for gate in both))
        log.info("drained", left=sum(gate.num_in_flight for gate in both))
        return all(idle)

    async def stop(self) -> None:
        """End what is left and close the port."""
        num_left = self._gate.num_in_flight + self._enhancement_gate.num_in_flight
        await self._port.stop(num_left == 0)
        await self._health_port.stop()
        self._service.close()
        self._batches.close()


class AdminDoor:
    """For those who run the server: not for the network."""

    def __init__(
        self, settings: ServerSlice, metrics: Metrics, access: Access | None = None
    ) -> None:
        """Without `access` everybody may call, in plain text."""
        access = access or Access()
        guard = partial(RequestInterceptor, metrics=metrics, reception=access.reception)
        self._gate = Gate(MAX_ADMIN_CALLS, metrics)
        self._channelz_gate = Gate(MAX_ADMIN_CALLS, metrics)
        self._channelz_gate.state = State.OPEN
        self._service = ModelService()
        models = guard(MODEL_SERVICE, self._gate)
        connections = guard(channelz.SERVICE, self._channelz_gate)
        services = (
            Service(MODEL_SERVICE, self._service.handlers(), models),
            Service(channelz.SERVICE, channelz.handlers(), connections),
        )
        self._port = Port(
            settings.admin_host,
            settings.admin_port,
            services,
            MAX_ADMIN_CALLS,
            access.certificates,
        )

    async def start(self) -> int:
        """Listen, not healthy yet, and return the port. Raises OSError."""
        return await self._port.start()

    async def open(self, models: Models) -> None:
        self._service.attach(models)
        self._gate.state = State.OPEN
        await self._port.report(True)

    async def shut(self) -> None:
        """Answer nobody any more: the server stops."""
        self._gate.state = State.STOPPING
        await self._port.say_goodbye()

    async def stop(self) -> None:
        """Cut off who still waits, for a load it may be, and close the port."""
        await self._port.stop(self._gate.num_in_flight == 0)
