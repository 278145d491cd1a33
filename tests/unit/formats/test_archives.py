"""An archive is named by what it holds, from the names of its members."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping

import numpy as np
import pytest
import torch

from shardctl.findings import Finding
from shardctl.formats.archives import archive_kind
from shardctl.formats.detection import read_file
from shardctl.testing.builders import BytesReader


def tar(members: Mapping[str, bytes], *, mode: str = "w") -> bytes:
    """A tar of these members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as packed:  # type: ignore[call-overload] # any mode
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return out.getvalue()


def saved() -> bytes:
    """A file of torch.save."""
    out = io.BytesIO()
    torch.save({"a": torch.zeros(3)}, out)
    return out.getvalue()


def arrays(*, compressed: bool) -> bytes:
    """A file of numpy.savez."""
    out = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(out, a=np.zeros(300))
    return out.getvalue()


NEMO = {"./model_config.yaml": b"x", "./model_weights.ckpt": b"y" * 700}


@pytest.mark.parametrize(
    ("data", "what", "hint"),
    [
        (tar(NEMO), "a NeMo model (a tar archive) that holds model_weights.ckpt", "tar -xf a.x"),
        (tar(NEMO, mode="w:gz"), "a NeMo model", "'unpacked/model_weights.ckpt'"),
        (tar({"m/config.json": b"{}"}), "a tar archive that holds m/config.json", "tar -xf"),
        (tar({"sys_info": b"", "pickle": b""}), "before version 0.1.10", "torch.load"),
        (zipped({"repo/pytorch_model.bin": saved()}), "holds repo/pytorch_model.bin", "unzip a.x"),
        (
            zipped({"m/c.json": b"{}"}, zipfile.ZIP_DEFLATED),
            "zip archive that holds m/c.json",
            "unzip",
        ),
        (zipped({"config.json": b"{}", "model.weights.h5": b"x"}), "a Keras model", "Keras"),
        (zipped({"m/archive_format": b"pt2", "m/models/model.json": b"{}"}), ".pt2", "state_dict"),
        (arrays(compressed=False), "NumPy archive (.npz)", "numpy.load"),
        (arrays(compressed=True), "NumPy archive (.npz)", "numpy.load"),
    ],
)
def test_archives_say_what_they_hold(data: bytes, what: str, hint: str) -> None:
    """One finding says what an archive is, and how to get at the weights in it."""
    findings: list[Finding] = []
    assert read_file(BytesReader("a.x", data), findings.append) is None
    (finding,) = findings
    assert what in finding.message
    assert hint in finding.hint


@pytest.mark.parametrize("data", [saved(), b"", b"PK\3\4", b"\x1f\x8b", bytes(600), b"PK\5\6" * 9])
def test_what_is_not_a_known_archive(data: bytes) -> None:
    """A file of torch, one that is damaged and one of another kind are left to others."""
    assert archive_kind(BytesReader("a", data), data[:1024]) is None


def test_a_member_cannot_write_on_the_terminal() -> None:
    """Names in an archive are escaped, and cannot close the command in the hint."""
    kind = archive_kind(BytesReader("a`b.tar", data := tar({"\x1b[2J.bin": b"x"})), data[:1024])
    assert kind is not None
    assert "\x1b" not in kind.what + kind.hint
    assert kind.hint.count("`") == 2
