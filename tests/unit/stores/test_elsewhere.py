"""Ids and URLs of what is not on this machine become the command that fetches it."""

from __future__ import annotations

import pytest

from shardctl.stores.elsewhere import fetching, hub_id


@pytest.mark.parametrize(
    ("url", "command"),
    [
        ("hf://org/name", "hf download org/name --local-dir name"),
        ("hf://org/name@v1.0", "hf download org/name --revision v1.0 --local-dir name"),
        ("hf://datasets/org/name", "hf download org/name --repo-type dataset --local-dir name"),
        ("https://huggingface.co/org/name", "hf download org/name --local-dir name"),
        ("https://huggingface.co/org/name/", "hf download org/name --local-dir name"),
        ("https://hf.co/org/name/tree/main", "hf download org/name --local-dir name"),
        (
            "https://huggingface.co/org/name/tree/refs-pr-1",
            "hf download org/name --revision refs-pr-1 --local-dir name",
        ),
        (
            "https://huggingface.co/org/name/resolve/main/sub/a%20b.bin?download=true",
            "hf download org/name 'sub/a b.bin' --local-dir name",
        ),
        (
            "https://example.com/a/model.safetensors",
            "curl --fail --location --remote-name https://example.com/a/model.safetensors",
        ),
        ("s3://bucket/models/x/", "aws s3 cp --recursive s3://bucket/models/x/ x"),
        ("gs://bucket", "gcloud storage cp --recursive gs://bucket bucket"),
    ],
)
def test_a_url_becomes_a_command(url: str, command: str) -> None:
    """The hub's own client fetches what is on the hub, the usual clients the rest."""
    assert fetching(url) == f"`{command}`"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "hf://",
        "hf://-x/y",
        "hf://org",
        "s3://",
        "https://example.com/`id`",
        "https://huggingface.co/spaces",
    ],
)
def test_an_unknown_url_has_no_command(url: str) -> None:
    """No command is made up for other schemes, nor for what would be unsafe to paste."""
    assert fetching(url) is None


def test_what_is_pasted_is_quoted() -> None:
    """Characters that a shell reads are quoted in the command."""
    command = fetching("https://example.com/a;rm -rf x")
    assert command == ("`curl --fail --location --remote-name 'https://example.com/a;rm -rf x'`")


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
