"""The words of the manual that no option's own text has: what commands are for, details, exit codes, files, examples.

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

#: More about an option than its one line of help has room for, by its longest spelling.
DETAILS: dict[str, str] = {
    "--max-shard-size": "A tensor that is larger gets a shard of its own.",
    "--strict-size": "A tensor that cannot fit is an error.",
    "--order": "`natural` puts layer 2 before layer 10.",
    "--tied": "With `share` they are one storage in `.bin`; into safetensors, which has no aliases, one name is "
    "written and the others are recorded in the metadata.",
    "--key": "A literal key first, then split at dots.",
    "--drop-non-tensors": "Without it such an entry is an error.",
    "--layout": "`shareable` pads headers so that whole blocks can be shared with the source, which then cost neither "
    "time nor room; `compact` is the layout of the upstream libraries, byte for byte; `auto` is `shareable` where "
    "source and target lie on one filesystem that shares blocks (XFS, btrfs), else `compact`.",
    "--name": "A file is `STEM.VARIANT-00001-of-00003.safetensors`, without a number where it is the only one.",
    "--companions": "Where *SOURCE* and *TARGET* are folders, the other files at the top of *SOURCE* are copied, so "
    "that *TARGET* loads; weights, indexes, training state, `SHA256SUMS` and hidden state of shardctl are not.",
    "--replace": "What gives way is the checkpoint of the same stem, container and variant, and the one that was read "
    "where *TARGET* is *SOURCE*.",
    "--record": "It is `.shardctl/record.json`; with `--no-record` nothing is left, and no later run is up to date.",
    "--checksums": "Files that give way lose their lines in it.",
    "--top": "On a terminal a table more, in a pipe only their rows.",
    "--deep": "CRCs of `.bin` files, and `SHA256SUMS` where there is one.",
    "--load": "Every tensor is loaded with upstream's own loaders and compared; needs torch.",
    "--against": "Names, dtypes and shapes are compared, with `--deep` the bytes too, whatever the containers.",
    "--progress": "Bars on a terminal, else a line now and then; `json` is one object a line.",
    "--json": "Errors are one JSON line on stderr then.",
}

EXIT_CODES: tuple[tuple[str, str], ...] = (
    ("0", "done, or up to date"),
    ("1", "the check said no: `verify` found faults, `--check` found work"),
    ("2", "usage"),
    ("3", "the source is missing, damaged or unsafe"),
    ("4", "something is in the way, or another run is at work"),
    ("5", "reading or writing failed, or there is no room"),
    ("70", "a bug"),
    ("128 + signal", "stopped: 129, 130, 143; 141 for a closed pipe"),
)

#: Variables that every command heeds, besides those of its options.
VARIABLES: tuple[tuple[str, str], ...] = (
    ("NO_COLOR", "Where it is set, nothing is coloured."),
    ("FORCE_COLOR", "Where it is set, a pipe is drawn on like a terminal."),
    ("TERM", "With `dumb`, everything is plain text."),
)

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
