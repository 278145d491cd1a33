"""What of each file is wanted: a nested state dict, or all of it, and what is wrong beside it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from shardctl.findings import Finding
from shardctl.model import File, NonTensor
from shardctl.source.state_dict import Selection, look, select
from shardctl.text import escape

_DAMAGED = "a tensor that cannot be read"


@dataclass(slots=True)
class Wanted:
    """What is asked for of the files.

    `key` chooses a nested state dict; with `nested`, and no key, everything is taken, with dotted
    names. `damaged` gets the tensors that lie beside the key and cannot be read.
    """

    key: str | None = None
    drop_non_tensors: bool = False
    nested: bool = False
    damaged: dict[str, NonTensor] = field(default_factory=dict)

    def choose(self, file: File, path: str) -> Selection:
        """Return what is wanted of a file. Raises as `select` does."""
        if self.nested:
            return look(file.tree, path, self.key)
        return select(file.tree, path, self.key, drop_non_tensors=self.drop_non_tensors)

    def seen(self, finding: Finding) -> Finding:
        """Return a finding, or the warning that an error is about a tensor beside the key.

        Who looks at a checkpoint (`nested`) gets it as it is: there it is an error all the same.
        """
        name, key = finding.tensor, self.key
        if finding.severity != "error" or self.nested or name is None or key is None:
            return finding
        if name == key or name.startswith(f"{key}."):
            return finding
        self.damaged[name] = NonTensor(name, _DAMAGED)
        message = (
            f"the tensor '{escape(name)}', which is not under '{escape(key)}', cannot be read: "
            f"{finding.message}"
        )
        return replace(finding, severity="warning", message=message)
