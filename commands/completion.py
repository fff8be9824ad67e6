"""completion: the script by which a shell completes braind's commands and options."""

import click
from click.shell_completion import get_completion_class

VARIABLE = "_BRAIND_COMPLETE"
"""click answers a shell that asks by this variable."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes braind's commands and options in SHELL.

    \b
    bash   echo 'eval "$(braind completion bash)"' >> ~/.bashrc
    zsh    echo 'eval "$(braind completion zsh)"' >> ~/.zshrc    (below the line with compinit)
    fish   braind completion fish > ~/.config/fish/completions/braind.fish

    Then start a new shell.
    """
    of_shell = get_completion_class(shell)
    assert of_shell is not None
    script = of_shell(context.find_root().command, {}, "braind", VARIABLE).source()
    # Bytes keep their line ends on every system.
    click.echo(script.encode())
