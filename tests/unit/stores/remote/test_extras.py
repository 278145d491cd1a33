"""Libraries that only some URLs need."""

from __future__ import annotations

import pytest

from shardctl.errors import UsageError
from shardctl.stores.remote.extras import needed


def test_a_library_that_is_missing() -> None:
    """The error names the path, the library, and the extra that installs it."""
    with pytest.raises(UsageError) as caught, needed("obstore", "cloud", "s3://b/m"):
        raise ModuleNotFoundError("obstore")
    assert caught.value.message == "'s3://b/m' needs obstore, which is not installed"
    assert "pip install 'shardctl[cloud]'" in caught.value.hint
    assert caught.value.file == "s3://b/m"


def test_other_errors_are_passed_on() -> None:
    """Only an import that fails says what is not installed."""
    with pytest.raises(ValueError, match="else"), needed("obstore", "cloud", "s3://b/m"):
        raise ValueError("something else")
