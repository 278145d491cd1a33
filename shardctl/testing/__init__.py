"""For those who add a store or a format, and for tests that need a checkpoint without torch.

    memory      MemoryStore: files in memory
    builders    safetensors files, a reader of bytes, and the bytes of a layout
    suites      what every store and every format must hold: classes of tests to inherit from

`suites` needs pytest. The package itself never imports this one.
"""
