"""Remarks on the figures: what each table shows, and which limit a figure is near to."""

from __future__ import annotations

from collections.abc import Mapping

#: For each stage, in the order of the page: its heading, and the text above its table.
TITLES: Mapping[str, tuple[str, str]] = {
    "disk": ("Split, merge, convert, verify", "On $filesystem, $size of tensors."),
    "cold": (
        "From a cold cache",
        """The same on $filesystem, with the files of the source dropped from the page cache before
each run (`posix_fadvise`), so that all bytes come from the disk.""",
    ),
    "reshape": (
        "Distributed checkpoints, another dtype, a selection",
        """On $filesystem. `dcp-to-safetensors` and `slices-to-safetensors` merge into one file what
8 processes saved, each with an eighth of every tensor, as torch's distributed checkpoint and as the
files of its writer for the hub; `f32-to-bf16` casts one file, and `half-of-the-layers` takes 16 of
32 layers. `cp` and the bare loop copy what is read; `dcp_to_torch_save` writes a `.bin`. Results
are compared with the source, but for the cast.""",
    ),
    "remote": (
        "Checkpoints of other machines",
        """One safetensors file of $size in a bucket, and the same in a repository of the hub. The
server is a simulator in another process of this machine: the S3 of moto, and a hub that only lists
files and sends ranges of them. There is no network between, and moto reads a whole object for each
range, so the seconds say nothing but which of two took longer. Bytes, requests and room on the disk
are what they are elsewhere, too.

`inspect` shows names, dtypes and shapes; `split` writes about five shards, to $filesystem or to
another bucket. The peers are what is done today: `boto3` downloads, or `huggingface_hub` does by
`snapshot_download`; then the file is listed by `safe_open`, or loaded and saved by
`save_torch_state_dict`; and `boto3` uploads. Received and sent are the client's bytes, counted by
the server at its sockets, with the headers of HTTP; the disk at the peak is the most that the
client's files took.""",
    ),
    "python": (
        "Models in memory",
        """On $filesystem, a Llama of $size in bfloat16, saved and loaded from Python, each time in
a new process. Imports are not timed, nor is the making of the model, except in `from_pretrained`,
which makes another one.

- `save` writes the model as safetensors, or as a `.bin`, until the files are durable. The yardstick
  is `cp -r` of the same directory, and a sync.
- `fill` reads a file into the memory of a model that is there.
- `new` makes the tensors of a model without data, and uses each page of them once, so that what is
  only mapped is read too.
- `warm`: the files are in the page cache. `cold`: they were dropped from it, and come from the
  disk.

Peak memory is what the process had at most above what it had before the work, and above the new
model; pages of mapped files count. "Mapped" are bytes of files that are part of its memory in the
end. Where that is the size of the model, the tensors have no other memory: they are pages of
the page cache, which the system may drop and read again; a parameter that is changed gets copies of
them; and the process is killed (SIGBUS) where the file is cut short meanwhile. Where it is next to
nothing, the tensors are memory of the process, and the file is no longer needed. Compare rows that
end alike.

`transformers` is `save_pretrained`, `load_sharded_checkpoint` to fill, and `from_pretrained`,
`huggingface_hub` is `save_torch_state_dict`, `accelerate` is `load_checkpoint_in_model`,
`fastsafetensors` its loader on the CPU. `safetensors` fills by `load_model`, and makes new
tensors by `load_file`; what that and `torch.load` return is assigned to the model.""",
    ),
    "xfs": (
        "Where the filesystem shares blocks",
        """On an $filesystem in an image file, $size of tensors. A plain `cp` shares blocks there as
well, so the yardstick copies with `--reflink=never`. The shards that are merged were split there,
by shardctl.""",
    ),
    "size": ("Time against size", "`split` of one safetensors file, on $filesystem."),
    "headers": (
        "Headers alone",
        """Sparse files with real headers: the tensors take no room, and are not read. A set of a
million tensors has a thousand files of a gibibyte each; `bin-100000` is one `.bin` of as many
tensors, and `terabyte` one safetensors file of a hundred tensors. `plan` is `split --dry-run`.""",
    ),
    "start": (
        "Starting",
        "From the command to its end, for commands that have next to nothing to do.",
    ),
}

