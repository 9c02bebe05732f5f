"""ParticleSeg: finds and separates every particle of a micro-CT scan and measures it."""

__version__ = "0.1.0"
