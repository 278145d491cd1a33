"""The names that torch's `weights_only` unpickler allows.

Source: `_get_allowed_globals` of torch 2.13.
"""

from __future__ import annotations

from collections.abc import Iterable

from shardctl.formats.torch.calls.types import (
    QUANTIZED_STORAGES,
    TENSOR_CLASSES,
    TORCH_NAME_OF,
    TYPED_STORAGES,
)

_REBUILDS = (
    "parameter", "parameter_with_state", "qtensor", "tensor", "tensor_v2", "tensor_v3",
    "sparse_tensor", "meta_tensor_no_storage", "nested_tensor", "wrapper_subclass",
    "device_tensor_from_numpy", "device_tensor_from_cpu_tensor",
)  # fmt: skip
_SCHEMES = (
    "per_tensor_affine", "per_tensor_symmetric", "per_channel_affine", "per_channel_symmetric",
    "per_channel_affine_float_qparams",
)  # fmt: skip
_SMALL = (
    *(f"uint{bits}" for bits in range(1, 8)), *(f"int{bits}" for bits in range(1, 8)),
    "bits8", "bits16", "bits1x8", "bits2x4", "bits4x2", "qint8", "qint32", "quint8", "quint4x2",
    "quint2x4", "float4_e2m1fn_x2",
)  # fmt: skip
_TENSORS = tuple(name for name in TENSOR_CLASSES if name != "Tensor")
_SPARSE = tuple(name for name in _TENSORS if name != "BoolTensor")

_ALLOWED = frozenset(
    {
        "collections.OrderedDict",
        "collections.Counter",
        "torch.nn.parameter.Parameter",
        "torch.serialization._get_layout",
        "torch.Size",
        "torch.Tensor",
        "torch.device",
        "_codecs.encode",
        "builtins.bytearray",
        "builtins.set",
        "builtins.complex",
        # What they are called in the pickles of Python 2 and of protocol 2.
        "__builtin__.bytearray",
        "__builtin__.set",
        "__builtin__.complex",
        "torch._tensor._rebuild_from_type_v2",
        "torch.storage.UntypedStorage",
        "torch.storage.TypedStorage",
        *(f"torch._utils._rebuild_{name}" for name in _REBUILDS),
        *(
            f"torch.{name}"
            for name in (*_SCHEMES, *_SMALL, *QUANTIZED_STORAGES, *TORCH_NAME_OF.values())
        ),
        *(
            f"{module}.{name}"
            for module in ("torch", "torch.cuda")
            for name in (*TYPED_STORAGES, *_TENSORS)
        ),
        *(f"{module}.sparse.{name}" for module in ("torch", "torch.cuda") for name in _SPARSE),
    }
)


def unsafe(names: Iterable[str]) -> tuple[str, ...]:
    """Those names that `weights_only` refuses."""
    return tuple(name for name in names if name not in _ALLOWED)
