"""Errors: the exit codes, the two lines on stderr, and the JSON line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.program import ROOT, RunCli
from tests.support.safetensors_files import plain_directory, write_floats

ERROR_KEYS = ["error", "message", "file", "tensor", "offset", "hint", "exit_code"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A directory with one file and a config."""
    return plain_directory(tmp_path / "source")


def error(stderr: str) -> dict[str, object]:
    """The one JSON line of an error."""
    (line,) = stderr.splitlines()
    document = json.loads(line)
    assert list(document) == ERROR_KEYS
    assert document["message"]
    assert document["hint"]
    return dict(document)


# each exit code


def test_usage_is_2(source: Path, run_cli: RunCli) -> None:
    """What cannot be understood is 2, also in JSON."""
    for arguments in (
        ("frob",),
        ("split", source),
        ("split", source, "out", "--frob"),
        ("--frob",),
    ):
        done = run_cli(*arguments, code=2)
        assert done.stdout == ""
        assert "error: " in done.stderr
        assert "hint: " in done.stderr
    found = error(run_cli("split", source, "--json", code=2).stderr)
    assert (found["error"], found["exit_code"]) == ("usage", 2)


def test_no_command_is_help_on_stderr(run_cli: RunCli) -> None:
    """Without a command nothing goes to stdout: the help is a message, and the exit code 2."""
    done = run_cli(code=2)
    assert done.stdout == ""
    assert "split" in done.stderr
    assert "error:" not in done.stderr


def test_missing_is_3(run_cli: RunCli) -> None:
    """A source that is not there is 3, whatever the command."""
    for command in (("inspect",), ("verify",), ("index",)):
        found = error(run_cli(*command, "nowhere", "--json", code=3).stderr)
        assert (found["error"], found["file"], found["exit_code"]) == ("not-found", "nowhere", 3)
    run_cli("split", "nowhere", "out", code=3)


