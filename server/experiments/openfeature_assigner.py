"""Arms by an OpenFeature provider: a string flag for each experiment, whose value is an arm's name.

The flag's key is the experiment's, the targeting key the unit. Weights, coverage and namespaces are
the provider's own; what the file says of them is what propensities and reports go by.
"""

from __future__ import annotations

import logging
from typing import Self

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.flag_evaluation import FlagMetadata
from openfeature.provider import FeatureProvider

from server.experiments.assigner import Choice
from server.experiments.definition import Experiment

DOMAIN = "etalage"

log = logging.getLogger(__name__)


class OpenFeatureAssigner:
    """Evaluates on the caller's thread: a provider should decide without asking the network."""

    def __init__(self, client: OpenFeatureClient) -> None:
        self._client = client
        self._told: set[tuple[str, str]] = set()

    @classmethod
    def over(cls, provider: FeatureProvider, domain: str = DOMAIN) -> Self:
        """Raises what the provider does where it can't be initialized."""
        api.set_provider_and_wait(provider, domain)
        # It would tell of a failing provider at every call, with a traceback.
        logging.getLogger("openfeature").setLevel(logging.CRITICAL)
        return cls(api.get_client(domain))

    def choose(self, experiment: Experiment, unit: str, is_eligible: bool = True) -> Choice | None:
        """None as well where the provider fails, or names no arm: told by the log once."""
        if not is_eligible:
            return None
        answer = self._client.get_string_details(experiment.key, "", EvaluationContext(unit))
        if answer.error_code is not None:
            told = str(answer.error_message or "")[:200].replace(unit, "…")
            self._tell(experiment, f"the provider failed: {answer.error_code.value}", told)
            return None
        if (arm := experiment.arm(answer.value)) is None:
            if answer.value:
                self._tell(experiment, "the provider names no arm", f"{answer.value[:64]!r}")
            return None
        propensity = self._find_propensity(experiment, answer.flag_metadata)
        return Choice(arm, arm.weight if propensity is None else propensity)

    def _find_propensity(self, experiment: Experiment, metadata: FlagMetadata) -> float | None:
        if (given := metadata.get("propensity")) is None:
            return None
        if isinstance(given, int | float) and not isinstance(given, bool) and 0 < given <= 1:
            return float(given)
        self._tell(experiment, "the provider's propensity is not used", f"{given!r}"[:64])
        return None

    def _tell(self, experiment: Experiment, what: str, detail: str) -> None:
        if (experiment.key, what) not in self._told:
            self._told.add((experiment.key, what))
            log.warning("experiment %s: %s: %s", experiment.key, what, detail)
