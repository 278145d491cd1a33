"""Whatever is chosen and renamed, the result is what torch would give in memory."""

from __future__ import annotations

import fnmatch
import random
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.program import call_cli
from tests.support.state_dicts import assert_equal, load, random_tensor, result, save

parts = st.sampled_from(["model", "module", "layers", "0", "1", "10", "mlp", "weight", "bias"])
names = st.lists(parts, min_size=1, max_size=4).map(".".join)
globs = st.lists(st.sampled_from(["*", "model", "layers", "1", "?", "weight"]), min_size=1).map(
    lambda some: ".".join(["*", *some]).replace("*.*", "*")
)
rules = st.sampled_from(
    [("^module\\.", ""), ("layers", "h"), (r"(\d+)", r"n\1"), (r"\.weight$", ".w"), ("$", ".x")]
)


@dataclass(frozen=True)
class Asked:
    """A selection as the user would give it."""

    include: list[str]
    exclude: list[str]
    strip: str
    add: str
    renames: list[tuple[str, str]]

    def options(self) -> list[str]:
        """The options of the command line."""
        return [
            *(text for glob in self.include for text in ("--include", glob)),
            *(text for glob in self.exclude for text in ("--exclude", glob)),
            *(("--strip-prefix", self.strip) if self.strip else ()),
            *(("--add-prefix", self.add) if self.add else ()),
            *(text for old, new in self.renames for text in ("--rename", f"{old}={new}")),
        ]

    def applied(self, all_names: list[str]) -> dict[str, str] | None:
        """The new name of each chosen one, the plain way; None for what must be refused."""
        matched = [fnmatch.filter(all_names, glob) for glob in [*self.include, *self.exclude]]
        kept = [
            name
            for name in all_names
            if (not self.include or any(fnmatch.fnmatchcase(name, glob) for glob in self.include))
            and not any(fnmatch.fnmatchcase(name, glob) for glob in self.exclude)
        ]
        if not all(matched) or not kept:
            return None
        rules = [(f"^{re.escape(self.strip)}", "")] if self.strip else []
        rules += [("^", self.add)] if self.add else []
        renamed = kept
        for old, new in [*rules, *self.renames]:
            before, renamed = renamed, [re.sub(old, new, name) for name in renamed]
            if before == renamed:
                return None
        if len(set(renamed)) < len(renamed) or not all(renamed):
            return None
        return dict(zip(kept, renamed, strict=True))


asked = st.builds(
    Asked,
    include=st.lists(globs, max_size=2),
    exclude=st.lists(globs, max_size=2),
    strip=st.sampled_from(["", "", "model.", "module."]),
    add=st.sampled_from(["", "new."]),
    renames=st.lists(rules, max_size=2),
)


@settings(max_examples=60)
@given(
    st.lists(names, min_size=1, max_size=8, unique=True),
    asked,
    st.sampled_from(["safetensors", "bin"]),
    st.sampled_from(["safetensors", "bin"]),
    st.integers(0, 1 << 32),
)
def test_a_selection_is_what_torch_would_take(
    all_names: list[str], selection: Asked, first: str, then: str, seed: int
) -> None:
    """The tensors that the patterns leave have the names that the rules give, and their bits; where
    no such result can be meant, nothing is written. The same selection proves it.
    """
    chance = random.Random(seed)
    tensors = {name: random_tensor(chance, "float32", (2,)) for name in all_names}
    with tempfile.TemporaryDirectory() as directory:
        source = save(tensors, Path(directory, "source", f"model.{first}"))
        target = Path(directory, "target")
        renamed = selection.applied(all_names)
        options = selection.options()
        code = 2 if renamed is None else 0
        call_cli("reshard", source, target, "--to", then, "--single", "-q", *options, code=code)
        if renamed is None:
            assert not target.exists()
            return
        assert_equal(load(result(target)), {new: tensors[old] for old, new in renamed.items()})
        call_cli("verify", target, "--deep", "--against", source, "-q", *options)
