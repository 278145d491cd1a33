"""Classes of tests that every store and every format must pass; inherit from them in a test module.

class TestMyStore(StoreSuite, LocksSuite):
    @pytest.fixture
    def store(self) -> Store: ...

    @pytest.fixture
    def root(self) -> str: ...
"""

import pytest

# Without this a failing assertion in a suite would not show its values.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{each}"
        for each in ("reading", "stores", "capabilities", "remote", "uploads", "formats")
    )
)
