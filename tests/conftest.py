"""Fixtures of all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from particleseg_app.user_folders import DATA_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def own_user_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's own models, conversions and measured choices are never touched."""
    before = os.environ.get(DATA_VARIABLE)
    os.environ[DATA_VARIABLE] = str(tmp_path_factory.mktemp("user data"))
    yield
    if before is None:
        del os.environ[DATA_VARIABLE]
    else:
        os.environ[DATA_VARIABLE] = before
