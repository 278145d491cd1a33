"""Wide and narrow inputs: names of every script and length, no tensor and one, and streams that
cannot say them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shardctl.cli.app import app
from shardctl.cli.exits import run
from tests.support.program import ROOT
from tests.support.safetensors_files import write_floats

NAMES = {
    "cyrillic": "слой.0.вес",
    "japanese": "層.重み",
    "hebrew": "שכבה.משקל",
    "arabic": "طبقة.وزن",
    "devanagari": "परत.भार",
    "combining": "e\u0301.o\u0308",
    "emoji": "🎉.👩‍🔬",
    "turned-round": "safe\u202egnp.exe",
    "no-break": "a\u00a0b\u200bc",
    "long": "x" * 200,
    "long-and-wide": "層" * 200,
    "controls": "a\tb\nc\rd\x1b[31m",
    "backslashes": "a\\b\\n",
    "markup": "[bold]x[/bold]",
    "spaces": "  a  ",
    "like-a-path": "../../etc/passwd",
    "like-an-option": "--json",
}
ROW = ["name", "dtype", "shape", "nbytes", "file", "offset", "tied_to"]


def unescaped(field: str) -> str:
    """A name as it was, from what a row shows of it."""
    return field.encode("latin-1", "backslashreplace").decode("unicode_escape")


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command that succeeds prints to stdout."""
    capsys.readouterr()
    code = run(app, [str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


@pytest.mark.parametrize(
    "tensors", [[], ["only"], ["שכבה"], list(NAMES.values())], ids=["none", "one", "rtl", "all"]
)
@pytest.mark.parametrize("format_name", ["safetensors", "bin"])
def test_there_and_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tensors: list[str], format_name: str
) -> None:
    """Split, inspect, verify, merge: every output can be parsed, and every name comes through
    unchanged.
    """
    source, target, single = (
        tmp_path / "source",
        tmp_path / "target",
        tmp_path / f"one.{format_name}",
    )
    write_floats(source / "model.safetensors", dict.fromkeys(tensors, 400))
    shape = ("--to", format_name, "--max-shard-size", "1KB")
    planned = printed(capsys, "split", source, target, *shape, "-n").splitlines()
    document = json.loads(printed(capsys, "split", source, target, *shape, "--json"))
    assert [name for shard in document["shards"] for name in shard["tensors"]] == tensors
    assert [line.split("\t")[0] for line in planned[1:]] == [
        shard["name"] for shard in document["shards"]
    ]

    header, *rows = [line.split("\t") for line in printed(capsys, "inspect", target).splitlines()]
    assert header == ROW
    assert {len(row) for row in rows} <= {len(ROW)}
    assert sorted(unescaped(row[0]) for row in rows) == sorted(tensors)
    found = json.loads(printed(capsys, "inspect", target, "--json"))
    assert sorted(tensor["name"] for tensor in found["tensors"]) == sorted(tensors)
    assert found["total_size"] == 400 * len(tensors)

    assert printed(capsys, "merge", target, single) == f"{single}\n"
    verdict = json.loads(printed(capsys, "verify", single, "--deep", "--against", source, "--json"))
    # A checkpoint without tensors is reported, for either side.
    wanted = [] if tensors else ["no-tensors", "no-tensors"]
    assert [finding["code"] for finding in verdict["findings"]] == wanted
    assert set(verdict.get("digests", {})) == set(tensors)


def test_findings_have_five_fields(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever the tensors that a comparison finds missing are called, a finding is one line of
    five fields.
    """
    write_floats(tmp_path / "a.safetensors", dict.fromkeys(NAMES.values(), 4))
    write_floats(tmp_path / "b.safetensors", {"other": 4})
    assert (
        run(
            app,
            [
                "verify",
                str(tmp_path / "a.safetensors"),
                "--against",
                str(tmp_path / "b.safetensors"),
            ],
        )
        == 1
    )
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {len(row) for row in rows} == {5}
    assert {unescaped(row[3]) for row in rows} == {*NAMES.values(), "other"}


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "cp1252"},
        {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "0"},
    ],
    ids=["ascii", "cp1252", "utf-8"],
)
def test_streams_that_cannot_say_a_name(tmp_path: Path, variables: dict[str, str]) -> None:
    """In a poor locale nothing fails: rows and documents can still be parsed, and name the same
    tensors.
    """
    source = tmp_path / "größe-模型"
    write_floats(source / "model.safetensors", dict.fromkeys(NAMES.values(), 4))
    script = (
        "from shardctl.cli.app import app\n"
        "from shardctl.cli.exits import run\n"
        "import sys\n"
        "source, target, nowhere = sys.argv[1:]\n"
        "calls = ['inspect', source], ['inspect', source, '--json'], \\\n"
        "    ['split', source, target, '-v']\n"
        "codes = [run(app, call) for call in (*calls, ['verify', target], ['verify', nowhere])]\n"
        "sys.exit(codes != [0, 0, 0, 0, 3])\n"
    )
    arguments = [os.fsencode(path) for path in (source, tmp_path / "层", tmp_path / "nirgendwo-ö")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command: list[str | bytes] = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    encoding = variables.get("PYTHONIOENCODING", "utf-8")
    *rows, document, path = done.stdout.decode(encoding).splitlines()
    assert [unescaped(row.split("\t")[0]) for row in rows[1:]] == list(NAMES.values())
    assert [tensor["name"] for tensor in json.loads(document)["tensors"]] == list(NAMES.values())
    assert unescaped(path).endswith("层/model.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="names are text there")
def test_a_path_that_is_not_text_is_printed_as_it_is(tmp_path: Path) -> None:
    """Where a directory's name is not UTF-8, stdout has its very bytes, so that the next command
    finds it.
    """
    write_floats(tmp_path / "source" / "model.safetensors", {"a": 4})
    target = os.fsencode(tmp_path) + b"/out-\xff"
    source = os.fsencode(tmp_path / "source")
    command: list[str | bytes] = [sys.executable, "-m", "shardctl", "split", source, target]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8:strict"}
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stdout) == (0, target + b"/model.safetensors\n")
