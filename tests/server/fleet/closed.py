"""An engine that a replica opens in no time."""

from server.sampling.engine import Engine, EngineLimits
from tests.server.sampling.closed_model import WARM_TAG, ClosedModel, make_request


def open_closed():
    engine = Engine([ClosedModel()], EngineLimits(buckets=(1, 2, 4, 8)))
    engine.start([make_request(WARM_TAG)])
    return engine
