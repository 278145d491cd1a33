"""Every file of the corpus through the command line: the exit codes, the findings, no traceback,
little memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shardctl.cli.app import app
from shardctl.cli.exits import run
from tests.corruption import safetensors_cases, torch_cases
from tests.corruption.cases import Case
from tests.support.program import ROOT

CASES = [*safetensors_cases.CASES, *torch_cases.CASES]

#: What is said of a file before any format is asked, since it is none that one of them would
#: claim.
SAID_BEFORE = {
    "one byte": "header-invalid",
    "seven bytes": "header-invalid",
    "git lfs pointer": "file-lfs-pointer",
    "html page": "file-html-page",
}

#: Peak memory (KiB) of a process that puts each file of a directory to `verify`, beside that of one
#: which does so to none.
PEAK = """
import os, resource, sys
from shardctl.cli.app import app
from shardctl.cli.exits import run
sys.stdout = sys.stderr = open(os.devnull, "w")
run(app, ["verify", sys.argv[1]])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for name in sorted(os.listdir(sys.argv[2])):
    run(app, ["verify", os.path.join(sys.argv[2], name)])
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.__stdout__)
"""

#: Processor time that `verify` may take for any file of the corpus.
MOST_SECONDS = 2.0

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def _put(case: Case, directory: Path) -> Path:
    path = directory / f"case{case.suffix}"
    path.write_bytes(case.make())
    return path


@each
def test_the_exit_codes(case: Case, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """`verify` soon ends, with 1 and the case's code where that is an error; a writer with 3, and
    leaves no target.
    """
    path, target = _put(case, tmp_path), tmp_path / "target"
    begun = time.process_time()
    code = run(app, ["verify", str(path), "--json"])
    assert time.process_time() - begun < MOST_SECONDS
    out, err = capfd.readouterr()
    findings = json.loads(out)["findings"]
    codes = {finding["code"] for finding in findings}
    assert err == ""
    assert all(finding["message"] and finding["hint"] for finding in findings)
    if case.code is None:
        return
    assert SAID_BEFORE.get(case.name, case.code) in codes
    if case.severity == "error":
        assert code == 1
        code = run(app, ["merge", str(path), str(target), "--json", "-q"])
        out, err = capfd.readouterr()
        error = json.loads(err)
        assert (code, out, error["exit_code"]) == (3, "", 3)
        assert error["error"] in codes
        assert error["message"]
        assert error["hint"]
        assert not target.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs the resource module")
def test_no_file_costs_much_memory(tmp_path: Path) -> None:
    """All files of the corpus, one after another in one process, raise its peak memory by less than
    100 MiB.
    """
    directory, sound = tmp_path / "cases", tmp_path / "sound.safetensors"
    directory.mkdir()
    for number, case in enumerate(CASES):
        (directory / f"{number:04}{case.suffix}").write_bytes(case.make())
    sound.write_bytes(next(case.make() for case in CASES if case.code is None))
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(sound), str(directory)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    before, after = map(int, done.stdout.split())
    assert after - before < 100 * 1024
