"""The command line over the engine."""

from particleseg_app.cli.main import main

__all__ = ["main"]
