"""A shell completes braind's commands, options and choices."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from braind.cli import main

BIN = Path(sys.executable).parent
ASK_BASH = """
eval "$(braind completion bash)"
COMP_WORDS=({words}) COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
compopt() {{ echo "${{@: -1}}"; }}
_braind_completion braind
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("braind mon", ["monitor"]),
        ("braind send --ki", ["--kind"]),
        ("braind monitor --pictures si", ["sixel"]),
        ("braind outlet ''", ["lsl", "udp"]),
        ("braind send run", ["default", ""]),  # readline's own names of files
    ],
)
def test_bash_completes(words, completed):
    environment = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    ran = subprocess.run(["bash", "-c", ASK_BASH.format(words=words)], capture_output=True, text=True, env=environment)
    assert (ran.stderr, ran.stdout.split("\n")[:-1]) == ("", completed)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_told_the_commands_and_what_they_do(shell):
    words = "braind mon" if shell != "fish" else "braind "
    asked = {
        "_BRAIND_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": "1" if shell != "fish" else "mon",
    }
    told = CliRunner(env=asked).invoke(main, prog_name="braind").stdout
    assert "monitor" in told
    script = CliRunner().invoke(main, ["completion", shell]).stdout
    assert "_BRAIND_COMPLETE" in script
    assert f"{shell}_complete" in script


@pytest.mark.parametrize("words", ["braind mon", "braind send --", "braind check --kind "])
def test_completion_imports_nothing_heavy(words):
    told = "atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    code = f"import atexit, sys; {told}; from braind.cli import main; main(prog_name='braind')"
    environment = os.environ | {
        "_BRAIND_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert ran.stdout
    assert not {"numpy", "msgspec", "zmq", "rich", "asyncio"} & set(ran.stderr.split())
