"""A bandit's policy, learned from the log beside the requests.

bayesianbandits keeps, for each arm, a Bayesian linear regression of its rewards on the context.
Nothing is stored: a server that starts reads the log again. Importing this takes seconds, for
scikit-learn.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from bayesianbandits import NormalRegressor  # type: ignore[import-untyped]
from numpy.typing import NDArray
from sqlalchemy import Engine

from server import logs
from server.experiments.bandit import Policy, ThompsonBandit, begin
from server.experiments.bandit_context import SIZE
from server.experiments.bandit_log import LogReader, Rows
from server.experiments.definition import Experiment

NUM_DRAWS = 512
MOST = 100.0
"""No context has larger numbers."""

_SEED = 6  # the same every time: what is learned moves the draws, and nothing else does
_LIGHT = 2.0**-40
_PIECE_PAUSE_S = 0.02  # for those who answer requests

log = logs.logger(__name__)


class Learner:
    """What an experiment's arms are worth. Belongs to one thread at a time."""

    def __init__(self, experiment: Experiment) -> None:
        self._beginning = begin(experiment)
        # As if rewards had a variance of 1: `decide` knows how much they have.
        self._regressions = {arm.name: NormalRegressor(1.0, 1.0) for arm in experiment.arms}
        self._num_seen = self._num_rewarded = 0

    def learn(self, rows: Rows) -> None:
        """Skips rows of arms that the experiment has not, and of contexts that can't be."""
        are_sound = (np.abs(rows.contexts) <= MOST).all(axis=1)
        arms = np.array(rows.arms, dtype=str)
        for arm, regression in self._regressions.items():
            contexts = rows.contexts[are_sound & (arms == arm)]
            if not len(contexts):
                continue
            if rows.are_rewards:
                # As decisions they were learned with no reward: a row that weighs next to nothing,
                # with a reward as large as that is little, adds what they lacked.
                self._num_rewarded += len(contexts)
                light = np.full(len(contexts), _LIGHT)
                regression.partial_fit(contexts, 1.0 / light, light)
            else:
                self._num_seen += len(contexts)
                regression.partial_fit(contexts, np.zeros(len(contexts)))

    def decide(self) -> Policy:
        """By what is learned so far; by the weights, where that is nothing."""
        if not self._num_seen:
            return self._beginning
        # Rewards are 0 or 1, and vary as those do.
        rate = (min(self._num_rewarded, self._num_seen) + 1) / (self._num_seen + 2)
        deviation, rng = math.sqrt(rate * (1.0 - rate)), np.random.default_rng(_SEED)
        draws = [_draw(each, deviation, rng) for each in self._regressions.values()]
        return replace(self._beginning, draws=np.stack(draws, axis=1))


def _draw(
    regression: NormalRegressor, deviation: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Coefficients [NUM_DRAWS, SIZE]; of an arm without data, those of the prior."""
    regression.random_state = rng
    unscaled = regression.sample(np.eye(SIZE), NUM_DRAWS)  # what each number alone would bring
    mean = regression.coef_
    return np.asarray(mean + deviation * (unscaled - mean), np.float64)


class BanditLearning:
    """Has a bandit follow what comes in, in the background. Belongs to one event loop."""

    def __init__(
        self, bandit: ThompsonBandit, experiments: Iterable[Experiment], engine: Engine
    ) -> None:
        """`engine` is one of `event_log.opening.open_events`, and stays its owner's."""
        self._bandit, self._engine = bandit, engine
        self._experiments = [each for each in experiments if each.bandit is not None]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._keep_learning(e)) for e in self._experiments]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _keep_learning(self, experiment: Experiment) -> None:
        assert experiment.bandit is not None
        learner, reader = Learner(experiment), LogReader(self._engine, experiment)
        is_failing = False
        while True:
            try:
                pieces = reader.read()
                while await asyncio.to_thread(_learn_piece, pieces, learner):
                    await asyncio.sleep(_PIECE_PAUSE_S)
                self._bandit.follow(experiment.key, await asyncio.to_thread(learner.decide))
                is_failing = False
            except Exception as error:  # the last policy stays
                if not is_failing:  # once, not at each try
                    log.error("a bandit can't learn", experiment=experiment.key, exc_info=error)
                is_failing = True
            await asyncio.sleep(experiment.bandit.refresh_s)


def _learn_piece(pieces: Iterator[Rows], learner: Learner) -> bool:
    """Whether there was one."""
    if (rows := next(pieces, None)) is None:
        return False
    learner.learn(rows)
    return True
