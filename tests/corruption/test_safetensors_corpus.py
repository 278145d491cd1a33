"""Every broken or odd safetensors file of the corpus gets the finding that names its fault."""

from __future__ import annotations

import pytest
from safetensors import SafetensorError, deserialize

from shardctl.errors import FormatError
from shardctl.findings import Finding, strict
from shardctl.formats.safetensors.reader import SafetensorsReader
from shardctl.model import File, Tensor
from shardctl.testing.builders import BytesReader
from tests.corruption.cases import Case
from tests.corruption.safetensors_cases import CASES

_PATH = "folder/model.safetensors"

each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def _read(case: Case) -> tuple[File | None, list[Finding]]:
    findings: list[Finding] = []
    file = SafetensorsReader().read(BytesReader(_PATH, case.make()), findings.append)
    return file, findings


def test_the_names_differ() -> None:
    """Every case has its own name."""
    assert len({case.name for case in CASES}) == len(CASES)


@each
def test_collecting(case: Case) -> None:
    """A collecting report is told the case's code, with the file, a message and a next step."""
    file, findings = _read(case)
    if case.code is None:
        assert findings == []
        assert file is not None
        return
    assert case.code in {finding.code for finding in findings if finding.severity == case.severity}
    for finding in findings:
        assert finding.file == _PATH
        assert finding.message
        assert finding.hint


@each
def test_one_fault_is_one_code(case: Case) -> None:
    """A fault brings no crowd of codes with it: at most one more, where two rules are broken at
    once.
    """
    _, findings = _read(case)
    assert len({finding.code for finding in findings if finding.severity == "error"}) <= 2


@each
def test_strict(case: Case) -> None:
    """The strict report raises the first error that collecting finds, and lets warnings pass."""
    reader = BytesReader(_PATH, case.make())
    if case.code is None or case.severity != "error":
        assert SafetensorsReader().read(reader, strict) is not None
        return
    with pytest.raises(FormatError) as caught:
        SafetensorsReader().read(reader, strict)
    _, findings = _read(case)
    assert caught.value.code == next(
        finding.code for finding in findings if finding.severity == "error"
    )
    assert caught.value.exit_code == 3
    assert caught.value.file == _PATH


@each
def test_what_is_returned_lies_within_the_file(case: Case) -> None:
    """Whatever is wrong, the tensors that are returned lie within the file and have their bytes."""
    file, _ = _read(case)
    for tensor in file.tree.values() if file else ():
        assert isinstance(tensor, Tensor)
        assert file is not None
        assert file.data_offset <= tensor.span.offset
        assert tensor.span.end <= file.version.size
        assert tensor.span.length == tensor.storage.extent.length == tensor.nbytes


@each
def test_no_more_than_the_header_is_read(case: Case) -> None:
    """No range past the file's end is asked for, and none of the tensors' bytes."""
    data = case.make()
    reader = BytesReader(_PATH, data)
    file = SafetensorsReader().read(reader, lambda _: None)
    assert all(offset + length <= len(data) for offset, length in reader.ranges)
    if file:
        assert max(offset + length for offset, length in reader.ranges) == file.data_offset


@each
def test_upstream_loads_what_is_accepted(case: Case) -> None:
    """A file without errors loads with safetensors' own loader, and holds the same there."""
    file, findings = _read(case)
    if any(finding.severity == "error" for finding in findings):
        return
    data = case.make()
    theirs = {
        name: (view["dtype"], view["shape"], bytes(view["data"]))
        for name, view in deserialize(data)
    }
    assert file is not None
    ours = {
        name: (tensor.dtype.name, list(tensor.shape), data[tensor.span.offset : tensor.span.end])
        for name, tensor in file.tree.items()
        if isinstance(tensor, Tensor)
    }
    assert ours == theirs


@each
def test_what_upstream_refuses_is_refused(case: Case) -> None:
    """Whatever safetensors' own loader refuses is an error here too."""
    try:
        deserialize(case.make())
    except SafetensorError:
        assert case.code is not None
        assert case.severity == "error"
