"""Which store a path or a URL means.

A plain path is one of this machine. A URL has a scheme of at least two letters and `://`, so that
`C:/x` and a file called `a:b` are plain paths. The store of a scheme is loaded when a URL first
asks for it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from shardctl.errors import UsageError
from shardctl.stores.base import Store
from shardctl.stores.faults import without_secrets
from shardctl.text import escape

#: Gets the whole URL, and returns the store and the path in it that the URL means. Raises
#: UsageError for a URL that means nothing there.
Loader = Callable[[str], tuple[Store, str]]

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def _web(url: str) -> tuple[Store, str]:
    from shardctl.stores.elsewhere import hub_page  # noqa: PLC0415 - when it is asked for
    from shardctl.stores.remote.web import open_web  # noqa: PLC0415 - as above

    page = hub_page(url)
    # The address of a page of the hub, as a browser shows it, means what the page is about.
    return open_web(url) if page is None or page.repo_type else _hub(page.url)


def _hub(url: str) -> tuple[Store, str]:
    from shardctl.stores.remote.hub import open_hub  # noqa: PLC0415 - when it is asked for

    return open_hub(url)


def _cloud(url: str) -> tuple[Store, str]:
    from shardctl.stores.remote.cloud import open_cloud  # noqa: PLC0415 - when it is asked for

    return open_cloud(url)


#: Loaders by scheme, in lower case. One that comes with the package is a line here; it imports its
#: store when it is called.
_loaders: dict[str, Loader] = {
    "http": _web,
    "https": _web,
    "hf": _hub,
    "s3": _cloud,
    "gs": _cloud,
    "az": _cloud,
}


def open_store(location: str) -> tuple[Store, str]:
    """Return the store that a path or a URL means, and the path in it.

    Raises UsageError for a scheme that is not known, and what the store's loader raises.
    """
    match = _SCHEME.match(location)
    if match is None:
        from shardctl.stores.local.store import LocalStore  # noqa: PLC0415 - when it is asked for

        return LocalStore(), location
    loader = _loaders.get(match[1].lower())
    if loader is None:
        raise _unknown(location, match[1])
    return loader(location)


def absolute(location: str) -> str:
    """Return a location that means the same in every working directory."""
    # Not shortened: `a/../b` leads elsewhere where `a` is a link.
    return location if _SCHEME.match(location) else os.path.join(os.getcwd(), location)


def open_together(locations: Sequence[str]) -> tuple[Store, list[str]]:
    """Return the store that holds all of these, and their paths in it.

    Raises UsageError where one of several is a URL, and what `open_store` raises.
    """
    urls = [each for each in locations if _SCHEME.match(each)]
    if urls and len(locations) > 1:
        shown = without_secrets(urls[0])
        raise UsageError(
            f"'{escape(shown)}' is a URL, and several files can be joined only on this machine",
            hint="give one URL alone, of an index or a directory, or download the files first",
            file=shown,
        )
    opened = [open_store(each) for each in locations]
    return opened[0][0], [path for _, path in opened]


def _unknown(location: str, scheme: str) -> UsageError:
    location = without_secrets(location)
    known = ", ".join(f"{each}://" for each in sorted(_loaders))
    return UsageError(
        f"'{escape(location)}' is a URL with an unknown scheme, {scheme}://",
        hint=f"use a path of this machine, or a URL with {known}",
        file=location,
    )


def register(scheme: str, loader: Loader) -> Callable[[], None]:
    """Let `loader` open the URLs of a scheme, and return a function that undoes this.

    A loader is called for each URL, and should import what it needs only then. Raises ValueError
    for a scheme that is registered already, or that no URL can have.
    """
    name = scheme.lower()
    if name in _loaders or not _SCHEME.fullmatch(f"{name}://"):
        raise ValueError(f"cannot register the scheme {scheme!r}: taken, or not a scheme")
    _loaders[name] = loader

    def undo() -> None:
        _loaders.pop(name, None)

    return undo
