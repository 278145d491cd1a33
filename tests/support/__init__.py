"""Helpers that the tests share; each module is named after what it makes or does.

    safetensors_files   safetensors files on disk, and headers that are wrong on purpose
    state_dicts         torch state dicts: made, saved, loaded and compared
    zip_files           zip files of torch, in which any field can be wrong
    legacy_files        legacy files of torch, in which any part can be wrong
    loud_pickles        pickles that leave a trace when they are loaded
    tensors             tensors and checkpoints of the model, without a file
    memory_checkpoints  checkpoints in a store in memory
    observers           progress observers that count, or do nothing
    program             the command line, in a process or in this one
    disks               filesystems in image files

`shardctl.testing` has the helpers that are also for those who add a format or a store outside.
"""
