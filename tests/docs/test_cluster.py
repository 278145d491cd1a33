"""The cluster runbook: its commands, with the variables of the cluster, as plain processes."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.docs.pages import blocks
from tests.support.program import ROOT, environment, run_cli
from tests.support.safetensors_files import write_floats

PAGE = ROOT / "docs" / "cluster.md"
PARTS = 8
INDEX = "model.safetensors.index.json"
#: The page's limit for a shard, and the one for the small source of the test.
SIZE, SMALL = "5GB", "1KB"


def block(heading: str, language: str, number: int = 0) -> str:
    """The text of a block of the page, for the source of the test."""
    found = [
        each.text
        for each in blocks(PAGE, ROOT)
        if (each.heading, each.language) == (heading, language)
    ]
    return found[number].replace(SIZE, SMALL)


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """The directory that all tasks see: the source, and the program on the PATH.

    Afterwards the target has to be what one run writes.
    """
    sizes = {f"layers.{number}.w": 900 for number in range(2 * PARTS)}
    write_floats(tmp_path / "model" / "model.safetensors", sizes)
    (tmp_path / "model" / "config.json").write_text("{}")
    binaries = tmp_path / "bin"
    binaries.mkdir()
    program = binaries / "shardctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m shardctl "$@"\n')
    program.chmod(0o755)
    yield tmp_path
    run_cli("split", tmp_path / "model", tmp_path / "expected", "--max-shard-size", SMALL)
    assert contents(tmp_path / "out") == contents(tmp_path / "expected")
    assert len(contents(tmp_path / "out")) == 2 * PARTS + 2


def contents(directory: Path) -> dict[str, bytes]:
    """Every file of a directory."""
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def started(work: Path, script: str, variables: Mapping[str, object]) -> subprocess.Popen[str]:
    """Start a script as a cluster does: in the directory, with the variables that it sets."""
    kept = environment()
    return subprocess.Popen(
        ["bash", "-c", script],
        cwd=work,
        env={
            **kept,
            "PATH": f"{work / 'bin'}:{kept['PATH']}",
            **{name: str(value) for name, value in variables.items()},
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def succeed(work: Path, script: str, *each: Mapping[str, object]) -> list[str]:
    """Run a script once for each set of variables, all at once; return what each printed."""
    running = [started(work, script, variables) for variables in each or ({},)]
    printed = []
    for process in running:
        out, err = process.communicate()
        assert process.returncode == 0, err
        printed.append(out)
    return printed


def test_a_slurm_array(work: Path) -> None:
    """The script of the array, as each of its tasks, then the command that waits for them."""
    succeed(work, block("The plan", "sh"))
    script = block("A SLURM array", "sh")
    first, last = map(int, re.findall(r"--array=(\d+)-(\d+)", script)[0])
    assert (first, last) == (1, PARTS)
    tasks = [{"SLURM_ARRAY_TASK_ID": number} for number in range(first, last + 1)]
    # One of them is requeued while the others are at work.
    printed = succeed(work, script, *tasks, tasks[2])
    assert all(out.startswith("shard\tsize\tstate\n") for out in printed)
    (wrapped,) = re.findall(r'--wrap "(.*)"', block("A SLURM array", "sh", 1))
    assert succeed(work, wrapped) == [f"out/{INDEX}\n"]


def test_a_kubernetes_job(work: Path) -> None:
    """The container's command with the index of each pod, then that of the last Job."""
    succeed(work, block("The plan", "sh"))
    manifest = block("A Kubernetes indexed Job", "yaml")
    assert f"completions: {PARTS}\n" in manifest
    assert "completionMode: Indexed\n" in manifest
    (command,) = re.findall(r"^ +- (shardctl .*)$", manifest, re.MULTILINE)
    succeed(work, command, *({"JOB_COMPLETION_INDEX": number} for number in range(PARTS)))
    (last,) = re.findall(r"- (shardctl .*)$", block("A Kubernetes indexed Job", "yaml", 1))
    assert succeed(work, last) == [f"out/{INDEX}\n"]


def test_a_makefile(work: Path) -> None:
    """A target for each part: one is interrupted, and make goes on with the others."""
    (work / "Makefile").write_text(block("A Makefile", "make"))
    succeed(work, "make plan.json part-3.done")
    assert not (work / "out" / INDEX).exists()
    succeed(work, "make -j 4")
    assert len(list(work.glob("part-*.done"))) == PARTS
    (up_to_date,) = succeed(work, "make")
    assert "up to date" in up_to_date
