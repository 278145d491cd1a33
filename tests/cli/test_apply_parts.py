"""`apply --part` and `--commit`: a run that several processes share, as its users see it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shardctl.engine.commit import exchange
from tests.cli.test_apply import files
from tests.support.pipelines import written_pipeline
from tests.support.program import Call, environment
from tests.support.safetensors_files import write_floats

#: Shards of the run, and bytes of a tensor.
SHARDS, NBYTES = 5, 4000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A checkpoint of ten tensors, with a config."""
    sizes = {f"layers.{number}.w": NBYTES for number in range(10)}
    write_floats(tmp_path / "model" / "model.safetensors", sizes)
    (tmp_path / "model" / "config.json").write_text("{}")
    return tmp_path / "model"


@pytest.fixture
def expected(call: Call, source: Path, tmp_path: Path) -> dict[str, bytes]:
    """The files of one run."""
    call("split", source, tmp_path / "expected", "--num-shards", SHARDS, "--checksums")
    return files(tmp_path / "expected")


@pytest.fixture
def plan(call: Call, source: Path, tmp_path: Path) -> Path:
    """The plan of that run, into `out`."""
    path = tmp_path / "plan.json"
    arguments = ("split", source, tmp_path / "out", "--num-shards", SHARDS, "--checksums")
    path.write_text(call(*arguments, "--dry-run", "--json")[0])
    return path


