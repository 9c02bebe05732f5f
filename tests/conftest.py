"""Fixtures of all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from particleseg_app.user_folders import CACHE_VARIABLE, DATA_VARIABLE

# The same examples each time, so that the suite says of the same code what it said before.
# `--hypothesis-profile exploring` draws others, to look for what nobody thought of.
settings.register_profile("repeatable", derandomize=True)
settings.register_profile("exploring", print_blob=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session", autouse=True)
def own_user_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's own models, conversions and measured choices are never touched.

    Conversions are kept for the whole session, because one takes seconds.
    """
    before = {name: os.environ.get(name) for name in (CACHE_VARIABLE, DATA_VARIABLE)}
    for name in before:
        os.environ[name] = str(tmp_path_factory.mktemp("user"))
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
