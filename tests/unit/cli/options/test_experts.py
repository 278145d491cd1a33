"""What becomes of experts, and the file of names for other models."""

from __future__ import annotations

from pathlib import Path

import pytest

from shardctl.cli.options import experts
from shardctl.cli.options.experts import ExpertsName, keywords_of
from shardctl.errors import UsageError
from shardctl.planning.request import Experts
from shardctl.planning.transform.expert_rules import parse_map

MAP = '{"mlp.experts.down_proj": ["mlp.experts.*.down_proj.weight"]}'


def test_nothing_typed_changes_nothing() -> None:
    """The experts stay as they are."""
    assert keywords_of(None, None) == {"experts": None}


@pytest.mark.parametrize("action", ExpertsName)
def test_the_names_that_are_known(action: ExpertsName) -> None:
    """Without a file the rules are those of the program."""
    assert keywords_of(action, None) == {"experts": Experts(action.value)}


@pytest.mark.parametrize("text", [MAP, MAP.replace("{", "").replace("}", "").replace(":", " =")])
def test_names_from_a_file(tmp_path: Path, text: str) -> None:
    """JSON and TOML say the same."""
    path = tmp_path / "map"
    path.write_text(text)
    asked = keywords_of(ExpertsName.STACK, str(path))
    assert asked == {"experts": Experts("stack", parse_map(MAP))}


def test_a_file_needs_something_to_do(tmp_path: Path) -> None:
    """Names alone are a usage error, whether or not there is such a file."""
    with pytest.raises(UsageError, match="needs something to do"):
        keywords_of(None, str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("data", "reason"), [(None, "No such file"), (b"\xff\xfe", "it is not text")]
)
def test_a_file_that_cannot_be_read(tmp_path: Path, data: bytes | None, reason: str) -> None:
    """The error quotes its name on one line, and says why."""
    path = tmp_path / "a\nmap"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(UsageError, match=reason) as caught:
        keywords_of(ExpertsName.SPLIT, str(path))
    assert r"a\nmap" in caught.value.message
    with pytest.raises(UsageError, match="cannot be read"):
        keywords_of(ExpertsName.SPLIT, str(tmp_path))


def test_a_file_may_be_as_large_as_a_map_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte more is refused, without reading the rest."""
    path = tmp_path / "map"
    path.write_text(MAP)
    monkeypatch.setattr(experts, "_MOST_BYTES", len(MAP))
    assert keywords_of(ExpertsName.STACK, str(path))["experts"] is not None
    monkeypatch.setattr(experts, "_MOST_BYTES", len(MAP) - 1)
    with pytest.raises(UsageError, match="it is too large"):
        keywords_of(ExpertsName.STACK, str(path))


def test_a_file_of_anything_else(tmp_path: Path) -> None:
    """What is wrong in it is said by what reads maps."""
    path = tmp_path / "map"
    path.write_text("[1, 2")
    with pytest.raises(UsageError):
        keywords_of(ExpertsName.STACK, str(path))
