"""config: look at the settings."""

from pathlib import Path

import click

from ..errors import ExitCode
from .options import config_options


@click.group()
def config() -> None:
    """Look at the settings."""


@config.command()
@config_options
def show(config_path: Path | None, data: Path | None) -> None:
    """Print every setting and where its value comes from."""
    import json

    from ..config import config_sources

    for setting in config_sources(config_path, {"paths": {"data": None if data is None else str(data)}}):
        value = json.dumps(setting.value, ensure_ascii=False)
        click.echo(f"{f'{setting.section}.{setting.key}':28} {value:24} {setting.source}")


@config.command()
@config_options
def validate(config_path: Path | None, data: Path | None) -> None:
    """List every problem in the settings."""
    from ..config import config_problems

    problems = config_problems(config_path) or _problems_of_keys(config_path)
    for problem in problems:
        click.echo(problem)
    if problems:
        raise SystemExit(ExitCode.USAGE)


def _problems_of_keys(config_path: Path | None) -> list[str]:
    from ..config import config_sources

    keys = next(one for one in config_sources(config_path) if (one.section, one.key) == ("monitor", "keys"))
    if not keys.value:
        return []
    # All screens must be imported, and the app imports them.
    from ..tui import app  # noqa: F401
    from ..tui.keymap import keymap_problems

    return [f"{keys.source} [monitor.keys]: {problem}" for problem in keymap_problems(keys.value)]
