"""How the command line tells an error: as the engine does, with the option where one helps."""

from __future__ import annotations

from particleseg_app.errors import CardError, NewRunError, UserError


def error_words(error: UserError) -> str:
    """What is wrong, and what to do about it on the command line."""
    if isinstance(error, NewRunError):
        return f"{error.sentence} {error.remedy.removesuffix('.')} (segment --new-run)."
    if isinstance(error, CardError):
        return f"{error.sentence} {error.remedy.removesuffix('.')} (--device cpu)."
    return str(error)
