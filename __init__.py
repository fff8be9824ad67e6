"""Real-time decoding of what people see, from fMRI."""

__version__ = "0.2.0"
