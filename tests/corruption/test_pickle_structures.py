"""A name that a pickle would import is reported at any place, and no hint leads to loading it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.stores.local.store import LocalStore
from shardctl.verify.run import Thoroughness, verify
from tests.corruption.pickle_structures import FILES, NAME, POSITIONS, pickled, structures


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("position", POSITIONS)
def test_the_name_is_found(file: str, position: str, tmp_path: Path) -> None:
    """In every protocol, framed or not, verify gives pickle-unsafe with the name and safe hints."""
    path = tmp_path / "model.pt"
    for kind, place, protocol, framed in structures():
        if (kind, place) != (file, position):
            continue
        data = FILES[file](pickled(position, protocol, framed=framed))
        if file in ("raw", "legacy magic") and protocol < 2 and not data.endswith(b"."):
            continue  # such a file has no mark of a pickle at its begin or its end
        path.write_bytes(data)
        verdict = verify(LocalStore(), str(path), Thoroughness(deep=True))
        found = [finding for finding in verdict.findings if finding.code == "pickle-unsafe"]
        assert found, (protocol, framed, verdict.findings)
        assert NAME in found[0].message
        for finding in verdict.findings:
            assert "torch.load" not in finding.hint
            assert "save" not in finding.hint, finding
    assert not (tmp_path / "CANARY").exists()
