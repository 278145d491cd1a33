"""Real shells, asked what they offer at the end of a line."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.program import ROOT
from tests.support.terminals import until_closed

COMPLETIONS = ROOT / "completions"
Offers = Mapping[str, frozenset[str]]

# Called as readline does: the words of the line, and the number of the one at the cursor.
_BASH = r"""
source "$1"; shift
for line in "$@"; do
    # Like readline, which cuts at blanks and at "=".
    read -ra COMP_WORDS <<<"${line//=/ = }"
    [[ $line == *' ' ]] && COMP_WORDS+=('')
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    _shardctl
    printf '%s\0' "$line" "${COMPREPLY[@]}" END
done
"""

# A shell at a terminal, whose TAB goes through all lines and notes what the completion functions
# add.
_ZSH = r"""
PS1= ; unsetopt prompt_sp
fpath=("$ZSH_TEST_DIRECTORY" $fpath)
autoload -Uz compinit && compinit -u -D
compadd() {
    # Internal calls, which add nothing, name an array.
    if (( ${argv[(I)-[OAD]*]} == 0 )); then
        local -a hits; builtin compadd -O hits "$@"; print -rN -- $hits >>$ZSH_TEST_OUT
    fi
    builtin compadd "$@"
}
_noted() { _main_complete; compstate[insert]=; compstate[list]= }
zle -C noted list-choices _noted
all() {
    for BUFFER in "${(@f)$(<$ZSH_TEST_LINES)}"; do
        CURSOR=$#BUFFER
        print -rN -- "$BUFFER" >>$ZSH_TEST_OUT
        zle noted
        print -rN END >>$ZSH_TEST_OUT
    done
    exit
}
zle -N all
bindkey '^I' all
print READY\!
"""


def bash(lines: Sequence[str], directory: Path) -> Offers:
    """What bash offers, with the script sourced as bash-completion sources it."""
    command = ["bash", "--norc", "-c", _BASH, "bash", str(COMPLETIONS / "shardctl.bash"), *lines]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return _parsed(done.stdout)


def zsh(lines: Sequence[str], directory: Path) -> Offers:
    """What zsh offers, with the script in a directory of its `fpath`."""
    setup, asked, out = (directory.parent / name for name in ("setup.zsh", "lines", "offers"))
    setup.write_text(_ZSH)
    asked.write_text("\n".join(lines))
    variables = {
        "ZSH_TEST_DIRECTORY": str(COMPLETIONS),
        "ZSH_TEST_LINES": str(asked),
        "ZSH_TEST_OUT": str(out),
    }
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(directory)
        command = ["zsh", "-f", "-i"]
        os.execvpe(command[0], command, {**os.environ, **variables, "TERM": "xterm"})  # noqa: S606 - the shell itself
    os.write(terminal, f"source {setup}\n".encode())
    _read_until(terminal, b"READY!")
    os.write(terminal, b"\t")
    b"".join(until_closed(terminal))
    os.close(terminal)
    os.waitpid(child, 0)
    return _parsed(out.read_text())


def _read_until(terminal: int, end: bytes) -> None:
    """Read what the terminal shows until these bytes."""
    got = b""
    for data in until_closed(terminal):
        got += data
        if end in got:
            return
    raise AssertionError(got)


def fish(lines: Sequence[str], directory: Path) -> Offers:
    """What fish offers, with the script in a vendor's directory, from where it is loaded when it is
    needed.
    """
    data = directory.parent / "data"
    vendor = data / "fish" / "vendor_completions.d"
    vendor.mkdir(parents=True, exist_ok=True)
    shutil.copy(COMPLETIONS / "shardctl.fish", vendor)
    script = (
        r"for line in $argv; printf '%s\0' $line "
        r"(complete -C $line | string replace -r '\t.*' '') END; end"
    )
    # Fish loads completions only for a command that there is; this one is never run.
    (command_file := data / "shardctl").write_text("#!/bin/sh\nexit 1\n")
    command_file.chmod(0o755)
    environment = {
        **os.environ,
        "HOME": str(directory.parent),
        "PATH": f"{data}:{os.environ['PATH']}",
        "XDG_DATA_DIRS": f"{data}:/usr/local/share:/usr/share",
    }
    command = ["fish", "-c", script, *lines]
    done = subprocess.run(
        command, cwd=directory, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return _parsed(done.stdout)


def _parsed(text: str) -> Offers:
    """`LINE NUL OFFER NUL … END NUL` for each line."""
    offers = {}
    for part in text.removesuffix("\0").removesuffix("END").split("\0END\0"):
        line, *words = part.rstrip("\0").split("\0")
        offers[line] = frozenset(
            word.strip().rstrip("/").replace("\\ ", " ") for word in words if word.strip()
        )
    return offers


SHELLS = {"bash": bash, "zsh": zsh, "fish": fish}
