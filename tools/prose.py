"""The texts of the manual that the command line does not have: descriptions, files, examples.

In these texts `x` is something to type and *X* something to put a value for, as in Markdown.
"""

from __future__ import annotations

#: The description of each command, in paragraphs, after its one-line summary.
DESCRIPTIONS: dict[str, tuple[str, ...]] = {
    "": (
        (
            "shardctl reads headers and copies bytes: no tensor library is needed, and memory "
            "grows with the number of tensors, not with their sizes. Formats are safetensors and "
            "torch's `.bin`; pickles are interpreted, never executed."
        ),
        (
            "*SOURCE* is a checkpoint file, an index file, or a directory that holds exactly one "
            "checkpoint; with several, the choices are listed. The format is detected from the "
            "contents, never from the suffix. Commands that write take the whole set for a file "
            "that belongs to a numbered set or to an index beside it; `inspect` and `verify` look "
            "at that file alone. Training state, for example `optimizer.pt`, is taken only where "
            "it is named."
        ),
        (
            "A directory with a `model_index.json` is a pipeline: the commands work on every "
            "directory in it that holds weights, and those that write keep the tree."
        ),
        (
            "*TARGET* is a directory, created if needed; for `merge`, and for `reshard` "
            "`--single`, it may be a file that ends in `.safetensors` or `.bin`; either may be in "
            "a bucket, as an `s3://` URL. The format is that of the source, unless `--to` or the "
            "suffix says otherwise. A checkpoint that is already there is never touched without "
            "`--replace`."
        ),
        (
            "*SIZE* is a number with a unit, in any case: `KB`, `MB`, `GB` and `TB` are decimal, "
            "`KiB`, `MiB`, `GiB` and `TiB` binary; a bare integer is bytes."
        ),
        (
            "Results go to stdout, messages to stderr. A command that writes prints one line to "
            "stdout: the path to load from, which is the index or the single file."
        ),
    ),
    "split": (
        (
            "Tensors are packed as huggingface_hub packs the same tensors in the same order, shard "
            "for shard: a shard's tensors stay within the limit, and a tensor that is over it gets "
            "a separate shard. The order is that of *SOURCE*; tensors that belong together by name "
            "are never divided. Instead of a limit, `--num-shards` asks for a number."
        ),
        (
            "An interrupted run leaves no half-written file under a final name; the same command "
            "resumes it. A run whose result is already there writes nothing and says so."
        ),
    ),
    "merge": (
        (
            "All tensors go into one file: under a loader's usual name where *TARGET* is a "
            "directory, else under the name that is given. Tied tensors that were recorded in the "
            "shards' metadata are restored into `.bin`."
        ),
    ),
    "reshard": (
        (
            "This is `split` and `merge` in one, and converts from one format to the other. "
            "Without a limit the number of shards stays as it is. *TARGET* may be *SOURCE* only "
            "with `--replace`: the old files are removed once the new ones are safe."
        ),
    ),
    "inspect": (
        (
            "On a terminal it draws files, dtypes, and a tree of layers in which repeated ones are "
            "folded. In a pipe it prints tab-separated rows under a header, one for each tensor: "
            "`name`, `dtype`, `shape`, `nbytes`, `file`, `offset`, `tied_to`, and with `--stats` "
            "`min`, `max`, `mean`, `nan`, `inf`, `zeros`; with `--json` one document."
        ),
    ),
    "diff": (
        (
            "Names, types, shapes and all bytes are compared, whatever the formats and shards. In "
            "a pipe a tensor that differs is a line, tab-separated under a header: `change`, "
            "`name`, `a` and `b`, the type and shape on either side. Where nothing differs the "
            "exit code is 0, otherwise 1."
        ),
    ),
    "verify": (
        (
            "It goes on after the first fault and reports everything that it finds, each with its "
            "code, file, tensor and remedy. In a pipe a finding is a line of `severity`, `code`, "
            "`file`, `tensor` and `message`, separated by tabs. Errors make the exit code 1, "
            "warnings only with `--strict`."
        ),
    ),
    "index": (
        (
            "The shards' headers say which tensor is where; the index is changed to say the same. "
            "Changes are listed on stderr, and the index's path is printed."
        ),
    ),
    "apply": (
        (
            "The machine has to see the source and the target. *PLAN* is what a command that "
            "writes prints with `--dry-run --json`. The files are those that the command would "
            "have written, byte for byte. The headers of the source are read again; a source that "
            "is not the plan's, by names, sizes, headers and samples of the contents, is refused. "
            "A plan never says what may be replaced."
        ),
        (
            "With `--part`, several processes share a run, on any machines that see the source and "
            "the target: each writes its part of the shards, in any order, at once, and more than "
            "once; what one has finished is kept when it is killed. It prints a line for each "
            "shard, `shard`, `size` and `state` (`written`, `kept`, `done` by another part, or "
            "`missing`), tab-separated under a header. When all have ended, `--commit` checks "
            "every shard and gives the files their names, the index last."
        ),
    ),
    "completion": (
        (
            "The script offers commands, options, their values and the files that fit. Installing "
            "shardctl puts the same script where the shell looks below the installation's prefix; "
            "this command is for another place, or for `source`."
        ),
    ),
}

