"""Fixtures of the command line's tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def own_models(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own models are never touched."""
    monkeypatch.setenv("PARTICLESEG_DATA_DIR", str(tmp_path_factory.mktemp("user")))