def test_damage_is_3_and_says_where(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """A writer refuses a damaged file with the finding's code and names the file."""
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    found = error(run_cli("split", source, tmp_path / "out", "--json", code=3).stderr)
    assert found["error"] == "file-truncated"
    assert str(found["file"]).endswith("model.safetensors")
    assert not (tmp_path / "out").exists()


def test_in_the_way_is_4(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """What is in the way is 4 and named."""
    (tmp_path / "one.safetensors").write_text("mine")
    found = error(run_cli("merge", source, tmp_path / "one.safetensors", "--json", code=4).stderr)
    assert (found["error"], found["exit_code"]) == ("target-exists", 4)
    assert (tmp_path / "one.safetensors").read_text() == "mine"


def test_another_run_at_work_is_4(source: Path, tmp_path: Path, run_cli: RunCli) -> None:
    """Two runs never write into one directory."""
    from shardctl.stores.local.store import LocalStore

    store = LocalStore()
    (tmp_path / "out" / ".shardctl").mkdir(parents=True)
    with store.lock(str(tmp_path / "out" / ".shardctl" / "lock")):
        found = error(run_cli("split", source, tmp_path / "out", "--json", code=4).stderr)
    assert found["error"] == "locked"


def test_storage_is_5(source: Path, run_cli: RunCli) -> None:
    """A target that cannot be made is 5."""
    found = error(run_cli("split", source, source / "config.json" / "out", "--json", code=5).stderr)
    assert (found["error"], found["exit_code"]) == ("storage", 5)


def test_a_bug_is_70(source: Path) -> None:
    """An unexpected exception never looks like the 1 of a check, and asks to be reported."""
    script = (
        "import sys, shardctl.commands.inspect as o\n"
        "def broken(*a, **k): raise RuntimeError('boom')\n"
        "o.inspect = broken\n"
        "from shardctl.cli.app import app\n"
        "from shardctl.cli.exits import run\n"
        "sys.exit(run(app, sys.argv[1:]))\n"
    )

    def broken(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", script, "inspect", str(source), *options]
        done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
        assert done.returncode == 70
        assert done.stdout == ""
        return done

    plain = broken()
    assert "RuntimeError: boom" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert error(broken("--json").stderr)["error"] == "internal-error"
    assert "Traceback" in broken("--debug").stderr


# what an error says


def test_json_is_asked_for_by_the_environment_too(run_cli: RunCli) -> None:
    """SHARDCTL_INSPECT_JSON holds for errors as it does for documents."""
    error(run_cli("inspect", "nowhere", env={"SHARDCTL_INSPECT_JSON": "1"}, code=3).stderr)
    assert run_cli(
        "inspect", "nowhere", env={"SHARDCTL_INSPECT_JSON": "0"}, code=3
    ).stderr.startswith("error: ")


@pytest.mark.parametrize("line", ["inspect nowhere", "split nowhere out", "verify --frob", "index"])
def test_debug_holds_everywhere(run_cli: RunCli, line: str) -> None:
    """--debug before or after the command, and its variables, show the traceback of any error."""
    command, code = line.split(maxsplit=1)[0], 3 if "nowhere" in line else 2
    assert "Traceback" not in run_cli(*line.split(), code=code).stderr
    for words in (["--debug", *line.split()], [*line.split(), "--debug"]):
        assert run_cli(*words, code=code).stderr.startswith("Traceback ")
    for variable in ("SHARDCTL_DEBUG", f"SHARDCTL_{command.upper()}_DEBUG"):
        assert run_cli(*line.split(), code=code, env={variable: "1"}).stderr.startswith(
            "Traceback "
        )
        assert "Traceback" not in run_cli(*line.split(), code=code, env={variable: "0"}).stderr


def test_a_variable_is_of_its_command_alone(run_cli: RunCli) -> None:
    """SHARDCTL_SPLIT_DEBUG changes nothing for another command."""
    assert (
        "Traceback"
        not in run_cli("inspect", "nowhere", env={"SHARDCTL_SPLIT_DEBUG": "1"}, code=3).stderr
    )


def test_debug_leaves_the_json_line_last(run_cli: RunCli) -> None:
    """With --debug and --json the error is still one JSON line, below the traceback."""
    *trace, line = run_cli("inspect", "nowhere", "--json", "--debug", code=3).stderr.splitlines()
    assert trace[0].startswith("Traceback ")
    assert error(line)["error"] == "not-found"


def test_an_ambiguous_directory_lists_the_choices(
    source: Path, tmp_path: Path, run_cli: RunCli
) -> None:
    """Checkpoints of different kinds are never guessed at: 2, with each one's name to type."""
    write_floats(source / "adapter_model.safetensors", {"a": 4})
    for command in (("inspect", source), ("split", source, tmp_path / "out")):
        found = error(run_cli(*command, "--json", code=2).stderr)
        assert found["error"] == "folder-ambiguous"
        for name in ("model.safetensors", "adapter_model.safetensors"):
            assert str(source / name) in str(found["hint"])
    run_cli("inspect", source / "adapter_model.safetensors")


def test_several_sources_name_the_directory_form(source: Path, run_cli: RunCli) -> None:
    """A shell's glob becomes several arguments: the hint names the directory instead."""
    for command in ("inspect", "verify"):
        done = run_cli(command, source / "a.safetensors", source / "b.safetensors", code=2)
        assert f"`shardctl {command} {source}`" in done.stderr


@pytest.mark.parametrize(
    ("line", "guess"),
    [
        ("splt a b", "`shardctl split`"),
        ("split a b --max-shard-sise 5GB", "`--max-shard-size`"),
        ("verify a --agianst b", "`--against`"),
        ("--versoin", "`--version`"),
        ("split a b --force", "`--replace`"),
        ("merge a b --overwrite", "`--replace`"),
        ("split a b --size 5GB", "`--max-shard-size`"),
        ("split a b --shards 3", "`--num-shards`"),
        ("verify a --compare b", "`--against`"),
        ("inspect a -o b", "`--report`"),
        ("convert a b", "`shardctl reshard`"),
        ("info a", "`shardctl inspect`"),
        ("ls a", "`shardctl inspect`"),
        ("cat a b", "`shardctl merge` or `shardctl inspect`"),
        ("join a b", "`shardctl merge`"),
        ("check a", "`shardctl verify`"),
        ("version", "`shardctl --version`"),
        ("merge a b --to safetensor", "`--to safetensors`"),
        ("merge a b --to pt", "`--to bin`"),
    ],
)
def test_what_was_meant(run_cli: RunCli, line: str, guess: str) -> None:
    """A command or an option that is not there gets the nearest one that is."""
    assert f"hint: did you mean {guess}? See `shardctl" in run_cli(*line.split(), code=2).stderr


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        ("split a b --num-shards auto",
         "--num-shards takes a whole number of at least 1, not 'auto'",
         "leave --num-shards out for the default"),
        ("merge a b --jobs 0", "--jobs takes a whole number of at least 1, not '0'", "see"),
        ("merge a b --jobs", "--jobs needs a value: N", "see `shardctl merge --help`"),
        ("merge a b --json=1", "--json is a switch, and takes no value", "see"),
        ("merge a b --progress x",
         "--progress takes one of auto, plain, json, none, not 'x'", "see"),
        ("split a b --max-shard-size x", "--max-shard-size: 'x' is not a size", "500MB"),
        ("merge a --output b", "`shardctl merge` has no option --output",
         "TARGET is an argument: type `shardctl merge SOURCE TARGET`"),
        ("merge a b --num-shards 2", "`shardctl merge` has no option --num-shards",
         "elsewhere it exists: `shardctl split --num-shards`, `shardctl reshard --num-shards`"),
        ("--replace split a b", "`shardctl` has no option --replace",
         "options come after the command: `shardctl split --replace`"),
        ("verify", "SOURCE is missing", "type `shardctl verify SOURCE`"),
        (". out", "no such command '.'", "for example `shardctl inspect .`"),
    ],
)  # fmt: skip
def test_usage_errors_are_in_our_own_words(
    run_cli: RunCli, line: str, said: str, hint: str
) -> None:
    """What cannot be parsed is said in the words of the documentation, with what to type."""
    first, second = run_cli(*line.split(), code=2).stderr.splitlines()
    assert first == f"error: {said}"
    assert second.startswith("  hint: ")
    assert hint in second


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("NUM_SHARDS", "auto", "takes a whole number of at least 1, not 'auto'"),
        ("TO", "gguf", "takes one of safetensors, bin, dcp, not 'gguf'"),
        ("JSON", "perhaps", "takes 1 or 0, not 'perhaps'"),
        ("MAX_SHARD_SIZE", "x", ": 'x' is not a size"),
    ],
)
def test_a_value_from_the_environment_names_its_variable(
    source: Path, name: str, value: str, said: str
) -> None:
    """The error names the variable that has the value, and how to be rid of it."""
    variable = f"SHARDCTL_SPLIT_{name}"
    command = [sys.executable, "-m", "shardctl", "split", str(source), "out"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**ENVIRONMENT, variable: value}, check=False
    )
    assert done.returncode == 2
    first, second = done.stderr.splitlines()
    assert first.startswith(f"error: {variable}")
    assert said in first
    assert f"`unset {variable}`" in second


