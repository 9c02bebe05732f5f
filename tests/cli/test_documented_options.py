"""Every command and option is in docs/command_line.md, and nothing there is made up."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from particleseg_app.cli.main import app

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "command_line.md").read_text(encoding="utf-8")
EVERYWHERE = {"--help", "--verbose", "-h"}  # said once, at the top


def commands(group=None, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    group = group or get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands())


def options(command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name[0] == "-"}


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_and_option_is_described(path: tuple[str, ...]) -> None:
    name = " ".join(path)
    # batch is described in a page of its own.
    text = GUIDE + ((DOCS / "batch.md").read_text(encoding="utf-8") if path == ("batch",) else "")
    assert f"particleseg {name}" in text
    missing = [
        option
        for option in sorted(options(ALL[path]) - EVERYWHERE)
        if not re.search(rf"{option}(?![\w-])", text)
    ]
    assert not missing


def test_every_option_that_is_described_is_there() -> None:
    known = set().union(*(options(command) for command in ALL.values())) | {"--version"}
    pages = ("command_line.md", "batch.md", "cluster.md", "training.md", "noise.md", "models.md")
    for page in pages:
        for line in (DOCS / page).read_text(encoding="utf-8").splitlines():
            if "particleseg " in line and "particleseg_app" not in line:
                named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", line))
                assert named <= known | EVERYWHERE, line
    described = set(re.findall(r"`(--[a-z][a-z0-9-]+)", GUIDE)) - EVERYWHERE
    assert described <= known | EVERYWHERE


def test_every_option_says_what_it_is_for() -> None:
    for path, command in ALL.items():
        for parameter in command.params:
            assert getattr(parameter, "help", None), (path, parameter.name)
