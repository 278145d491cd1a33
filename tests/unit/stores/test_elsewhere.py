"""Ids of the hub and the addresses of its pages."""

from __future__ import annotations

import pytest

from shardctl.stores.elsewhere import HubName, hub_id, hub_page
from shardctl.stores.registry import open_store
from shardctl.stores.remote.hub import HubClient


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://huggingface.co/org/name", "hf://org/name"),
        ("https://huggingface.co/org/name/?tab=x#files", "hf://org/name"),
        ("https://hf.co/org/name/tree/main", "hf://org/name"),
        ("https://huggingface.co/org/name/tree/refs-pr-1", "hf://org/name@refs-pr-1"),
        (
            "https://huggingface.co/org/name/resolve/main/sub/a%20b.bin?download=true",
            "hf://org/name/sub/a b.bin",
        ),
        ("https://huggingface.co/org/name/blob/v1/m.bin", "hf://org/name@v1/m.bin"),
        ("https://huggingface.co/spaces", None),
        ("https://example.com/org/name", None),
    ],
)
def test_pages_of_the_hub(url: str, named: str | None) -> None:
    """The address of a page, or of a file, means what is on the hub."""
    found = hub_page(url)
    assert (None if found is None else found.url) == named
    if named is not None:
        store, path = open_store(url)
        assert path == named
        assert isinstance(getattr(store, "_client", None), HubClient)


def test_what_is_pasted_is_quoted() -> None:
    """Characters that a shell reads are quoted in the command that fetches a file."""
    named = HubName("org/name", "v1", "a;rm -rf x", "dataset")
    assert named.command == (
        "`hf download org/name 'a;rm -rf x' --repo-type dataset --revision v1 --local-dir name`"
    )


@pytest.mark.parametrize(
    ("text", "repo"),
    [
        ("org/name", "org/name"), ("org/name-7b.v1", "org/name-7b.v1"),
        ("org/name@main", "org/name"),
        ("huggingface.co/org/name", "org/name"), ("./org", None), ("../name", None), ("name", None),
        ("a/b/c", None), ("/org/name", None), ("org/na me", None), ("-x/name", None),
        ("gpt2", "gpt2"), ("bert-base-uncased", "bert-base-uncased"), ("t5-small", "t5-small"),
        ("distilroberta-base", "distilroberta-base"), ("bert", None), ("gpt2.safetensors", None),
    ],
)  # fmt: skip
def test_ids_of_the_hub(text: str, repo: str | None) -> None:
    """Ids have an organisation, but for those of the first models; other paths are none."""
    found = hub_id(text)
    assert (None if found is None else found.repo) == repo
