"""Every broken, odd or hostile torch file of the corpus gets the finding that names its fault, and
nothing runs.
"""

from __future__ import annotations

import functools
import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from shardctl.findings import Finding, strict
from shardctl.formats.detection import read_file
from shardctl.formats.registry import formats
from shardctl.model import File
from shardctl.source.state_dict import flatten
from shardctl.stores.local.store import LocalStore
from shardctl.testing.builders import BytesReader
from shardctl.verify.run import Thoroughness, verify
from tests.corruption.cases import Case, assert_strict
from tests.corruption.hostile_pickles import CANARY
from tests.corruption.torch_cases import CASES

_PATH = "models/pytorch_model.bin"
#: Seconds of processor time that no file may take: a bomb would take minutes.
_LIMIT = 2

# Modules of the formats are imported on demand. Here they come first, so that whatever else is
# imported while a file is read was imported because of the file.
for known in formats():
    for load in known.load_readers:
        load()


def _name(case: Case) -> str:
    return case.name


each = pytest.mark.parametrize("case", CASES, ids=_name)
hostile = pytest.mark.parametrize(
    "case", [case for case in CASES if case.name.startswith("hostile: ")], ids=_name
)


@functools.cache
def _read(case: Case) -> tuple[File | None, list[Finding], BytesReader]:
    findings: list[Finding] = []
    reader = BytesReader(_PATH, case.make())
    modules, begin = set(sys.modules), time.process_time()
    file = read_file(reader, findings.append)
    assert time.process_time() - begin < _LIMIT
    imported = set(sys.modules) - modules
    assert {name for name in imported if not name.startswith(("encodings.", "shardctl."))} == set()
    return file, findings, reader


@pytest.fixture(autouse=True)
def _nothing_runs() -> Iterator[None]:
    """No file of the corpus makes the canary."""
    assert not CANARY.exists()
    yield
    assert not CANARY.exists()


def test_the_names_differ() -> None:
    """Every case has its own name."""
    assert len({case.name for case in CASES}) == len(CASES)


@each
def test_collecting(case: Case) -> None:
    """A collecting report gets the case's code, with the file, a message and a next step."""
    file, findings, _ = _read(case)
    if case.code is None:
        assert findings == []
        assert file is not None
        return
    assert case.code in {finding.code for finding in findings if finding.severity == case.severity}
    for finding in findings:
        assert finding.file == _PATH
        assert finding.message.isprintable()
        assert len(finding.message) < 1000
        assert finding.hint


@each
def test_one_fault_is_one_code(case: Case) -> None:
    """A fault brings no crowd of codes with it."""
    _, findings, _ = _read(case)
    assert len({finding.code for finding in findings if finding.severity == "error"}) <= 2


@each
def test_strict(case: Case) -> None:
    """The strict report raises the first error that collecting finds, and lets warnings pass."""
    _, findings, _ = _read(case)
    reader = BytesReader(_PATH, case.make())
    assert_strict(case, _PATH, findings, lambda: read_file(reader, strict))


@each
def test_what_is_returned_lies_within_the_file(case: Case) -> None:
    """Whatever is wrong, the tensors that are returned lie within the file, and all can be
    named.
    """
    file, _, _ = _read(case)
    if file is None:
        return
    for tensor in flatten(file.tree).tensors:
        assert 0 <= tensor.span.offset <= tensor.span.end <= file.version.size
        assert tensor.nbytes >= 0


@each
def test_nothing_beyond_the_file_is_read(case: Case) -> None:
    """No range past the file's end is asked for."""
    _, _, reader = _read(case)
    size = reader.version.size
    assert all(
        offset >= 0 and length >= 0 and offset + length <= size for offset, length in reader.ranges
    )


@hostile
def test_foreign_values_are_only_named(case: Case) -> None:
    """What would run code is a non-tensor beside the tensor that is read all the same."""
    file, _, _ = _read(case)
    assert file is not None
    found = flatten(file.tree)
    assert [tensor.name for tensor in found.tensors] == ["w"]
    assert [opaque.name for opaque in found.non_tensors] == ["x"]


@hostile
def test_verify_calls_them_unsafe(case: Case, tmp_path: Path) -> None:
    """Verify warns of every pickle that imports what torch's `weights_only` would not allow."""
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(case.make())
    verdict = verify(LocalStore(), str(path), Thoroughness(deep=True))
    name = case.name.removeprefix("hostile: ")
    allowed = {
        "codecs.encode",
        "a memo of bytearray(1<<30)",
        "FloatTensor(2**28)",
        "torch.Tensor of a terabyte",
    }
    assert ("pickle-unsafe" in {finding.code for finding in verdict.findings}) == (
        name not in allowed
    )


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in CASES
        if case.code is None and not case.name.startswith(("hostile: ", "odd: "))
    ],
    ids=_name,
)
def test_torch_loads_what_is_sound(case: Case) -> None:
    """A small sound file loads with torch's own loader, and has the same tensors there."""
    file, _, _ = _read(case)
    assert file is not None
    theirs = torch.load(io.BytesIO(case.make()), weights_only=True)
    assert [tensor.name for tensor in flatten(file.tree).tensors] == [str(name) for name in theirs]
