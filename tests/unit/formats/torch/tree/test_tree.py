"""The tree names every value of a pickle, and unfolds no more than the file holds."""

from __future__ import annotations

import pytest

from shardctl.findings import Finding
from shardctl.formats.limits import MAX_DEPTH
from shardctl.formats.pickle.keys import key_of
from shardctl.formats.pickle.machine import Unpickled
from shardctl.formats.pickle.values import (
    EmptyTensor,
    Mapping,
    Opaque,
    Sequence,
    StorageRef,
    UnknownTensor,
    ViewRef,
)
from shardctl.formats.torch.calls.parameters import TensorWithAttributes
from shardctl.formats.torch.tree import tree as module
from shardctl.formats.torch.tree.tree import (
    ATTRIBUTES,
    META,
    ROOT,
    TreeError,
    build_tree,
    object_of,
)
from shardctl.model import DTYPES, Extent, NonTensor, Storage, Tensor, Tree

F32 = DTYPES["F32"]
REF = StorageRef("0", F32, 16, "FloatStorage")
VIEW = ViewRef(REF, F32, 0, (4,), None)
STORAGE = Storage(Extent("m.bin", 64, 16), "0")


def tree_of(
    root: object,
    *,
    storages: tuple[StorageRef, ...] = (REF,),
    lost: dict[str, Finding] | None = None,
) -> tuple[Tree, list[Finding]]:
    """The tree below a root, and what is wrong with it; the data of storage 0 is there."""
    findings: list[Finding] = []
    pickled = Unpickled(root, 0, (), {ref.key: ref for ref in storages})
    tree = build_tree(pickled, {"0": STORAGE}, "m.bin", findings.append, 1_000, lost)
    return tree, findings


def of(**items: object) -> Mapping:
    """A dict."""
    return Mapping(items=dict[object, object](items.items()))


def test_every_value_has_an_entry() -> None:
    """Tensors are read, dicts are trees, and what is neither is named by its kind."""
    tree, findings = tree_of(of(w=VIEW, inner=of(v=VIEW), step=7, names=Sequence("list", ["a"])))
    assert findings == []
    assert tree["w"] == Tensor("w", F32, (4,), STORAGE)
    assert tree["inner"] == {"v": Tensor("v", F32, (4,), STORAGE)}
    assert tree["step"] == NonTensor("step", "builtins.int")
    assert tree["names"] == NonTensor("names", "builtins.list")


def test_lists_of_tensors_are_unfolded() -> None:
    """A list is a tree of its places where it holds a tensor or a dict at any depth."""
    tree, _ = tree_of(of(a=Sequence("list", [1, VIEW]), b=((of(),),), c=(1, (2,))))
    assert tree["a"] == {"0": NonTensor("0", "builtins.int"), "1": Tensor("1", F32, (4,), STORAGE)}
    assert tree["b"] == {"0": {"0": {}}}
    assert tree["c"] == NonTensor("c", "builtins.tuple")


@pytest.mark.parametrize("root", [7, None, Sequence("list"), Opaque("m.C"), (1, 2)])
def test_a_root_without_tensors_is_refused(root: object) -> None:
    """What the file holds instead is said."""
    with pytest.raises(TreeError, match="not a state dict") as caught:
        tree_of(root, storages=())
    assert "dict of named tensors" in caught.value.hint


def test_a_root_that_is_one_tensor_or_object() -> None:
    """A tensor is entry 0, an object that holds tensors is named and not read."""
    assert list(tree_of(VIEW)[0]) == ["0"]
    assert list(tree_of(Sequence("list", [VIEW, VIEW]))[0]) == ["0", "1"]
    tree, _ = tree_of(Opaque("m.C", [VIEW]))
    assert tree == {ROOT: NonTensor(ROOT, "m.C", unread=True, storages=1, nbytes=16)}


def test_keys_that_read_alike_are_both_there() -> None:
    """No tensor hides another."""
    tree, _ = tree_of(Mapping(items={key_of(1): VIEW, "1": VIEW, None: VIEW}))
    assert list(tree) == ["1 (2)", "1", "None"]


def test_tensors_in_keys_are_named() -> None:
    """A key that holds a tensor makes its entry one that is not read."""
    tree, findings = tree_of(Mapping(items={(VIEW, "x"): 1}))
    assert findings == []
    (entry,) = tree.values()
    assert isinstance(entry, NonTensor)
    assert (entry.kind, entry.unread) == ("torch.Tensor as a key", True)


def test_attributes_of_a_dict() -> None:
    """They are an entry where they hold tensors, under a name that is free, and else none."""
    root = of(w=VIEW)
    root.attributes = [of(_metadata=1)]
    assert list(tree_of(root)[0]) == ["w"]
    root = Mapping(items={ATTRIBUTES: VIEW}, attributes=[of(extra=VIEW)])
    tree, _ = tree_of(root)
    assert list(tree) == [ATTRIBUTES, f"{ATTRIBUTES} (2)"]
    assert isinstance(tree[f"{ATTRIBUTES} (2)"], NonTensor)


def test_tensors_with_attributes() -> None:
    """A tensor whose attributes hold none is read; with tensors among them it is named."""
    tree, _ = tree_of(of(a=TensorWithAttributes.of(VIEW, [of(x=1)])))
    assert isinstance(tree["a"], Tensor)
    tree, _ = tree_of(of(a=TensorWithAttributes.of(VIEW, [of(x=VIEW)])))
    assert isinstance(tree["a"], NonTensor)
    assert tree["a"].unread


