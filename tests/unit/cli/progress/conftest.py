"""The clock that progress looks at."""

from __future__ import annotations

import pytest

from tests.support.clocks import Clock


@pytest.fixture
def clock() -> Clock:
    """The clock that progress looks at."""
    return Clock()
