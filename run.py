#!/usr/bin/env python3
"""Set up ParticleSeg and start it, show it, or test it. Needs nothing but Python 3.11 or newer.

python3 run.py demo        do the main job on the bundled sample
python3 run.py test        run every check and test
python3 run.py app [PATH]  start the program
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE / ".venv"
CONSTRAINTS = HERE / "constraints.txt"
DEMO_OUTPUT = HERE / "demo-output"

# What Qt and OpenGL need on Debian and Ubuntu; the virtual screen is for the tests of the window.
SYSTEM_PACKAGES = [
    "libegl1",
    "libgl1",
    "libgl1-mesa-dri",
    "libxkbcommon0",
    "libxkbcommon-x11-0",
    "libdbus-1-3",
    "libfontconfig1",
    "libfreetype6",
    "libglib2.0-0",
    "libx11-xcb1",
    "libxcb-cursor0",
    "libxcb-icccm4",
    "libxcb-image0",
    "libxcb-keysyms1",
    "libxcb-randr0",
    "libxcb-render-util0",
    "libxcb-shape0",
    "libxcb-xkb1",
    "libxcb-glx0",
    "fonts-dejavu-core",
]
TEST_SYSTEM_PACKAGES = ["xvfb"]


def say(text: str) -> None:
    print(f"run.py: {text}", flush=True)


def call(command: Sequence[str | Path], **options: object) -> None:
    """Run a command with its output shown; end with its exit code if it fails."""
    say(" ".join(str(part) for part in command[:6]) + (" …" if len(command) > 6 else ""))
    code = subprocess.call([str(part) for part in command], **options)  # type: ignore[arg-type]
    if code:
        say(f"that ended with exit code {code}.")
        sys.exit(code)


def python_of_environment() -> Path:
    folder = "Scripts" if os.name == "nt" else "bin"
    return ENVIRONMENT / folder / ("python.exe" if os.name == "nt" else "python")


def pinned(section: str) -> list[str]:
    """The pins of one section of constraints.txt."""
    lines = CONSTRAINTS.read_text(encoding="utf-8").splitlines()
    start = lines.index(f"# --- {section}") + 1
    pins: list[str] = []
    for line in lines[start:]:
        if line.startswith("# ---"):
            break
        if line.strip() and not line.startswith("#"):
            pins.append(line.strip())
    return pins


def install_system_packages(wanted: list[str]) -> None:
    """On Debian and Ubuntu, install what is missing as root; otherwise say what may be missing."""
    if not shutil.which("dpkg-query"):
        return
    missing = [name for name in wanted if not _debian_package_installed(name)]
    if not missing:
        return
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        quiet = {"env": environment, "stdout": subprocess.DEVNULL}
        call(["apt-get", "update", "-qq"], **quiet)
        call(command, **quiet)
    else:
        say(f"the window may need system packages; install them with: sudo {' '.join(command)}")


def _debian_package_installed(name: str) -> bool:
    query = ["dpkg-query", "-W", "-f", "${Status}", name]
    answer = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    return answer.startswith("install ok")


def pip_install(*arguments: str | Path) -> None:
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    call([python_of_environment(), *pip, *arguments])


def install_python_packages(sections: list[str]) -> None:
    """Make `.venv` and bring it to the pins; nothing is done when it is there already."""
    python = python_of_environment()
    if not python.exists():
        say("making the environment .venv")
        venv.create(ENVIRONMENT, with_pip=True)
    for section in sections:
        pins = pinned(section)
        digest = hashlib.sha256("\n".join(pins).encode()).hexdigest()
        stamp = ENVIRONMENT / f"installed-{section}"
        if stamp.exists() and stamp.read_text() == digest:
            continue
        say(f"installing the {section} packages (this takes a few minutes the first time)")
        torch = [pin for pin in pins if pin.startswith("torch==")]
        if torch:
            # Alone and first, with what it needs on this machine; the others must not replace it.
            pip_install("--constraint", CONSTRAINTS, *torch)
        pip_install("--no-deps", *(pin for pin in pins if pin not in torch))
        stamp.write_text(digest)
    if not (ENVIRONMENT / "installed-self").exists():
        pip_install("--no-deps", "--no-build-isolation", "--editable", HERE)
        (ENVIRONMENT / "installed-self").write_text("")


def has_display() -> bool:
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def demo() -> None:
    install_system_packages(SYSTEM_PACKAGES)
    install_python_packages(["program"])
    python = python_of_environment()
    if has_display():
        say("opening the window; it does the main job on the bundled sample")
        call([python, "-m", "particleseg_app.gui.demo", "--output", DEMO_OUTPUT])
    else:
        say("there is no display; doing the main job on the bundled sample without a window")
        environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
        call(
            [python, "-m", "particleseg_app.gui.demo", "--output", DEMO_OUTPUT, "--headless"],
            env=environment,
        )


def test(arguments: list[str]) -> None:
    install_system_packages(SYSTEM_PACKAGES + TEST_SYSTEM_PACKAGES)
    install_python_packages(["program", "cluster", "tests"])
    python = python_of_environment()
    if not arguments:
        call([python, "-m", "ruff", "check", HERE])
        call([python, "-m", "ruff", "format", "--check", HERE])
        call([python, "-m", "mypy", "particleseg_app", "run.py"], cwd=HERE)
        call([ENVIRONMENT / python.parent.name / "lint-imports", "--no-cache"], cwd=HERE)
    workers = ["-n", "auto", "--dist", "loadfile"] if not arguments else []
    call([python, "-m", "pytest", *workers, *arguments], cwd=HERE)


def app(arguments: list[str]) -> None:
    install_system_packages(SYSTEM_PACKAGES)
    install_python_packages(["program"])
    call([python_of_environment(), "-m", "particleseg_app.gui.main", *arguments])


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - this is where an older Python is told
        sys.exit("ParticleSeg needs Python 3.11 or newer.")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["demo", "test", "app"])
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="handed on as they are")
    options = parser.parse_args()
    if options.what == "demo":
        demo()
    elif options.what == "test":
        test(options.arguments)
    else:
        app(options.arguments)


if __name__ == "__main__":
    main()
