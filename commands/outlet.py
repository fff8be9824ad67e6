"""outlet: send the decodes' scores to the experiment's programs."""

from contextlib import closing
from pathlib import Path

import click

from .options import config_of, config_options, key_option


@click.group()
def outlet() -> None:
    """Send each decode's scores to the experiment's programs, until Ctrl-C."""


@outlet.command()
@config_options
@key_option
@click.argument("address", metavar="HOST:PORT")
def udp(config_path: Path | None, data: Path | None, key: Path | None, address: str) -> None:
    """Send one line of text per decode to HOST:PORT (docs/feedback.md lists the fields)."""
    from ..client.endpoints import endpoints
    from ..client.outlets.scores import follow_scores
    from ..client.outlets.udp import UdpOutlet
    from ..client.stderr import say

    with closing(UdpOutlet(address, say)) as outlet:
        follow_scores(endpoints(config_of(config_path, data, paths={"key": key})), outlet.give, say)


@outlet.command()
@config_options
@key_option
@click.option("--name", default="braind", show_default=True, help="The stream's name.")
def lsl(config_path: Path | None, data: Path | None, key: Path | None, name: str) -> None:
    """Open a Lab Streaming Layer stream (needs braind[lsl])."""
    from ..client.endpoints import endpoints
    from ..client.outlets.lsl import LslOutlet
    from ..client.outlets.scores import follow_scores
    from ..client.stderr import say

    where = endpoints(config_of(config_path, data, paths={"key": key}))
    follow_scores(where, LslOutlet(name, where).give, say)
