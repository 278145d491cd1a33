"""The Makefile and the workflow in examples/ do what they say, on a small checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.docs.pages import Shell
from tests.support.program import ROOT

MAKE = f"make -f {ROOT / 'examples' / 'Makefile'} LIMIT=100KB"
WORKFLOW: dict[str, Any] = yaml.safe_load(
    (ROOT / "examples" / "ci.yml").read_text(encoding="utf-8")
)
(JOB,) = WORKFLOW["jobs"].values()
#: Steps that are about the runner itself.
OF_THE_RUNNER = {"install"}


def test_make_writes_the_index_once(shell: Shell, tmp_path: Path) -> None:
    """The first run writes the set, the second has nothing to do, and another checkpoint is written
    again; one that is only newer is not.
    """
    index = tmp_path / "work" / "sharded" / "model.safetensors.index.json"
    assert shell.run(f"{MAKE} check")[1] != 0
    output, code = shell.run(MAKE)
    assert code == 0, output
    made = index.stat().st_mtime_ns
    output, code = shell.run(MAKE)
    assert (code, index.stat().st_mtime_ns) == (0, made)
    assert "Nothing to be done" in output
    assert shell.run(f"{MAKE} check")[1] == 0
    source = tmp_path / "work" / "model" / "model.safetensors"
    source.touch()
    assert shell.run(f"{MAKE} check")[1] == 0
    assert "up to date" in shell.run(MAKE)[0]
    assert "Nothing to be done" in shell.run(MAKE)[0]
    source.write_bytes(source.read_bytes()[:-1] + b"\1")
    assert shell.run(f"{MAKE} check")[1] != 0
    output, code = shell.run(MAKE)
    assert code == 0, output
    assert "up to date" not in output
    assert index.stat().st_mtime_ns > made


def test_make_notices_another_limit(shell: Shell, tmp_path: Path) -> None:
    """The same command with another LIMIT writes other shards, and then has nothing to do."""
    sharded = tmp_path / "work" / "sharded"
    assert shell.run(MAKE)[1] == 0
    shards = len(list(sharded.glob("*.safetensors")))
    other = MAKE.replace("100KB", "60KB")
    output, code = shell.run(other)
    assert code == 0, output
    assert len(list(sharded.glob("*.safetensors"))) > shards
    assert "Nothing to be done" in shell.run(other)[0]


def test_make_verifies_each_index_once(shell: Shell, tmp_path: Path) -> None:
    """`verify` makes what it needs, reads all the bytes once, and again where the index is new;
    `clean` removes it.
    """
    output, code = shell.run(f"{MAKE} verify")
    assert (code, "verify sharded --deep" in output) == (0, True), output
    output, code = shell.run(f"{MAKE} verify")
    assert (code, "shardctl" in output) == (0, False), output
    assert shell.run(f"{MAKE} clean")[1] == 0
    assert not (tmp_path / "work" / "sharded").exists()


def steps(shell: Shell) -> dict[str, int]:
    """The exit code of each step that runs a command, by its id, as the runner would run them."""
    variables = {**JOB["env"], "MODEL": "model", "SHARDED": "sharded", "LIMIT": "100KB"}
    given = "".join(f"export {name}='{value}'; " for name, value in variables.items())
    runs = {
        step["id"]: step["run"]
        for step in JOB["steps"]
        if "run" in step and step["id"] not in OF_THE_RUNNER
    }
    return {name: shell.run(f"{given} set -eo pipefail; {run}")[1] for name, run in runs.items()}


def test_a_workflow_passes(shell: Shell) -> None:
    """Every step of the workflow is green for a set that was split from its checkpoint."""
    shell.script("shardctl split model sharded --max-shard-size 100KB")
    assert steps(shell) == {"sound": 0, "index": 0, "same": 0, "up-to-date": 0}


def test_a_workflow_fails_where_it_should(shell: Shell) -> None:
    """A wrong index, a set of another limit and a set of another checkpoint are each caught by
    their own step.
    """
    shell.script("shardctl split model sharded --max-shard-size 50KB")
    assert steps(shell) == {"sound": 0, "index": 0, "same": 0, "up-to-date": 1}
    shell.script(
        'sed -i \'s/"total_size": .*/"total_size": 1/\' sharded/model.safetensors.index.json'
    )
    assert steps(shell)["index"] == 1
    shell.script("rm -r sharded; shardctl split model sharded --max-shard-size 100KB")
    shell.script("printf x | dd of=model/model.safetensors bs=1 seek=5000 conv=notrunc status=none")
    assert steps(shell) == {"sound": 0, "index": 0, "same": 1, "up-to-date": 1}
