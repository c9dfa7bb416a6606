"""Ray Serve: a cluster that is there already (RAY_ADDRESS), or one of this machine.

Only here and in `keeping` is Ray imported. On a cluster that is shared a pool has the name of what
it serves and how: doors that are set alike find the same replicas, and leave them when they go.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.configuration import ReplicasSlice
from server.fleet.orders import Order, Outcome, Paces, Refused, Sampled
from server.fleet.replica import Open, Replica
from server.fleet.transport import Hear, ReplicaLost
from server.sampling.engine import EngineLimits

DEPLOYMENT = "replica"
HEALTH_S = 2.0
STOP_S = 20.0


class RayMissing(RuntimeError):
    """Ray Serve is not installed."""


class ClusterFailed(RuntimeError):
    """Replicas that do not start; says what Ray says."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the replicas of a pool are made. `open_engine` is called in each, and must be found there
    by its name."""

    name: str
    open_engine: Open
    num_threads: int

    @property
    def app(self) -> str:
        """Equal recipes, equal names."""
        digest = hashlib.sha256(pickle.dumps(self.open_engine)).hexdigest()[:12]
        return f"etalage-{self.name}-{digest}"


class Cluster:
    """Ray as a client of it: calls that wait are made in threads."""

    def __init__(self, settings: ReplicasSlice, limits: EngineLimits) -> None:
        self._settings, self._limits = settings, limits
        self._is_own = not os.environ.get("RAY_ADDRESS")

    def start(self) -> None:
        """Takes seconds. Raises RayMissing and ClusterFailed."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_SERVE_LOG_TO_STDERR", "0")
        # A process for each core, before anybody wants one: Ray does so unless told not to.
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
        os.environ.setdefault("RAY_enable_worker_prestart", "0")
        # A machine that is busy takes longer than Ray waits for its agents.
        os.environ.setdefault("RAY_agent_register_timeout_ms", "60000")
        # Straight to the replica: through Ray's own calls an image takes 2 ms more.
        os.environ.setdefault("RAY_SERVE_USE_GRPC_BY_DEFAULT", "1")
        # Replicas are chosen in the loop that asks, not in one of a thread beside it.
        os.environ.setdefault("RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP", "0")
        try:
            import ray
            from ray import serve
        except ImportError as error:
            text = f"Ray Serve is not installed: pip install 'etalage-server[ray]' ({error})"
            raise RayMissing(text) from error
        told: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._is_own:
            count = self._settings.max_replicas * self._settings.cpus
            cpus = max(os.cpu_count() or 1, int(4 * count) + 1)  # room for other models as well
            told |= {"num_cpus": cpus, "include_dashboard": False}
        try:
            try:
                ray.init(namespace="etalage", **told)
            except Exception:  # a machine that is busy may take longer than Ray waits for it
                ray.shutdown()
                ray.init(namespace="etalage", **told)
            logging.getLogger("ray.serve").setLevel(logging.ERROR)
            serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})
        except Exception as error:  # whatever a cluster says of itself
            raise ClusterFailed(f"no cluster of Ray: {error}") from error

    async def stop(self) -> None:
        """A cluster of our own goes; one that is shared keeps its replicas."""
        import ray
        from ray import serve

        if self._is_own:
            await serve.shutdown_async()
        await asyncio.to_thread(ray.shutdown)

    async def deploy(self, recipe: Recipe) -> RayTransport:
        """Waits until the first replicas are warm. Raises ClusterFailed."""
        from ray import serve

        await asyncio.to_thread(self._ensure, recipe)
        handle = await asyncio.to_thread(serve.get_deployment_handle, DEPLOYMENT, recipe.app)
        return RayTransport(handle, recipe.app, self)

    def _ensure(self, recipe: Recipe) -> None:
        from ray import serve

        known = serve.status().applications.get(recipe.app)
        if known is None or known.status not in ("RUNNING", "DEPLOYING"):
            self._run(recipe)

    def delete(self, app: str) -> None:
        from ray import serve

        if self._is_own:
            serve.delete(app)

    def _run(self, recipe: Recipe) -> None:
        from ray import serve

        deployment = serve.deployment(Replica).options(name=DEPLOYMENT, **self._options(recipe))
        try:
            serve.run(deployment.bind(recipe.open_engine), name=recipe.app, route_prefix=None)
        except Exception as error:
            told = serve.status().applications.get(recipe.app)
            reason = told.message.strip() if told is not None and told.message else str(error)
            serve.delete(recipe.app)
            raise ClusterFailed(f"{recipe.name}: {_shorten(reason)}") from error

    def _options(self, recipe: Recipe) -> Mapping[str, Any]:
        from ray.serve.config import RequestRouterConfig

        settings = self._settings
        environment = {
            "OMP_NUM_THREADS": str(recipe.num_threads),
            "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0",
        }
        if path := os.environ.get("PYTHONPATH"):
            environment["PYTHONPATH"] = path
        return {
            "autoscaling_config": {
                "min_replicas": settings.min_replicas,
                "initial_replicas": settings.min_replicas,
                "max_replicas": settings.max_replicas,
                "target_ongoing_requests": settings.queue,
                "upscale_delay_s": settings.upscale_s,
                "downscale_delay_s": settings.downscale_s,
            },
            # The engine refuses what is too much: nothing waits where nobody can tell for how long.
            "max_ongoing_requests": 2 * self._limits.max_rows,
            "health_check_period_s": HEALTH_S,
            "graceful_shutdown_timeout_s": STOP_S,
            "ray_actor_options": {
                "num_cpus": settings.cpus,
                "num_gpus": settings.gpus,
                "runtime_env": {"env_vars": environment},
            },
            "request_router_config": RequestRouterConfig(
                request_router_class="server.fleet.keeping:Together"
            ),
            "logging_config": {"log_level": "WARNING", "enable_access_log": False},
        }