def test_a_filter_that_matches_nothing(tmp_path: Path, run_cli: RunCli) -> None:
    """A GLOB without a match says so on stderr, with the closest names, and prints no rows."""
    path = write_floats(
        tmp_path / "model.safetensors", {"encoder.1.weight": 4, "encoder.2.weight": 4, "head": 4}
    )
    done = run_cli("inspect", path, "--filter", "encoder.2.wieght", code=3)
    assert done.stdout == ""
    assert "no tensor's name matches 'encoder.2.wieght'" in done.stderr
    assert "did you mean encoder.2.weight?" in done.stderr


def test_a_fifo_is_not_waited_for(tmp_path: Path, run_cli: RunCli) -> None:
    """A pipe under a weights name is refused at once: 3 for readers and writers, a finding for
    verify.
    """
    path = tmp_path / "m" / "model.safetensors"
    path.parent.mkdir()
    os.mkfifo(path)
    for command in (("inspect", path), ("split", path, tmp_path / "out")):
        assert error(run_cli(*command, "--json", code=3).stderr)["error"] == "file-not-regular"
    document = json.loads(run_cli("verify", path, "--json", code=1).stdout)
    assert [finding["code"] for finding in document["findings"]] == ["file-not-regular"]


@pytest.mark.parametrize("command", ["split", "merge", "reshard", "inspect", "verify", "index"])
def test_help_is_on_stdout(run_cli: RunCli, command: str) -> None:
    """Asked for, the help is data, and ends with 0."""
    assert command in run_cli(command, "--help").stdout


def test_version(run_cli: RunCli) -> None:
    """--version prints one line, and no environment variable has the same effect."""
    from shardctl import __version__

    assert run_cli("--version").stdout == f"shardctl {__version__}\n"
    assert run_cli("inspect", "nowhere", env={"SHARDCTL_VERSION": "1"}, code=3).stdout == ""


# what is imported


def test_no_tensor_library_is_imported(source: Path, tmp_path: Path) -> None:
    """Every command works where torch and numpy cannot be imported at all."""
    site = tmp_path / "site"
    site.mkdir()
    ban = (
        "import sys\n"
        "for name in ('torch', 'numpy', 'safetensors', 'transformers', 'huggingface_hub'):\n"
        "    sys.modules[name] = None\n"
    )
    (site / "sitecustomize.py").write_text(ban)
    environment = {**ENVIRONMENT, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    out, single = str(tmp_path / "out"), str(tmp_path / "one.bin")
    for arguments in (
        ("split", str(source), out, "--num-shards", "2"),
        ("merge", out, single),
        ("reshard", single, str(tmp_path / "back"), "--to", "safetensors"),
        ("inspect", single),
        ("verify", single, "--deep", "--against", out),
        ("index", out),
    ):
        command = [sys.executable, "-m", "shardctl", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
