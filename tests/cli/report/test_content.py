"""What is in a report: everything that was found, and names as nothing but text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.cli.report.pages import HOSTILE, Elements, data_of
from tests.support.program import Call
from tests.support.safetensors_files import write_floats


def test_a_page_holds_the_checkpoint(source: Path, tmp_path: Path, call: Call) -> None:
    """The data are the tensors of each file in order; the tables show the same without script."""
    path = tmp_path / "r.html"
    call("inspect", source, "--report", path)
    listed = json.loads(call("inspect", source, "--json")[0])["tensors"]
    data = data_of(path)
    assert data["dtypes"] == ["F32"]
    (shard,) = data["shards"]
    assert shard["nbytes"] == sum(tensor["nbytes"] for tensor in listed)
    assert [(t[0], t[3], t[4]) for t in shard["tensors"]] == [
        (t["name"], t["nbytes"], t["offset"]) for t in listed
    ]
    texts = " ".join(text for _, text in Elements(path.read_text("utf-8")).texts)
    assert all(tensor["name"] in texts for tensor in listed)


def test_a_plan_shows_the_planned_shards(source: Path, tmp_path: Path, call: Call) -> None:
    """A writer's report has the shards of the plan and the limit, and no offsets, which are not
    known yet.
    """
    path = tmp_path / "r.html"
    call("split", source, tmp_path / "out", "-n", "--max-shard-size", "800", "--report", path)
    data = data_of(path)
    assert data["limit"] == 800
    assert [shard["nbytes"] for shard in data["shards"]] == [800] * 6
    assert all(tensor[4] is None for shard in data["shards"] for tensor in shard["tensors"])
    assert "Before and after" in path.read_text("utf-8")


def test_findings_are_in_the_page(source: Path, tmp_path: Path, call: Call) -> None:
    """`verify` shows its findings with their remedies, over what can still be read, and where
    nothing can too.
    """
    path, weights = tmp_path / "r.html", source / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    call("verify", source, "--report", path, code=1)
    text = path.read_text("utf-8")
    assert "file-truncated" in text
    assert "not ok" in text
    assert data_of(path)["shards"]
    weights.write_bytes(b"")
    call("verify", source, "--report", path, code=1)
    assert "file-empty" in path.read_text("utf-8")
    assert sum(len(shard["tensors"]) for shard in data_of(path)["shards"]) == 0


def test_tied_tensors_take_their_bytes_once(tmp_path: Path, call: Call) -> None:
    """Tied names are one tensor with a further name, views of one storage are its parts,
    overlapping ones are it.
    """
    import torch

    base, flat, over = torch.ones(10), torch.ones(10), torch.ones(10)
    tensors = {
        "a": base,
        "z": base,
        "f.0": flat[:4],
        "f.1": flat[4:],
        "o.0": over,
        "o.1": over[2:5],
    }
    torch.save(tensors, tmp_path / "pytorch_model.bin")
    call("inspect", tmp_path / "pytorch_model.bin", "--report", tmp_path / "r.html")
    (shard,) = data_of(tmp_path / "r.html")["shards"]
    assert {tensor[0]: (tensor[3], tensor[5]) for tensor in shard["tensors"]} == {
        "a": (40, 1), "f.0": (16, 0), "f.1": (24, 0), "o.0": (40, 1),
    }  # fmt: skip


def test_kinds_of_tensors(tmp_path: Path, call: Call) -> None:
    """A page and an image show what tensors are for; where no name is known, only dtypes."""
    known = {"model.embed_tokens.weight": 400, "model.layers.0.self_attn.q_proj.weight": 1200}
    path = write_floats(tmp_path / "model.safetensors", known)
    for name in ("r.html", "r.svg"):
        call("inspect", path, "--report", tmp_path / name)
    data = data_of(tmp_path / "r.html")
    assert [each["title"] for each in data["colourings"]] == ["kind", "dtype"]
    assert data["colourings"][0]["groups"] == ["attention", "embedding"]
    assert [tensor[6:] for tensor in data["shards"][0]["tensors"]] == [[100, 1, 0], [300, 0, 0]]
    assert "attention 75.0 %" in (tmp_path / "r.svg").read_text("utf-8")
    assert "F32 1.6 KB, 100.0 %" in (tmp_path / "r.svg").read_text("utf-8")
    call("inspect", write_floats(path, {"a": 4}), "--report", tmp_path / "r.html")
    assert [each["title"] for each in data_of(tmp_path / "r.html")["colourings"]] == ["dtype"]


# hostile names


def test_names_are_only_text_in_a_page(hostile: Path, tmp_path: Path, call: Call) -> None:
    """No name makes an element, an attribute or an end of the script; what is invisible is written
    out.
    """
    path = tmp_path / "r.html"
    call("inspect", hostile, "--report", path)
    text = path.read_text("utf-8")
    page = Elements(text)
    assert "img" not in page.tags
    assert page.tags.count("script") == 2
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not [name for name, _ in page.attributes if name in ("href", "src", "style")]
    assert not re.search("[\x00\u202e\u2028]", text)
    shown = {tensor[0] for shard in data_of(path)["shards"] for tensor in shard["tensors"]}
    assert {
        r"nul\x00.w",
        r"bidi\u202etxt.w",
        r"line\u2028end",
        "</script><script>alert(2)</script>",
    } <= shown
    assert len(shown) == len(HOSTILE)


def test_names_are_only_text_in_an_image(hostile: Path, tmp_path: Path, call: Call) -> None:
    """The image is well-formed, without script, links or handlers, and has the names."""
    path = tmp_path / "r.svg"
    call("inspect", hostile, "--report", path)
    root = ET.parse(path).getroot()  # noqa: S314 - made here
    kinds = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert kinds <= {"svg", "title", "style", "rect", "text", "line"}
    assert not [
        name
        for element in root.iter()
        for name in element.attrib
        if name.startswith("on") or "href" in name
    ]
    titles = " ".join(
        element.text or "" for element in root.iter() if element.tag.endswith("title")
    )
    assert "<img src=x onerror=alert(1)>" in titles


def test_an_image_counts_in_plural_forms(tmp_path: Path, call: Call) -> None:
    """The caption has a singular for one, and the format and the size without a label."""
    path = tmp_path / "r.svg"
    call("inspect", write_floats(tmp_path / "model.safetensors", {"a": 4}), "--report", path)
    title = ET.parse(path).getroot()[0].text or ""  # noqa: S314 - made here
    assert title.endswith(": safetensors · 1 file · 1 tensor · 1 parameter · 4 B")
    write_floats(tmp_path / "model.safetensors", {"a": 4, "b": 40})
    call("inspect", tmp_path / "model.safetensors", "--report", path)
    title = ET.parse(path).getroot()[0].text or ""  # noqa: S314 - made here
    assert title.endswith(": safetensors · 1 file · 2 tensors · 11 parameters · 44 B")


def test_a_page_allows_no_network(source: Path, tmp_path: Path, call: Call) -> None:
    """The policy allows just the page's own style and script, by their digests, and nothing is
    linked.
    """
    path = tmp_path / "r.html"
    call("inspect", source, "--report", path)
    page = Elements(path.read_text("utf-8"))
    policy = next(v for n, v in page.attributes if n == "content" and v)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "link" not in page.tags
    assert "http:" not in path.read_text("utf-8")
    assert "https:" not in path.read_text("utf-8")
