"""What open files and directories have in common: a `with` block closes them."""

from __future__ import annotations

from typing import Self


class Closing:
    """A base of what is closed at the end of a `with` block, and may have nothing to release."""

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