class RayTransport:
    """Replicas of Ray Serve. Made in the loop that it belongs to."""

    def __init__(self, handle: Any, app: str, cluster: Cluster) -> None:
        self._cluster, self._app, self._handle = cluster, app, handle
        self._sample = handle.options(method_name="sample")
        self._follow = handle.options(method_name="follow", stream=True)
        self._measure = handle.options(method_name="measure")

    async def sample(self, order: Order, hear: Hear | None = None) -> Outcome:
        response: Any = None
        try:
            if hear is None:
                response = self._sample.remote(order)
                outcome: Outcome = await response
                return outcome
            response = self._follow.remote(order)
            async for told in response:
                if isinstance(told, Sampled | Refused):
                    return told
                hear(told)
        except asyncio.CancelledError:
            if response is not None:
                response.cancel()
            raise
        except _losses() as error:
            raise ReplicaLost(_shorten(str(error))) from error
        raise ReplicaLost("it said no last word")

    async def measure(self) -> Paces:
        try:
            paces: Paces = await self._measure.remote()
        except _losses() as error:
            raise ReplicaLost(_shorten(str(error))) from error
        return paces

    async def forget_walks(self) -> None:
        await self._handle.broadcast("forget_walks").results_async()

    async def count(self) -> int:
        return await asyncio.to_thread(self._count)

    async def close(self) -> None:
        await asyncio.to_thread(self._cluster.delete, self._app)

    def _count(self) -> int:
        from ray import serve

        app = serve.status().applications.get(self._app)
        if app is None or DEPLOYMENT not in app.deployments:
            return 0
        return int(app.deployments[DEPLOYMENT].replica_states.get("RUNNING", 0))


def _losses() -> tuple[type[Exception], ...]:
    """What says that a replica is gone, and not that what it was asked for is wrong."""
    from ray.exceptions import NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError
    from ray.serve.exceptions import ReplicaUnavailableError

    gone = NodeDiedError, ObjectLostError, RayActorError, WorkerCrashedError
    return (*gone, ReplicaUnavailableError)


def _shorten(text: str) -> str:
    """The last line: of a traceback that is what happened."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "no reason was told"
