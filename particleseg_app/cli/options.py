"""Options that several commands share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer


@dataclass
class Verbosity:
    trace: bool = False


verbosity = Verbosity()


def _set_verbose(wanted: bool) -> bool:
    verbosity.trace = verbosity.trace or wanted
    return wanted


Verbose = Annotated[
    bool, typer.Option("--verbose", help="Show the trace of an error.", callback=_set_verbose)
]
