"""The command line: the group `braind` with all commands. Commands import heavy modules only when they run."""

import os
from typing import Any

import click

from . import __version__
from .commands import (
    bridge,
    calibrate,
    check,
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
from .errors import BraindError, ExitCode
from .printable import printable

# codes of errors about unusable inputs, in every command
UNFIT = (
    "ldm", "preset", "engine", "features", "surface", "report", "captioner", "outlet", "events", "sessions", "key",
    "address",
)  # fmt: skip


class FrontDoor(click.Group):
    """Turns errors into a sentence on stderr and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        # transformers warns about torchvision, which braind does not need.
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        try:
            return super().invoke(ctx)
        except BraindError as error:
            # A sentence may quote a name or a daemon, and neither may reach the terminal's control codes.
            lines = map(printable, str(error).split("\n"))
            click.echo("braind: " + "\n".join(lines), err=True)
            ctx.exit(_exit_code(error, ctx.invoked_subcommand))
        except KeyboardInterrupt:
            click.echo("braind: interrupted", err=True)
            ctx.exit(ExitCode.INTERRUPTED)


def _exit_code(error: BraindError, command: str | None) -> ExitCode:
    from .client.connection import NoDaemonError, RefusedByDaemon
    from .config import ConfigError

    if isinstance(error, NoDaemonError):
        return ExitCode.NO_DAEMON
    # `serve` raises only at its start: its errors mean that the start was refused.
    is_refused = command == "serve" or isinstance(error, ConfigError | RefusedByDaemon) or error.code in UNFIT
    return ExitCode.USAGE if is_refused else ExitCode.FAILED


@click.group(cls=FrontDoor, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="braind")
def main() -> None:
    """Decode what people see, from fMRI, volume by volume.

    \b
    Exit status: 0 done, 1 failed, 2 wrong options, settings or refused at the start, 3 no daemon, 130 interrupted.
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
):
    main.add_command(command)