def test_tensors_that_were_filled_later() -> None:
    """A filled one is its tensor; one that stayed empty is named."""
    full = EmptyTensor("torch.FloatTensor", F32, VIEW)
    tree, _ = tree_of(of(a=full, b=EmptyTensor("torch.FloatTensor", F32)))
    assert isinstance(tree["a"], Tensor)
    assert isinstance(tree["b"], NonTensor)
    assert tree["b"].unread


def test_tensors_of_the_meta_device_have_no_data() -> None:
    """They are named, and their storages are not asked for."""
    ref = StorageRef("9", F32, 16, "FloatStorage", 0, "meta")
    tree, findings = tree_of(of(a=ViewRef(ref, F32, 0, (4,), None)), storages=(ref,))
    assert findings == []
    assert tree["a"] == NonTensor("a", META, unread=True, storages=1, nbytes=16)


def test_an_unknown_type_is_an_error() -> None:
    """The tensor is left out, with its full name and its type in an error."""
    tree, (finding,) = tree_of(of(inner=of(a=UnknownTensor("torch.q\x1b", REF))))
    assert tree == {"inner": {}}
    assert (finding.code, finding.tensor) == ("tensor-dtype-unknown", "inner.a")
    assert "\x1b" not in finding.message


def test_every_tensor_of_a_lost_storage_is_reported() -> None:
    """Also where the tree cannot be unfolded; a storage that is lost and unused is reported too."""
    refs = [StorageRef(key, F32, 16, "FloatStorage") for key in ("8", "9")]
    lost = {ref.key: Finding("record-missing", "error", ref.key, "", "m.bin") for ref in refs}
    views = [ViewRef(ref, F32, 0, (4,), None) for ref in refs]
    tree, findings = tree_of(of(a=views[0], b=of(c=views[0])), storages=(refs[0],), lost=lost)
    assert tree == {"b": {}}
    assert [(each.message, each.tensor) for each in findings] == [
        ("8", "a"), ("8", "b.c"), ("9", None),
    ]  # fmt: skip


def test_storages_of_no_entry_are_an_error() -> None:
    """A storage that the pickle names must be that of a tensor, or in an object that is named."""
    other = StorageRef("1", F32, 16, "FloatStorage")
    _, (finding,) = tree_of(of(w=VIEW), storages=(REF, other))
    assert (finding.code, finding.severity) == ("tensor-unread", "error")
    _, findings = tree_of(of(w=VIEW, o=Opaque("m.C", [other])), storages=(REF, other))
    assert findings == []


@pytest.mark.parametrize(("levels", "sound"), [(MAX_DEPTH, True), (MAX_DEPTH + 1, False)])
def test_dicts_nest_so_deep(levels: int, *, sound: bool) -> None:
    """So many levels are read as the limit allows, and no more."""
    root = of(w=VIEW)
    for _ in range(levels):
        root = of(d=root)
    if sound:
        assert tree_of(root)[0]
    else:
        with pytest.raises(TreeError, match="nest too deep"):
            tree_of(root)


def test_a_dict_that_holds_itself_is_refused() -> None:
    """At any distance; a dict that is there twice is not."""
    root = of(w=VIEW)
    root.items["me"] = of(up=root)
    with pytest.raises(TreeError, match="one holds itself"):
        tree_of(root)
    shared = of(w=VIEW)
    assert list(tree_of(of(a=shared, b=shared))[0]) == ["a", "b"]
    loop = Sequence("list")
    loop.items.append(loop)
    assert isinstance(tree_of(of(w=VIEW, l=loop))[0]["l"], NonTensor)


def test_what_unfolds_to_more_than_the_file_holds_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Dicts that are used again and again, many entries of one list, and long names are bombs."""
    for name, limit in (("MAX_REPEATED", 4), ("MIN_ENTRIES", 63), ("MIN_NAME_CHARACTERS", 2_000)):
        monkeypatch.setattr(module, name, limit)
    monkeypatch.setattr(module, "NAME_CHARACTERS_PER_BYTE", 1)

    def entries(count: int) -> Mapping:
        return of(a=Sequence("list", [of(), *[1] * (count - 2)]))

    def long(count: int) -> Mapping:
        return Mapping(items={"n" * (count // 2): of(a=1, b=1)})

    for make, most, more in ((entries, 63, 64), (long, 1_332, 1_334)):
        assert tree_of(make(most), storages=())[0]
        with pytest.raises(TreeError, match="unfolds to far more than it holds"):
            tree_of(make(more), storages=())
    shared = of(a=1, b=2)
    assert tree_of(of(x=shared, y=shared, z=shared), storages=())[0]
    with pytest.raises(TreeError, match="unfolds to far more than it holds"):
        tree_of(of(w=shared, x=shared, y=shared, z=shared), storages=())


def test_an_object_as_one_entry() -> None:
    """It is read only where it holds no tensor, and where the pickle has no storage."""
    plain = object_of(Unpickled(of(a=1), 0, (), {}), "x", 100)
    assert plain == NonTensor("x", "builtins.dict")
    held = object_of(Unpickled(Opaque("m.C", [VIEW]), 0, (), {"0": REF}), "x", 100)
    assert held == NonTensor("x", "m.C", unread=True, storages=1, nbytes=16)
    stray = object_of(Unpickled(7, 0, (), {"0": REF}), "x", 100)
    assert stray.unread
