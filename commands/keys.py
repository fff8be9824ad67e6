"""keys: the keys of programs that may connect to the daemon of a data folder."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .options import config_of, config_options

if TYPE_CHECKING:
    from ..client.endpoints import Endpoints
    from ..client.key import Role


@click.group()
def keys() -> None:
    """Make, list and revoke the keys that let programs in at the daemon."""


@keys.command()
@config_options
def show(config_path: Path | None, data: Path | None) -> None:
    """Print the server's public key, and each key's name, fingerprint and roles; never a secret."""
    from hashlib import sha256

    from ..daemon.access.keyring import MAKES_KEYS, keys_path, read_clients, server_public

    folder = keys_path(config_of(config_path, data))
    if not folder.exists():
        click.echo(f"{folder}: no keys; {MAKES_KEYS}")
        return
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
    """Make a key; print the path of its file, and what the program's machine does with it."""
    from ..client.endpoints import endpoints
    from ..daemon.access.keyring import add_client, check_unused, keys_path, make_keys

    config = config_of(config_path, data)
    folder, where = keys_path(config), endpoints(config)
    check_unused(folder, where)
    make_keys(folder)
    path = add_client(folder, name, tuple(dict.fromkeys(roles)))
    click.echo(path)
    _say_what_next(path, roles, where)


@keys.command()
@config_options
@click.argument("name")
def revoke(config_path: Path | None, data: Path | None, name: str) -> None:
    """Shut out the programs with this key, without a restart of the daemon; connected programs too."""
    from ..client.key import ROLES
    from ..client.stderr import say
    from ..daemon.access.keyring import OWNER, keys_path, revoke_client

    revoke_client(keys_path(config_of(config_path, data)), name)
    click.echo(f"key {name} is revoked")
    if name == OWNER:
        every_role = " ".join(f"--role {role}" for role in ROLES)
        say(f"commands on this machine have no key now; `braind keys add {OWNER} {every_role}` makes another for them")


def _say_what_next(path: Path, roles: "tuple[Role, ...]", where: "Endpoints") -> None:
    """Say what the other machine needs. It goes to stderr: stdout has the path alone, for scripts."""
    from socket import gethostname

    from ..client.stderr import say

    host = gethostname()
    ingest, decodes, control = (url.rpartition(":")[2] for url in (where.ingest, where.decodes, where.control))
    settings = (
        f"BRAIND_SERVE__HOST={host} BRAIND_SERVE__DECODES_PORT={decodes} BRAIND_SERVE__CONTROL_PORT={control} braind"
    )
    examples = {
        "ingest": f"braind send FILE.nii.gz --to {host}:{ingest}",
        "view": f"{settings} monitor",
        "control": f"{settings} status",
    }
    say("copy the file to the program's machine, where nobody else may read it. There, for example:")
    for role in dict.fromkeys(roles):
        click.echo(f"  {examples[role]} --key {path.name}", err=True)
    say("the daemon needs `--keys required`, and a `--host` that the other machine reaches, such as 0.0.0.0")