def test_parts_and_a_commit(
    call: Call, plan: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """A part prints every shard and its state, and says what to do next; the commit prints the path
    to load from, and the files are those of one run.
    """
    out, err = call("apply", plan, "--part", "2/2")
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[0] == ["shard", "size", "state"]
    states = {name: state for name, _, state in rows[1:]}
    assert sorted(states.values()) == ["missing"] * 3 + ["written"] * 2
    assert "part 2/2: wrote 2 shards" in err
    assert "2 of 5 are done" in err
    missing = [name for name, state in states.items() if state == "missing"]
    assert f"missing: {', '.join(missing)}" in err
    _, err = call("apply", plan, "--commit", code=4)
    assert "2 of 5 shards are done" in err
    assert "`shardctl apply PLAN --part I/N`" in err
    out, err = call("apply", plan, "--part", "1/2")
    assert out.count("\twritten\n") == 3
    assert out.count("\tdone\n") == 2
    assert "every shard is done: finish the run with `shardctl apply PLAN --commit`" in err
    assert call("apply", plan, "--part", "1/2")[0].count("\tkept\n") == 3
    out, _ = call("apply", plan, "--commit")
    assert out == f"{tmp_path / 'out' / 'model.safetensors.index.json'}\n"
    assert files(tmp_path / "out") == expected
    for again in (("--part", "1/2"), ("--commit",), ()):
        assert "up to date" in call("apply", plan, *again)[1]


def test_what_is_left_is_applied_whole(
    call: Call, plan: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """`apply` without a part goes on with what parts have done, and finishes the run."""
    call("apply", plan, "--part", "1/3")
    first = {path.name: path.stat().st_ino for path in staged(tmp_path)}
    call("apply", plan)
    assert files(tmp_path / "out") == expected
    assert (
        first.items()
        <= {path.name: path.stat().st_ino for path in (tmp_path / "out").iterdir()}.items()
    )


def staged(tmp_path: Path) -> list[Path]:
    """The shards that wait for their names."""
    return list((tmp_path / "out" / ".shardctl" / "files").iterdir())


def test_more_parts_than_shards(
    call: Call, plan: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """Parts without a shard do nothing, and end well."""
    for number in range(1, SHARDS + 3):
        call("apply", plan, "--part", f"{number}/{SHARDS + 2}")
    call("apply", plan, "--commit")
    assert files(tmp_path / "out") == expected


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", "1/2/3", "", "²/3"])
def test_what_is_not_a_part(call: Call, plan: Path, part: str) -> None:
    """Anything but I/N with I from 1 to N is a usage error, which says how parts are counted."""
    _, err = call("apply", plan, f"--part={part}", code=2)
    assert f"--part: '{part}' is not I/N: parts are counted from 1 to N" in err


def test_a_part_is_no_commit(call: Call, plan: Path) -> None:
    """Both at once is a usage error, before anything is read."""
    assert "cannot be used together" in call("apply", plan, "--part=1/2", "--commit", code=2)[1]


def test_the_part_can_be_a_variable(
    call: Call, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cluster sets it for each process; whether to commit is typed each time."""
    monkeypatch.setenv("SHARDCTL_APPLY_PART", f"1/{SHARDS}")
    monkeypatch.setenv("SHARDCTL_APPLY_COMMIT", "1")
    assert call("apply", plan)[0].count("\twritten\n") == 1
    assert len(staged(tmp_path)) == 1


def test_a_run_by_parts_is_known(call: Call, source: Path, plan: Path, tmp_path: Path) -> None:
    """Other runs into the target are refused with the plan and what finishes it, and `inspect` says
    how far it came.
    """
    target = tmp_path / "out"
    call("apply", plan, "--part", "1/2")
    identity = json.loads(plan.read_text())["plan_id"][:12]
    for arguments in (("split", source, target), ("merge", source, target), ("inspect", target)):
        _, err = call(*arguments, code=3 if arguments[0] == "inspect" else 4)
        assert f"an unfinished run by parts of the plan {identity}: 3 of 5 shards done" in err
        assert "finish it with `shardctl apply PLAN` of that plan" in err
        assert "--restart" in err
    write_floats(target / "model.safetensors", {"a": 400})
    assert f"by parts of the plan {identity}" in call("verify", target)[0]
    assert "also holds an unfinished run" in call("inspect", target)[1]
    (target / "model.safetensors").unlink()
    call("split", source, target, "--num-shards", "2", "--restart")
    assert (target / "model-00001-of-00002.safetensors").exists()
    assert not (target / ".shardctl").exists()


def test_an_unfinished_run_in_one_go_is_known_too(call: Call, source: Path) -> None:
    """So is one that was interrupted, beside a checkpoint that is there."""
    from shardctl.engine.commit.staging import Staging
    from shardctl.engine.journal.journal import Journal, RunIdentity
    from shardctl.stores.local.store import LocalStore

    names = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "config.json"]
    with Staging.make(LocalStore(), str(source)) as staging:
        Journal(staging).begin(RunIdentity("id", {}, {}), names)
    _, err = call("inspect", source)
    assert "note: the directory also holds an unfinished run: 0 of 2 shards done" in err


def test_restart_of_a_part(call: Call, source: Path, plan: Path, tmp_path: Path) -> None:
    """It discards the run of another plan, and never the shards of this one."""
    other = tmp_path / "other.json"
    arguments = ("split", source, tmp_path / "out", "--num-shards", "2", "--dry-run", "--json")
    other.write_text(call(*arguments)[0])
    call("apply", other, "--part", "1/2")
    assert "--restart" in call("apply", plan, "--part", "1/2", code=4)[1]
    for number in (1, 2):
        call("apply", plan, "--part", f"{number}/2", "--restart")
    call("apply", plan, "--commit")
    assert (tmp_path / "out" / f"model-0000{SHARDS}-of-0000{SHARDS}.safetensors").exists()


def test_a_source_that_changed_between_parts(
    call: Call, source: Path, plan: Path, tmp_path: Path
) -> None:
    """Neither the next part nor the commit goes on."""
    call("apply", plan, "--part", "1/2")
    path = source / "model.safetensors"
    path.write_bytes(path.read_bytes()[: -5 * NBYTES] + bytes(5 * NBYTES))
    for arguments in (("--part", "2/2"), ("--commit",)):
        assert "has other contents" in call("apply", plan, *arguments, code=3)[1]
    assert not list((tmp_path / "out").glob("*.safetensors"))


def test_what_is_replaced_stays_until_the_commit(
    call: Call, source: Path, plan: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """Every part needs --replace where the target holds a checkpoint, which is there until the
    commit.
    """
    target = tmp_path / "out"
    call("split", source, target, "--num-shards", "2")
    before = files(target)
    call("apply", plan, "--part", "1/1", code=4)
    call("apply", plan, "--part", "1/1", "--replace")
    assert {name: data for name, data in files(target).items() if ".shardctl" not in name} == before
    call("apply", plan, "--commit", "--replace")
    assert files(target) == expected


def test_a_pipeline_has_no_parts(call: Call, tmp_path: Path) -> None:
    """A plan of several runs is refused, with what works."""
    source = written_pipeline(tmp_path / "p")
    plan = tmp_path / "plan.json"
    plan.write_text(call("split", source, tmp_path / "out", "--dry-run", "--json")[0])
    for arguments in (("--part", "1/2"), ("--commit",)):
        assert "cannot be written by parts" in call("apply", plan, *arguments, code=2)[1]


def test_only_a_commit_leaves_no_record(
    call: Call, plan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run by parts knows its source by samples, so the next run compares contents."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    call("apply", plan, "--part", "1/1")
    call("apply", plan, "--commit")
    _, err = call("apply", plan)
    assert "the target was compared with the source" in err


class KilledError(BaseException):
    """The process is gone."""


def killed(call: Call, step: str, *arguments: object) -> None:
    """Kill a command in its commit, before a step."""

    def kill(*_: object, **__: object) -> None:
        raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exchange, step, kill)
        with pytest.raises(KilledError):
            call(*arguments)


def in_place(call: Call, source: Path, plan: Path, count: int) -> Path:
    """Make a plan that replaces its own source."""
    arguments = ("split", source, source, "--num-shards", count, "--replace")
    plan.write_text(call(*arguments, "--dry-run", "--json")[0])
    return plan


@pytest.mark.parametrize("step", ["_give_name", "remove_old"])
def test_in_place_a_commit_that_was_killed_is_completed(
    call: Call, source: Path, tmp_path: Path, step: str
) -> None:
    """The next command says that the result is complete, though the source of the plan is gone;
    the one after it finds another source, as after any plan in place.
    """
    plan = in_place(call, source, tmp_path / "plan.json", SHARDS)
    call("apply", plan, "--part", "1/1", "--replace")
    again = ("apply", plan, "--replace", "--commit")
    killed(call, step, *again)
    out, err = call(*again)
    assert "completed the replacement that an interrupted run had started" in err
    assert err.endswith("up to date\n")
    assert out == f"{source / 'model.safetensors.index.json'}\n"
    call("verify", source)
    assert not (source / "model.safetensors").exists()
    assert "is not the one" in call(*again, code=3)[1]


def test_in_place_only_the_same_plan_is_completed(call: Call, source: Path, tmp_path: Path) -> None:
    """A command that completes the replacement of another plan still needs its own source, and so
    does one whose run in one go knew the source by inodes.
    """
    first = in_place(call, source, tmp_path / "first.json", SHARDS)
    second = in_place(call, source, tmp_path / "second.json", 2)
    call("apply", first, "--part", "1/1", "--replace")
    killed(call, "remove_old", "apply", first, "--commit", "--replace")
    assert "is not the one" in call("apply", second, "--replace", code=3)[1]
    assert len(list(source.glob("model-*"))) == SHARDS
    third = in_place(call, source, tmp_path / "third.json", 2)
    killed(call, "remove_old", "apply", third, "--replace")
    assert "is not the one" in call("apply", third, "--replace", code=3)[1]
    call("verify", source)


# processes


def started(*arguments: object) -> subprocess.Popen[str]:
    """Start the program."""
    return subprocess.Popen(
        [sys.executable, "-m", "shardctl", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def test_parts_at_once(call: Call, plan: Path, expected: dict[str, bytes], tmp_path: Path) -> None:
    """Processes that start at one moment, two of them with the same part, all end well."""
    running = [started("apply", plan, "--part", f"{number}/3") for number in (1, 2, 3, 2)]
    for process in running:
        _, err = process.communicate()
        assert process.returncode == 0, err
    call("apply", plan, "--commit")
    assert files(tmp_path / "out") == expected


@pytest.fixture
def large(call: Call, tmp_path: Path) -> Path:
    """A plan of four shards that take a moment to write, since every element is converted."""
    source = tmp_path / "large"
    write_floats(source / "model.safetensors", {f"w{number}": 40_000_000 for number in range(4)})
    plan = tmp_path / "large.json"
    arguments = ("split", source, tmp_path / "out", "--num-shards", "4", "--dtype", "f16")
    plan.write_text(call(*arguments, "--dry-run", "--json")[0])
    call("split", source, tmp_path / "expected", *arguments[3:])
    return plan


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_part_that_is_killed(call: Call, large: Path, tmp_path: Path) -> None:
    """After SIGKILL in the midst of a shard nothing of it counts as done; the part that is repeated
    removes what was left, and the bytes are those of one run.
    """
    parts = tmp_path / "out" / ".shardctl" / "parts"
    process = started("apply", large, "--part", "1/1", "-j", "1")
    _until(lambda: any(parts.glob("*/*.safetensors")))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert list(parts.iterdir())
    call("apply", large, "--commit", code=4)
    out, _ = call("apply", large, "--part", "1/1")
    assert "missing" not in out
    assert not parts.exists() or not list(parts.iterdir())
    call("apply", large, "--commit")
    assert files(tmp_path / "out") == files(tmp_path / "expected")


def test_a_part_that_is_interrupted(call: Call, large: Path, tmp_path: Path) -> None:
    """SIGTERM ends a part with what it has finished, and says how to go on."""
    parts = tmp_path / "out" / ".shardctl" / "parts"
    process = started("apply", large, "--part", "1/1", "-j", "1")
    _until(lambda: any(parts.glob("*/*.safetensors")))
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "finished files are kept" in err
    call("apply", large)
    assert files(tmp_path / "out") == files(tmp_path / "expected")


def test_no_lock_of_the_kernel_is_needed(
    plan: Path, expected: dict[str, bytes], tmp_path: Path
) -> None:
    """Where `flock` fails, as on some network filesystems, and where it is granted to everybody, as
    by a mount that keeps it on one machine, parts at once end well.
    """
    for number, flock in enumerate(("raise OSError(errno.ENOLCK, 'x')", "pass")):
        program = (
            f"import errno, fcntl, sys\ndef flock(*_):\n    {flock}\nfcntl.flock = flock\n"
            "from shardctl.__main__ import main\nsys.exit(main())"
        )
        target = tmp_path / f"out{number}"

        def begun(*arguments: object, program: str = program, target: Path = target) -> list[str]:
            line = ("apply", plan, "--target", target, *arguments)
            return [sys.executable, "-c", program, *map(str, line)]

        running = [
            subprocess.Popen(
                begun("--part", f"{part}/3"),
                env=environment(),
                stderr=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                text=True,
            )
            for part in (1, 2, 3, 1)
        ]
        for process in running:
            _, err = process.communicate()
            assert process.returncode == 0, err
        subprocess.run(begun("--commit", "-q"), env=environment(), check=True)
        assert files(target) == expected


@pytest.mark.parametrize(("count", "seed"), itertools.product((2, 3, 7), range(2)))
def test_any_order_killed_and_repeated(
    call: Call, plan: Path, expected: dict[str, bytes], tmp_path: Path, count: int, seed: int
) -> None:
    """Whatever shards are lost in between, and in whatever order parts run, the files are those of
    one run.
    """
    import random

    chance = random.Random(seed)
    todo = [number for number in range(1, count + 1) for _ in range(2)]
    chance.shuffle(todo)
    for number in todo:
        call("apply", plan, "--part", f"{number}/{count}", "-q")
        if chance.random() < 0.5 and staged(tmp_path):
            os.unlink(chance.choice(staged(tmp_path)))
    for number in range(1, count + 1):
        call("apply", plan, "--part", f"{number}/{count}", "-q")
    call("apply", plan, "--commit")
    assert files(tmp_path / "out") == expected
