"""One small corpus for all tests of training."""

from __future__ import annotations

import numpy as np
import pytest

from diffusion.training.corpus import Corpus
from tests.diffusion.training.small import make_corpus


class Watched(Corpus):
    """A corpus that says so when a product that is held out is looked at."""

    def composite(self, views, places, seeds):
        self.check(views)
        return super().composite(views, places, seeds)

    def check(self, views):
        held_out = [i for i, product in enumerate(self.products) if product.held_out]
        assert not np.isin(views.numpy(), self.view_index[held_out]).any(), "a leak"


class Guarded(Watched):
    """Not even the packshot of a product that is held out may be looked at."""

    def packshot(self, views):
        self.check(views)
        return super().packshot(views)


@pytest.fixture(scope="session")
def corpus_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("small")


@pytest.fixture(scope="session")
def corpus(corpus_folder) -> Corpus:
    return make_corpus(corpus_folder)


@pytest.fixture(scope="session")
def watched(corpus):
    return Watched(corpus.products, corpus.views, corpus.view_index, corpus.scenes)


@pytest.fixture(scope="session")
def guarded(corpus):
    return Guarded(corpus.products, corpus.views, corpus.view_index, corpus.scenes)
