"""Lets `python -m braind` do what `braind` does."""

from .cli import main

main()
