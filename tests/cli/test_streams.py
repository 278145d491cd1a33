"""The standard streams: closed, full, or read by a program that has gone, with and without
buffers.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import ROOT
from tests.support.safetensors_files import plain_directory

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
#: A pipe takes 64 KiB before its reader has read anything, so the rows of this many tensors do not
#: fit.
MANY = 3000


@pytest.fixture(params=["buffered", "unbuffered"], autouse=True)
def _buffers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test runs with Python's own choice of buffers, and with PYTHONUNBUFFERED."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    if request.param == "unbuffered":
        monkeypatch.setenv("PYTHONUNBUFFERED", "1")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with one file and a config."""
    return plain_directory(tmp_path / "source")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A directory with one file of many tensors."""
    return plain_directory(
        tmp_path / "many", [f"model.layers.{number}.weight" for number in range(MANY)]
    )


def shell(line: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `shardctl` is the program, and `{}` each of the words; the exit
    code is its own.
    """
    program = shlex.join([sys.executable, "-m", "shardctl"])
    line = line.replace("shardctl", program, 1).format(*(shlex.quote(str(word)) for word in words))
    command = ["bash", "-c", f"set -o pipefail; {line}"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def assert_one_error(stderr: str) -> None:
    """Stderr has one error about standard output with its hint, and nothing else."""
    first, second = stderr.splitlines()
    assert first.startswith("error: cannot write to standard output: ")
    assert second.startswith("  hint: ")


# stdout


@needs_full
@pytest.mark.parametrize(
    "arguments", ["--version", "--help", "inspect {}", "split {} x --dry-run --quiet"]
)
def test_a_full_stdout_is_5(source: Path, arguments: str) -> None:
    """Results that cannot be written are exit code 5 and one error, whatever the command."""
    done = shell(f"shardctl {arguments} >/dev/full", source)
    assert done.returncode == 5, done.stderr
    assert_one_error(done.stderr)


@needs_full
def test_a_full_stdout_leaves_the_work_complete(source: Path, tmp_path: Path) -> None:
    """A writer whose path cannot be printed ends with 5, and its files are complete."""
    done = shell("shardctl split {} {} -q >/dev/full", source, tmp_path / "out")
    assert done.returncode == 5
    assert_one_error(done.stderr)
    assert (tmp_path / "out" / "model.safetensors").exists()


@needs_full
@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_a_full_stdout_is_one_json_line(source: Path, command: str) -> None:
    """With --json the error is one JSON line."""
    done = shell(f"shardctl {command} {{}} --json >/dev/full", source)
    found = json.loads(done.stderr)
    assert (done.returncode, found["error"], found["exit_code"]) == (5, "storage", 5)


def test_a_stdout_that_fills_up_is_5(many: Path, tmp_path: Path) -> None:
    """Output that is cut short in the middle is exit code 5, never a short file and 0."""
    done = shell("ulimit -f 4; shardctl inspect {} --json >{}", many, tmp_path / "document")
    assert (tmp_path / "document").stat().st_size == 4096
    assert (done.returncode, json.loads(done.stderr)["error"]) == (5, "storage")


@pytest.mark.parametrize(("options", "reader"), [("", "head -1"), ("--json", "head -c 10")])
def test_a_reader_that_has_enough_is_141(many: Path, options: str, reader: str) -> None:
    """`| head` ends the command with 141 and without a message, and the reader has what it
    wanted.
    """
    done = shell(f"shardctl inspect {{}} {options} | {reader}", many)
    assert (done.returncode, done.stderr) == (141, "")
    assert done.stdout in ("name\tdtype\tshape\tnbytes\tfile\toffset\ttied_to\n", '{"schema_v')


def test_a_closed_pipe_is_141(source: Path, tmp_path: Path) -> None:
    """A writer whose reader has gone ends with 141 and without a message, and its files are
    complete.
    """
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "shardctl", "split", str(source), str(tmp_path / "out"), "-q"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
    assert (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize(
    "arguments", ["--help", "inspect {}", "inspect {} --json", "verify {} --json"]
)
def test_stdout_closed_from_the_start_is_141(source: Path, arguments: str) -> None:
    """`>&-` is a closed pipe like any other."""
    done = shell(f"shardctl {arguments} >&-", source)
    assert (done.returncode, done.stderr) == (141, "")


# stderr


@pytest.mark.parametrize("stderr", ["2>&-", pytest.param("2>/dev/full", marks=needs_full)])
def test_lost_messages_change_nothing(source: Path, tmp_path: Path, stderr: str) -> None:
    """Where stderr is closed or full, the work is done, stdout has the results alone, and the exit
    code is the same.
    """
    path = tmp_path / "out" / "model.safetensors"
    done = shell(f"shardctl split {{}} {{}} -v --progress json {stderr}", source, tmp_path / "out")
    assert (done.returncode, done.stdout) == (0, f"{path}\n")
    assert path.exists()
    for arguments, code in (
        ("inspect nowhere", 3),
        ("inspect nowhere --json", 3),
        ("frob", 2),
        ("", 2),
    ):
        done = shell(f"shardctl {arguments} {stderr}")
        assert (done.returncode, done.stdout) == (code, "")


def test_a_reader_of_messages_that_has_gone(source: Path, tmp_path: Path) -> None:
    """Where the reader of stderr has gone away, the work is done and the exit code is the same."""
    read, write = os.pipe()
    os.close(read)
    for arguments, code in (
        (["split", source, tmp_path / "out", "-v"], 0),
        (["inspect", "nowhere"], 3),
    ):
        command = [sys.executable, "-m", "shardctl", *map(str, arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=write, text=True, check=False)
        assert done.returncode == code
    os.close(write)
    assert (tmp_path / "out" / "model.safetensors").exists()


@needs_full
def test_both_streams_full(source: Path) -> None:
    """Where the error cannot be written either, the exit code still says it."""
    assert shell("shardctl inspect {} >/dev/full 2>/dev/full", source).returncode == 5
