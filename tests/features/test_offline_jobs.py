"""Tables are told apart while a job runs, whatever is in them, and named as ever afterwards."""

import warnings

import pandas as pd
import pytest
from dask.base import normalize_token, tokenize

from features.offline_jobs import offline_job


def test_every_table_has_a_name_of_its_own_and_keeps_it():
    with offline_job():
        tables = [pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [1]}), pd.Series([1])]
        names = [tokenize(table) for table in tables]
        assert len(set(names)) == 3
        assert names == [tokenize(table) for table in tables]


def test_a_table_that_is_gone_leaves_its_name_to_nobody():
    with offline_job():
        names = {tokenize(pd.DataFrame({"a": [1]})) for _ in range(100)}
    with offline_job():
        names |= {tokenize(pd.DataFrame({"a": [1]})) for _ in range(100)}
    assert len(names) == 200


def test_afterwards_tables_are_named_by_what_is_in_them_even_when_the_job_fails():
    before = normalize_token.dispatch(pd.DataFrame)
    with pytest.raises(ZeroDivisionError), offline_job():
        assert normalize_token.dispatch(pd.DataFrame) is not before
        raise ZeroDivisionError
    assert normalize_token.dispatch(pd.DataFrame) is before
    assert tokenize(pd.DataFrame({"a": [1]})) == tokenize(pd.DataFrame({"a": [1]}))


def test_only_dasks_own_warning_is_kept_quiet():
    with offline_job():
        warnings.warn("Downcasting object dtype arrays is deprecated", FutureWarning, stacklevel=1)
        with pytest.warns(FutureWarning, match="something else"):
            warnings.warn("something else", FutureWarning, stacklevel=1)
