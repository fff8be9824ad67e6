"""keys: the keys of programs that may connect to the daemon of a data folder."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import config_of, config_options

if TYPE_CHECKING:
    from ..client.key import Role


@click.group()
def keys() -> None:
    """Make, list and revoke the keys that let programs in at the daemon."""


@keys.command()
@config_options
def show(config_path: Path | None, data: Path | None) -> None:
    """Print the server's public key, and each key's name, fingerprint and roles; never a secret."""
    from hashlib import sha256

    from ..daemon.access.keyring import read_clients, server_public

    folder = _folder(config_path, data)
    click.echo(f"server {server_public(folder)}")
    for client in read_clients(folder):
        fingerprint = sha256(client.public.encode()).hexdigest()[:16]
        click.echo(f"{client.name:24} {fingerprint}  {' '.join(client.roles)}")


@keys.command()
@config_options
@click.argument("name")
@click.option(
    "--role",
    "roles",
    type=click.Choice(["ingest", "view", "control"]),
    multiple=True,
    required=True,
    help="ingest: send volumes; view: see decodes; control: pause, other weights, shutdown. Repeat it for more roles.",
)
def add(config_path: Path | None, data: Path | None, name: str, roles: "tuple[Role, ...]") -> None:
    """Make a key; print the path of its file, to copy to the program's machine. Nobody else may read the file."""
    from ..daemon.access.keyring import add_client

    click.echo(add_client(_folder(config_path, data), name, tuple(dict.fromkeys(roles))))


@keys.command()
@config_options
@click.argument("name")
def revoke(config_path: Path | None, data: Path | None, name: str) -> None:
    """Shut out the programs with this key, without a restart of the daemon; connected programs too."""
    from ..daemon.access.keyring import revoke_client

    revoke_client(_folder(config_path, data), name)
    click.echo(f"key {name} is revoked")


def _folder(config_path: Path | None, data: Path | None) -> Path:
    from ..daemon.access.keyring import keys_path, make_keys

    folder = keys_path(config_of(config_path, data))
    make_keys(folder)
    return folder
