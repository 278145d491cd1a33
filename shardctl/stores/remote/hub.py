"""Repositories of the Hugging Face hub: `hf://org/name[@revision][/path]`.

huggingface_hub says which commit a revision is, which files it has, and who asks; HF_ENDPOINT,
HF_TOKEN and its other settings hold. One request lists a repository; from then on the commit is
what is read, whatever the branch becomes. Ranges are asked of the hub, which redirects to where the
bytes are. A file that is in the library's cache already is read from there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from shardctl.errors import MissingError, ShardctlError, StorageError, UsageError
from shardctl.model import Version
from shardctl.stores.base import Entry
from shardctl.stores.faults import shown, without_secrets
from shardctl.stores.local.store import LocalStore
from shardctl.stores.remote.client import CHUNK_BYTES, Answer, TransientError
from shardctl.stores.remote.extras import needed
from shardctl.stores.remote.http import TRANSIENT, Http, seconds
from shardctl.stores.remote.store import RemoteStore
from shardctl.stores.remote.tree import Tree
from shardctl.stores.remote.web import ranged

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
#: Revisions with slashes that the hub's library takes as they are; any other slash is written as
#: `%2F`, as in the hub's own URLs.
_SPECIAL = r"refs/(?:pr/[0-9]+|convert/[A-Za-z0-9._-]+)(?![^/])"
_URL = re.compile(
    rf"hf://(?:models/)?({_NAME}/{_NAME})(?:@({_SPECIAL}|[A-Za-z0-9._%-]+))?((?:/[^/]+)*)/?",
    re.IGNORECASE,
)
#: Seconds for which a place that the hub redirected to is asked directly; its URLs are valid for an
#: hour.
_PLACE_SECONDS = 300


def open_hub(url: str) -> tuple[RemoteStore, str]:
    """Return the store of a repository at a revision, and the path in it."""
    match = _URL.fullmatch(url)
    if match is None or match[1].partition("/")[0] in ("datasets", "spaces", "buckets"):
        path = without_secrets(url)
        raise UsageError(
            f"{shown(path)} does not name a repository of models",
            hint="write hf://ORG/NAME, hf://ORG/NAME@REVISION, and a path after it",
            file=path,
        )
    repo, revision, path = match.groups()
    base = f"hf://{repo}" + (f"@{revision}" if revision else "")
    revision = revision and re.sub("%2f", "/", revision, flags=re.IGNORECASE)
    return RemoteStore(base, HubClient(base, repo, revision)), base + path


@dataclass
class HubClient:
    """Asks the hub for one repository at one commit."""

    base: str
    repo: str
    revision: str | None
    http: Http = field(default_factory=Http, repr=False)
    listings: int = 0
    _tree: Tree | None = field(default=None, repr=False)
    _commit: str = ""
    _places: dict[str, tuple[float, str]] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> tuple[Callable[..., HubClient], tuple[str, str, str | None]]:
        # The commit, where it is known: another process must not read another one.
        return HubClient, (self.base, self.repo, self._commit or self.revision)

    @property
    def at_once(self) -> int:
        """As many as the hub's own library asks for at once, doubled: these requests are small."""
        return 16

    @property
    def requests(self) -> int:
        """How many requests were sent, those for redirects too."""
        return self.http.requests + self.listings

    @property
    def nbytes(self) -> int:
        """How many bytes of files came in."""
        return self.http.nbytes

    @contextmanager
    def ranged(
        self,
        path: str,
        offset: int,
        length: int,
        expected: Version | None,  # noqa: ARG002 - a commit never changes
    ) -> Iterator[Answer]:
        """Ask for a range of a file of the commit; the version is the hub's own digest of it."""
        version = self.version(path)
        cached = self._cached(path, version)
        if cached is not None or version.size == 0:
            yield Answer(version, _pieces(cached, min(length, version.size - offset), offset))
            return
        url, headers = self._place(path)
        with (
            self._renewing(path),
            ranged(self.http, url, path, (offset, length), headers) as (answer, found),
        ):
            if answer.version.size != version.size:
                raise StorageError(
                    f"{shown(path)} has {answer.version.size:,} bytes, and {version.size:,} in the "
                    "hub's listing",
                    hint="the hub has not finished to store it: run the same command again later",
                    file=path,
                )
            # Only of another server: the hub itself must be given the token each time.
            if urlsplit(found).netloc != urlsplit(url).netloc:
                self._places.setdefault(path, (time.monotonic(), found))
            yield Answer(version, answer.chunks)

    def version(self, path: str) -> Version:
        """Return the version of a file of the commit."""
        found = self.tree.files.get(self._name(path))
        if found is None:
            raise MissingError(
                f"{shown(path)} does not exist", hint="check the path and the revision", file=path
            )
        return found

    def entries(self, directory: str) -> list[Entry]:
        """Return the names in a directory of the commit."""
        return self.tree.entries(self._name(directory))

    @property
    def tree(self) -> Tree:
        """The files of the commit; listed when it is first needed."""
        if self._tree is None:
            self._tree = self._listed()
        return self._tree

    def _listed(self) -> Tree:
        with needed("huggingface_hub", "hub", self.base):
            from huggingface_hub import HfApi  # noqa: PLC0415 - when a URL asks for it
        self.listings += 1
        with _asking(self.base):
            info = HfApi(library_name="shardctl").model_info(
                self.repo, revision=self.revision, files_metadata=True
            )
        self._commit = info.sha or ""
        return Tree(
            {
                each.rfilename: Version(
                    each.size or 0, each.lfs.sha256 if each.lfs else each.blob_id or self._commit
                )
                for each in info.siblings or ()
            }
        )

    def _cached(self, path: str, version: Version) -> str | None:
        """Return the local path of a file that is in the library's cache; None where it is not."""
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - listed by it already

        found = try_to_load_from_cache(self.repo, self._name(path), revision=self._commit)
        store = LocalStore()
        known = isinstance(found, str) and store.kind(found) == "file"
        return found if known and store.version(found).size == version.size else None

    def _place(self, path: str) -> tuple[str, dict[str, str]]:
        """Return where to ask for a file, and the headers that say who asks."""
        since, url = self._places.get(path, (0.0, ""))
        if url and time.monotonic() - since < _PLACE_SECONDS:
            return url, {}
        self._places.pop(path, None)
        from huggingface_hub import hf_hub_url  # noqa: PLC0415 - listed by it already
        from huggingface_hub.utils import build_hf_headers  # noqa: PLC0415 - as above

        url = hf_hub_url(self.repo, self._name(path), revision=self._commit)
        with _asking(path):
            return url, build_hf_headers(library_name="shardctl")

    def _name(self, path: str) -> str:
        return path.removeprefix(self.base).strip("/")

    @contextmanager
    def _renewing(self, path: str) -> Iterator[None]:
        """Ask the hub again where a place that it redirected to refuses: its URL has expired."""
        direct = path in self._places
        try:
            yield
        except ShardctlError as error:
            if not direct:
                raise
            self._places.pop(path, None)
            raise TransientError("the place that the hub redirected to refuses") from error


