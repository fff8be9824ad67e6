"""The command line: the group `braind` with all commands. Commands import heavy modules only when they run."""

import errno
import os
import sys
import warnings
from typing import Any

import click

from . import __version__
from .commands import (
    bridge,
    calibrate,
    check,
    completion,
    encode,
    keys,
    live,
    nsd,
    outlet,
    recorded,
    report,
    send,
    sessions,
    settings,
)
from .console import is_reader_gone
from .errors import BraindError, ExitCode
from .extras import extra_with, how_to_install
from .printable import printable

# codes of errors about unusable inputs, in every command
UNFIT = (
    "option", "ldm", "preset", "engine", "features", "surface", "report", "captioner", "outlet", "events", "sessions",
    "key", "address",
)  # fmt: skip
COMMAND = f"{__name__}.command"
"""The key of the command's name in a context's `meta`."""
# Libraries warn about their own insides, which no user of a command can change.
UNSEEN_WARNINGS = (UserWarning, FutureWarning)


class FrontDoor(click.Group):
    """Turns errors into a sentence on stderr and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        # transformers warns about torchvision, which braind does not need.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        _hide_warnings()
        try:
            return super().invoke(ctx)
        except BraindError as error:
            # A sentence may quote a name or a daemon, and neither may reach the terminal's control codes.
            lines = map(printable, str(error).split("\n"))
            click.echo("braind: " + "\n".join(lines), err=True)
            ctx.exit(_exit_code(error, ctx.invoked_subcommand))
        except ModuleNotFoundError as error:
            command = ctx.meta[COMMAND]
            extra = extra_with(error.name, command)
            if extra is None:
                raise  # The module is none of an extra's.
            sentence = f"{command} needs {error.name}, which is not installed: {how_to_install(extra)}"
            click.echo(f"braind: {sentence}", err=True)
            ctx.exit(ExitCode.USAGE)
        except OSError as error:
            if is_reader_gone(error):
                raise BrokenPipeError(errno.EPIPE, error.strerror) from error  # click ends quietly
            if error.strerror is None:
                raise
            where = f"{error.filename}: " if error.filename is not None else ""
            advice = "; give another path, or put that right" if where else ""
            click.echo(f"braind: {printable(f'{where}{error.strerror}')}{advice}", err=True)
            ctx.exit(ExitCode.FAILED)
        except KeyboardInterrupt:
            click.echo("braind: interrupted", err=True)
            ctx.exit(ExitCode.INTERRUPTED)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; keep its name, with a group's command as `outlet lsl`, for the sentences about it."""
        name, command, rest = super().resolve_command(ctx, args)
        ctx.meta[COMMAND] = f"{name} {rest[0]}" if isinstance(command, click.Group) and rest else name
        return name, command, rest


def _hide_warnings() -> None:
    """Hide the libraries' warnings from the terminal, here and in child processes; `python -W` shows them."""
    if not sys.warnoptions:
        for category in UNSEEN_WARNINGS:
            warnings.simplefilter("ignore", category)
        # pyzmq says on Windows that it uses tornado for asyncio.
        warnings.filterwarnings("ignore", "Proactor event loop", RuntimeWarning)
        words = ",".join(f"ignore::{category.__name__}" for category in UNSEEN_WARNINGS)
        os.environ.setdefault("PYTHONWARNINGS", words)


def _exit_code(error: BraindError, command: str | None) -> ExitCode:
    from .client.connection import NoDaemonError, RefusedByDaemon
    from .config import ConfigError

    if isinstance(error, NoDaemonError) or error.code == "no_cluster":
        return ExitCode.NO_DAEMON
    # `serve` raises only at its start: its errors mean that the start was refused.
    is_refused = command == "serve" or isinstance(error, ConfigError | RefusedByDaemon) or error.code in UNFIT
    return ExitCode.USAGE if is_refused else ExitCode.FAILED


def _version(context: click.Context, _: click.Parameter, is_asked: bool) -> None:
    """Print the versions of the program, of the wire protocol and of the files of weights, and end."""
    if not is_asked or context.resilient_parsing:
        return
    from .client.wire import PROTOCOL_VERSION
    from .models.weights.card import SCHEMA

    click.echo(f"braind {__version__} (protocol {PROTOCOL_VERSION}, weights schema {SCHEMA})")
    context.exit()


@click.group(cls=FrontDoor, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Print the versions."
)
def main() -> None:
    """Decode what people see, from fMRI, volume by volume.

    \b
    Exit status: 0 done, 1 failed, 2 wrong options, settings or refused at the start, 3 no daemon (or no Ray
    cluster), 130 interrupted.
    `braind check --help` lists the exit statuses of that command.
    """


for command in (
    live.serve,
    check.check,
    check.doctor,
    live.use,
    calibrate.calibrate,
    live.replay,
    live.monitor,
    live.status,
    send.send,
    bridge.bridge,
    outlet.outlet,
    keys.keys,
    settings.config,
    nsd.nsd,
    recorded.simulate,
    recorded.fit,
    recorded.decode,
    recorded.evaluate,
    encode.encode,
    report.report,
    sessions.sessions,
    recorded.engines,
    recorded.demo,
    completion.completion,
):
    main.add_command(command)
