"""The words of the manual that the command line itself does not have: what commands are for, files, examples.

In these texts `x` is something to type and *X* something to put a value for, as in Markdown.
"""

from __future__ import annotations

#: What each command is for, in paragraphs, behind its one-line summary.
DESCRIPTIONS: dict[str, tuple[str, ...]] = {
    "": (
        (
            "It reads headers and copies bytes: no tensor library is needed, and memory grows with the number of "
            "tensors, not with their sizes. Containers are safetensors and torch's `.bin`; pickles are interpreted, "
            "never executed."
        ),
        (
            "*SOURCE* is a checkpoint file, an index file, or a folder that holds exactly one checkpoint; with "
            "several, the choices are listed. What container a file is, its content says, never its suffix. A file "
            "that belongs to a numbered set or to an index beside it stands for the whole set in commands that write; "
            "`inspect` and `verify` look at that file alone. Training state, as `optimizer.pt`, is taken only where "
            "it is named."
        ),
        (
            "*TARGET* is a folder, which is made where it is missing; for `merge`, and for `reshard` `--single`, it "
            "may be a file that ends in `.safetensors` or `.bin`. The container is that of the source, unless `--to` "
            "or the suffix says otherwise. A checkpoint that is already there is never touched without `--replace`."
        ),
        (
            "*SIZE* is a number with a unit, in any case: `KB`, `MB`, `GB` and `TB` are decimal, `KiB`, `MiB`, `GiB` "
            "and `TiB` binary; a bare integer is bytes."
        ),
        (
            "Stdout is data, stderr is talk. A command that writes prints one line to stdout: the path that a loader "
            "takes, which is the index or the single file."
        ),
    ),
    "split": (
        (
            "Tensors are packed as `save_pretrained` packs them, shard for shard: a shard's tensors stay within the "
            "limit, and a tensor that is over it gets a shard of its own. Instead of a limit, `--num-shards` asks for "
            "a number."
        ),
        (
            "An interrupted run leaves no half-written file under a final name; the same command again goes on with "
            "it. A run whose result is already there writes nothing and says so."
        ),
    ),
    "merge": (
        (
            "All tensors go into one file: under a loader's usual name where *TARGET* is a folder, else under the "
            "name that is given. Tied tensors that were recorded in the shards' metadata are restored into `.bin`."
        ),
    ),
    "reshard": (
        (
            "`split` and `merge` in one, and the way from one container to the other. Without a limit the number of "
            "shards stays as it is. *TARGET* may be *SOURCE* only with `--replace`: the old files go once the new "
            "ones are safe."
        ),
    ),
    "inspect": (
        (
            "On a terminal it draws: files, dtypes, and a tree of layers in which repeated ones are folded. In a pipe "
            "it prints tab-separated rows under a header, one for each tensor: `name`, `dtype`, `shape`, `nbytes`, "
            "`file`, `offset`, `tied_to`; with `--json` one document."
        ),
    ),
    "verify": (
        (
            "It goes on after the first fault and reports everything that it finds, each with its code, file, tensor "
            "and remedy. In a pipe a finding is a line of `severity`, `code`, `file`, `tensor` and `message`, "
            "separated by tabs. Errors make the exit code 1, warnings only with `--strict`."
        ),
    ),
    "index": (
        (
            "The shards' headers say which tensor is where; the index is made to say the same. What changed is told "
            "on stderr, and the index's path is printed."
        ),
    ),
}

WRITER_FILES: tuple[tuple[str, str], ...] = (
    (
        "TARGET/.shardctl/",
        (
            "What a run has finished so far, under a lock; `.NAME.shardctl/` beside a *TARGET* that is a file. After "
            "success only `record.json` stays in it, by which the next run knows that it is up to date."
        ),
    ),
    (
        "TARGET/SHA256SUMS",
        "With `--checksums`: the digests, for `sha256sum -c` and `shardctl verify --deep`.",
    ),
)

#: Further examples for each command, besides the one that its help shows, and what that one does.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        (
            "Shards of at most 5 GB, with an index and the model's other files:",
            "shardctl split model/ shards/",
        ),
        ("What is in them, and whether they are sound:", "shardctl verify sharded/"),
    ),
    "split": (
        ("See the plan first:", "shardctl split model/ shards/ --num-shards 2 --dry-run"),
        (
            "Write, read back, and leave checksums:",
            "shardctl split model/ shards/ --verify --checksums",
        ),
        (
            "For a script, the path that a loader takes:",
            "shardctl split model/ shards/ -q | xargs shardctl inspect",
        ),
    ),
    "merge": (
        ("From shards of safetensors to one file of torch:", "shardctl merge sharded/ whole.bin"),
    ),
    "reshard": (
        (
            "In place, once the new files are safe on disk:",
            "shardctl reshard old/ old/ --single --replace",
        ),
        (
            "Only the weights of a training checkpoint:",
            "shardctl reshard last.ckpt weights/ --key state_dict",
        ),
    ),
    "inspect": (
        ("The ten largest tensors:", "shardctl inspect sharded/ --top 10"),
        ("The biases, for a script:", "shardctl inspect sharded/ --filter '*.bias' --json"),
    ),
    "verify": (
        (
            "After a conversion, that nothing changed:",
            "shardctl verify sharded/ --against model.safetensors --deep",
        ),
    ),
    "index": (("Only say whether the index is right:", "shardctl index sharded/ --check"),),
}