def _pieces(path: str | None, length: int, offset: int) -> Iterator[bytes]:
    """Yield the bytes of a local file; none without one."""
    if path is not None:
        with LocalStore().open(path) as reader:
            for at in range(offset, offset + length, CHUNK_BYTES):
                yield reader.read(at, min(CHUNK_BYTES, offset + length - at))


@contextmanager
def _asking(path: str) -> Iterator[None]:
    """Raise what the hub's library raises as errors that name the path.

    Its own texts are left out, and so are its exceptions: they can quote a request's headers.
    """
    try:
        yield
    except OSError as error:
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        after = seconds(getattr(response, "headers", {}).get("Retry-After"))
        raise _refused(path, status, type(error).__name__, after) from None
    except ValueError:
        raise UsageError(
            f"{shown(path)} does not name a repository of the hub",
            hint="write hf://ORG/NAME, hf://ORG/NAME@REVISION, and a path after it",
            file=path,
        ) from None
    except Exception as error:
        # What the library's own client of HTTP raises has no other base.
        if type(error).__module__.partition(".")[0] not in ("httpx", "httpx2", "httpcore"):
            raise
        raise TransientError(f"the hub cannot be reached: {type(error).__name__}") from None


def _refused(path: str, status: int | None, name: str, after: float | None) -> Exception:
    if status in TRANSIENT:
        return TransientError(f"the hub answers {status}", after)
    if name == "OfflineModeIsEnabled":
        message, hint = "HF_HUB_OFFLINE is set", "unset it, or name a directory of the hub's cache"
    elif name == "GatedRepoError" or status == 403:
        message = "your account has no access to it"
        hint = "accept the terms on its page, and log in with `hf auth login`"
    elif name == "RevisionNotFoundError":
        return MissingError(
            f"the revision of {shown(path)} does not exist",
            hint="check the branch, tag or commit after the @",
            file=path,
        )
    elif status in (401, 404):
        return MissingError(
            f"{shown(path)} does not exist, or is private",
            hint="check the name; for a private repository log in with `hf auth login`",
            file=path,
        )
    elif status is None:
        return TransientError(f"the hub cannot be reached: {name}")
    else:
        message, hint = f"the hub answers {status}", "check the name and the revision"
    return StorageError(f"{shown(path)} cannot be read: {message}", hint=hint, file=path)
