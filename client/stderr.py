"""Sentences for people, on stderr: stdout is for data."""

import sys


def say(sentence: str) -> None:
    """Write a sentence to stderr."""
    sys.stderr.write(f"braind: {sentence}\n")