#: Which limit the figures are near to, in the order of the page: for a work, or all that match a
#: pattern as for --only, a heading of two or three words, and a sentence. It is shown where one of
#: its works was measured.
LIMITS: Mapping[str, tuple[str, str]] = {
    "start/*": (
        "Starting",
        """Python and Typer's import take half of an `inspect`, the import of the program's own
  modules most of the rest (`python -X importtime -m shardctl inspect FILE`).""",
    ),
    "headers/*-1000000": (
        "A million tensors",
        """Taking text apart, and putting it together. Of the seconds that a plan takes,
  reading the headers of the files takes 29 %, parsing the index 16 %, the digest of the plan 11 %,
  making the new index 9 %, finding what must stay together 7 %, and measuring the new headers 6 %.
  A name and 24 bytes stand for each tensor, with its name in the index about 0.25 KB; the plan has
  the text of the new index, which is in memory twice for a moment.""",
    ),
    "headers/*-bin-100000": (
        "A `.bin` of many tensors",
        """The pickle, which is interpreted opcode by opcode (two fifths of the time), and the
  records of the zip, whose local headers are all compared with the directory (a fifth). Pickle,
  directory and tensors take 0.85 KB a tensor, and most of that again what is written of them as a
  `.bin`.""",
    ),
    "python/save-*": (
        "Saving a model",
        """The page cache and the disk. Bytes are written from the tensors' own memory, 128 KiB with
  each call, while the disk writes already. Of processor time it takes no more than a bare loop of
  `pwrite` over the same memory, in one thread or in two, and a sync.""",
    ),
    "python/new-*": (
        "Making new tensors",
        """Fresh memory. The system gives it page by page, and clears each page first: half a
  million page faults for 2 GB. A bare loop of `preadv` into new tensors takes the same processor
  time; to fill memory that is there takes a quarter of it. Huge pages (`MADV_HUGEPAGE`) and filling
  the page tables beforehand (`MADV_POPULATE_WRITE`) took more here, not less. Mapping the file
  instead takes a thirtieth of the faults, and gives no memory.""",
    ),
    "size/*": (
        "Small checkpoints",
        """What a run costs whatever its size: most of it is Python and the imports, a tenth of a
  second; the journal, its syncs and the renames take some 8 ms while the disk is idle. From a
  gigabyte on it takes no longer than `cp`.""",
    ),
    "disk/split-*": (
        "Writing",
        """The page cache and the disk. What begins at the same place within a page in source and
  target is copied by the kernel, as in the bare loop; the rest, as in most merges, passes through
  buffers of 128 KiB, on both cores; CRC-32s of records are compared on the way. Two threads that
  write one file take turns, since the kernel holds it for each call; ext4 is asked beforehand for
  the place of each large piece, which saves a third of the processor time. The disk is the
  bimodal part of this machine: the yardstick takes between 1.1 and 3.5 s for the same bytes,
  shardctl between 0.9 and 2.5 s. Beside the yardstick's quickest round shardctl's is 0.8 to 1.0
  times as long. Beside that of the bare loop it is 1.1 to 1.2 times as long where bytes are only
  copied or summed once, and 1.3 to 1.7 times where the CRC-32s of a `.bin` are compared: its bytes
  pass through memory, and the loop's do not.""",
    ),
    "disk/safetensors-to-bin": (
        "CRC-32",
        """Next to nothing: zlib-ng sums 25 GiB/s a core here (zlib 6), of bytes that are in the
page cache already.""",
    ),
    "disk/verify-deep-safetensors": (
        "SHA-256",
        """The processor: OpenSSL takes 1.8 GiB/s on each of the two cores, with instructions made
  for it that `sha256sum` of this system does not use.""",
    ),
    "disk/verify-deep-bin": (
        "Deep check of a `.bin`",
        """Memory: zlib-ng's CRC-32 is quicker than the page cache is read; all of it takes 0.3 s,
with the start.""",
    ),
    "remote/split-s3-to-s3": (
        "From bucket to bucket",
        """What cannot be copied by the server, since a part of an upload has 5 MiB at least: the
  beginning of each file and the ends of ranges are read and sent, some 5 MB a file here. With
  shards of 5 GB that is 0.1 % of the bytes.""",
    ),
    "xfs/*": (
        "Sharing blocks",
        """Starting. Of the 0.17 s of a split of safetensors, half pass before the first header is
  read; a `.bin` also has its pickle read, and the edges of its 291 records copied, in 0.06 s. These
  times hardly grow with the bytes, and `cp` moves some 4 GB/s from the page cache here: of more
  bytes they are a smaller part.""",
    ),
}
