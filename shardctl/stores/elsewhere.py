"""What an id or the address of a page names on the Hugging Face hub."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from urllib.parse import quote, unquote, urlsplit

_HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
#: What the hub allows in the name of an organisation or a repository, and in a revision.
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9_])?"
_ID = re.compile(rf"(?P<repo>{_NAME}/{_NAME})(?:@(?P<revision>[A-Za-z0-9._/-]+))?")
#: Models that the hub had before there were organisations, and still finds by these names.
_FIRST_MODELS = re.compile(
    r"(?:distil)?(?:bert|roberta)-(?:base|large)(?:-[a-z0-9-]+)?"
    r"|(?:distil)?gpt2(?:-medium|-large|-xl)?|openai-gpt|ctrl|transfo-xl-wt103"
    r"|t5-(?:small|base|large|3b|11b)|(?:albert|xlnet|xlm|xlm-roberta|camembert)-[a-z0-9-]+"
)
#: The parts of a page's address that lead to a file or a directory at a revision.
_VIEWS = ("tree", "blob", "resolve", "raw")
_REPO_TYPES = {"datasets": "dataset", "spaces": "space", "models": None}
_DOWNLOAD = "`hf download {repo}{options} --local-dir {directory}`"
_REPO_TYPE, _REVISION = " --repo-type {}", " --revision {}"


@dataclass(frozen=True, slots=True)
class HubName:
    """A repository of the hub, at a revision, and one file of it if that was named."""

    repo: str
    revision: str | None = None
    file: str | None = None
    repo_type: str | None = None

    @property
    def url(self) -> str:
        """Its URL, with a slash in the revision as `%2F`."""
        revision = "" if self.revision is None else f"@{quote(self.revision, safe='')}"
        return f"hf://{self.repo}{revision}" + ("" if self.file is None else f"/{self.file}")

    @property
    def command(self) -> str:
        """The command that fetches it into a directory of the repository's name, in backquotes."""
        options = "" if self.file is None else f" {shlex.quote(self.file)}"
        options += "" if self.repo_type is None else _REPO_TYPE.format(self.repo_type)
        options += "" if self.revision is None else _REVISION.format(self.revision)
        return _DOWNLOAD.format(
            repo=self.repo, options=options, directory=self.repo.rpartition("/")[2]
        )


def hub_id(text: str) -> HubName | None:
    """Return what a text names on the hub, if it has the form `org/name[@revision]` or a page's.

    So does the name of one of the hub's first models, which has no organisation. A path can have
    that form too: the caller knows whether it exists.
    """
    if _FIRST_MODELS.fullmatch(text):
        return HubName(text)
    match = _ID.fullmatch(text.rstrip("/"))
    if text.partition("/")[0] in _HUB_HOSTS:
        return _of_page(text)
    return None if match is None else HubName(match["repo"], match["revision"])


def hub_page(url: str) -> HubName | None:
    """Return what the URL of a page or of a file of the hub names; None for any other URL."""
    try:
        host = urlsplit(url).hostname
    except ValueError:  # brackets that are not around an address
        return None
    return _of_page(url.partition("://")[2]) if host in _HUB_HOSTS else None


def _of_page(address: str) -> HubName | None:
    """Return what the address of a page of the hub names, which begins with the host."""
    return _of_parts(address.partition("/")[2].partition("?")[0].partition("#")[0])


def _of_parts(path: str) -> HubName | None:
    repo_type, parts = None, [unquote(part) for part in path.split("/") if part]
    if parts and parts[0] in _REPO_TYPES:
        repo_type = _REPO_TYPES[parts.pop(0)]
    match = _ID.fullmatch("/".join(parts[:2]))
    if match is None or not all(part.isprintable() and "`" not in part for part in parts):
        return None
    revision, rest, view = match["revision"], parts[2:], None
    if len(rest) > 1 and rest[0] in _VIEWS and revision is None:
        view, revision, rest = rest[0], rest[1], rest[2:]
        if _ID.fullmatch(f"a/b@{revision}") is None:
            return None
    file = "/".join(rest) if rest and view != "tree" else None
    return HubName(match["repo"], None if revision == "main" else revision, file, repo_type)
