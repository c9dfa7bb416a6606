"""What actors of Ray are fed with, without Ray."""

import pickle
from dataclasses import dataclass

import pytest

from server.bulk.plan import RequestsInvalid
from server.bulk.ray_engine import Feeder


@dataclass(frozen=True)
class Row:
    number: int


class File:
    """Of seven rows; remembers how many were read."""

    def __init__(self, fault=None):
        self.num_read, self.fault = 0, fault

    def read(self):
        for number in range(1, 8):
            self.num_read = number
            yield Row(number)
        if self.fault is not None:
            raise self.fault


@pytest.fixture
def file():
    return File()


def numbers(block):
    return [pickle.loads(task).number for task in block]


def test_no_more_is_read_than_somebody_has_asked_for(file):
    feeder = Feeder(file.read, 2)
    assert file.num_read == 0
    assert numbers(feeder.take(0)) == [1, 2] and file.num_read == 2
    assert numbers(feeder.take(2)) == [5, 6] and file.num_read == 6
    assert numbers(feeder.take(1)) == [3, 4] and file.num_read == 6
    assert numbers(feeder.take(3)) == [7]


def test_a_block_is_there_for_another_until_it_is_dropped(file):
    feeder = Feeder(file.read, 4)
    assert feeder.take(0) == feeder.take(0)
    feeder.drop(0)
    assert feeder.take(0) == [] and numbers(feeder.take(1)) == [5, 6, 7]


def test_what_reading_raises_is_raised():
    feeder = Feeder(File(RequestsInvalid("the file has changed")).read, 4)
    assert numbers(feeder.take(0)) == [1, 2, 3, 4]
    with pytest.raises(RequestsInvalid, match="the file has changed"):
        feeder.take(1)
