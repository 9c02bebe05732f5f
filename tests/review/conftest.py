"""Fixtures of the review room's tests."""

from __future__ import annotations

import pytest

from particleseg_app.review import journal_file


@pytest.fixture
def unflushed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals that do not wait for the disk, where a test makes hundreds of mends."""
    monkeypatch.setattr(journal_file, "SYNCHRONOUS", "OFF")
