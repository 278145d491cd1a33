"""Files whose contents are not what their suffix promises.

Every loader goes by the suffix: torch's for a safetensors file fails, or the reverse. shardctl goes
by the contents and reads both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from shardctl.findings import Finding
from shardctl.formats.registry import by_name, promised_by
from shardctl.model import File
from shardctl.naming import is_foreign_weights
from shardctl.text import escape


def misnamed_files(files: Iterable[File]) -> Iterator[Finding]:
    """Yield an error for each file whose suffix promises another format than it has."""
    for file in files:
        promised, actual = promised_by(file.path), by_name(file.format)
        if promised is not None and promised is not actual:
            yield Finding(
                "container-misnamed",
                "error",
                f"the file is of the format '{actual.name}', and its name promises "
                f"'{promised.name}': loaders go by the name",
                f"rename the file to end in {actual.suffix}, or write it again as "
                f"{promised.name} with `write`",
                file=file.path,
                offset=0,
            )
        elif promised is None and is_foreign_weights(file.path):
            yield Finding(
                "container-misnamed",
                "error",
                f"the file is of the format '{actual.name}', and its name promises that of another "
                "framework: loaders go by the name",
                f"rename the file to end in {actual.suffix}",
                file=file.path,
                offset=0,
            )


def misnamed_notes(files: Iterable[File]) -> Iterator[str]:
    """Yield the same as notes, for those who read such files all the same."""
    for finding in misnamed_files(files):
        yield f"'{escape(finding.file or '')}': {finding.message}"