WRITER_FILES: tuple[tuple[str, str], ...] = (
    (
        "TARGET/.shardctl/",
        (
            "The files that a run has finished so far, under a lock, and the old ones while they "
            "are replaced; beside a *TARGET* that is a file. It is gone after success."
        ),
    ),
    (
        "$XDG_STATE_HOME/shardctl/records/",
        (
            "What finished runs wrote, by which the next run detects that its target is up to "
            "date. By default in `~/.local/state`."
        ),
    ),
    (
        "TARGET/SHA256SUMS",
        "With `--checksums`: the digests, for `sha256sum -c` and `shardctl verify --deep`.",
    ),
)

#: Further examples for each command, besides the one in its help, each with what it does.
EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        (
            "Write shards of at most 5 GB, with an index and the model's other files:",
            "shardctl split model/ sharded/",
        ),
        ("Check the shards:", "shardctl verify sharded/"),
    ),
    "split": (
        ("See the plan first:", "shardctl split model/ shards/ --num-shards 2 --dry-run"),
        (
            "Write, read back, and leave checksums:",
            "shardctl split model/ shards/ --num-shards 2 --verify --checksums",
        ),
        (
            "Pass the path to load from to another command:",
            "shardctl split model/ shards/ --num-shards 2 -q | xargs shardctl inspect",
        ),
    ),
    "merge": (
        ("Convert safetensors shards to one torch file:", "shardctl merge sharded/ whole.bin"),
    ),
    "reshard": (
        (
            "Replace the source, once the new files are safe on disk:",
            "shardctl reshard old/ old/ --single --replace",
        ),
        (
            "Write only the weights of a training checkpoint:",
            "shardctl reshard last.ckpt weights/ --key state_dict",
        ),
    ),
    "inspect": (
        ("List the ten largest tensors:", "shardctl inspect sharded/ --top 10"),
        ("List the biases, for a script:", "shardctl inspect sharded/ --filter '*.bias' --json"),
        ("See whether any number is NaN:", "shardctl inspect sharded/ --stats"),
    ),
    "diff": (
        (
            "See how far apart a fine-tuned model is from its base, whatever they are saved as:",
            "shardctl diff model.safetensors old/ --stats",
        ),
    ),
    "verify": (
        (
            "Check after a conversion that nothing changed:",
            "shardctl verify sharded/ --against model.safetensors --deep",
        ),
    ),
    "index": (("Only check whether the index is right:", "shardctl index sharded/ --check"),),
    "apply": (
        (
            "Save a plan; the source can be elsewhere when it is applied:",
            "shardctl split model/ out/ -n --json > plan.json",
        ),
        ("Write it by parts, on as many machines:", "shardctl apply plan.json --part 1/2"),
    ),
    "completion": (
        ("Write it to a directory of zsh's `fpath`:", "shardctl completion zsh > _shardctl"),
    ),
}
