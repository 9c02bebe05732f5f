"""The one family of errors that a user can cause; anything else that is raised is a bug."""

from __future__ import annotations


class UserError(Exception):
    """Something the user can put right.

    `sentence` says what is wrong (one sentence, names the file or value concerned); `remedy` says
    what to do about it (one short sentence, may be empty).
    """

    def __init__(self, sentence: str, remedy: str = "") -> None:
        self.sentence = sentence
        self.remedy = remedy
        super().__init__(f"{sentence} {remedy}".strip())

    def __reduce__(self) -> tuple[type[UserError], tuple[str, str]]:
        """Errors come back from other processes with sentence and remedy apart."""
        return type(self), (self.sentence, self.remedy)


class InvalidValueError(UserError):
    """A size, count or choice outside what is possible."""


class ScanError(UserError):
    """A scan that cannot be imported or read."""


class ModelError(UserError):
    """A model folder that cannot be used, or is not safe to use."""


class ProjectError(UserError):
    """A project that cannot be opened, created or changed."""


class RunError(UserError):
    """A segmentation run that cannot start or go on."""


class CardError(RunError):
    """A run that a graphics card failed; it can go on where it is, on the processor."""


class NewRunError(RunError):
    """A run that cannot go on as it is, while a new one with the same settings can."""


class ExportError(UserError):
    """A result that cannot be written where it was asked for."""


class Cancelled(Exception):  # noqa: N818 - an outcome that was asked for, not an error
    """Raised inside long work after its cancel token was set."""
