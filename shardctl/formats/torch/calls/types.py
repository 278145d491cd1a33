"""How torch's pickles name element types, and which of shardctl's dtypes that is.

Types of torch 1 have a storage class each; newer ones (`torch.storage._new_dtypes` of torch 2.13)
come on an untyped storage, whose length counts bytes, with the dtype beside it.
"""

from __future__ import annotations

from collections.abc import Mapping

from shardctl.model import DTYPES, Dtype

#: Storage class in module `torch` → dtype.
TYPED_STORAGES: Mapping[str, Dtype] = {
    name: DTYPES[dtype]
    for name, dtype in {
        "DoubleStorage": "F64",
        "FloatStorage": "F32",
        "HalfStorage": "F16",
        "BFloat16Storage": "BF16",
        "LongStorage": "I64",
        "IntStorage": "I32",
        "ShortStorage": "I16",
        "CharStorage": "I8",
        "ByteStorage": "U8",
        "BoolStorage": "BOOL",
        "ComplexDoubleStorage": "complex128",
        "ComplexFloatStorage": "C64",
    }.items()
}

#: Tensor class in module `torch` → dtype; `torch.Tensor` is of torch's default type.
TENSOR_CLASSES: Mapping[str, Dtype] = {
    "Tensor": DTYPES["F32"],
    **{
        f"{name.removesuffix('Storage')}Tensor": dtype
        for name, dtype in TYPED_STORAGES.items()
        if not name.startswith("Complex")
    },
}

#: `torch.NAME` → dtype.
TORCH_DTYPES: Mapping[str, Dtype] = {
    name: DTYPES[dtype]
    for name, dtype in {
        "float64": "F64",
        "double": "F64",
        "float32": "F32",
        "float": "F32",
        "float16": "F16",
        "half": "F16",
        "bfloat16": "BF16",
        "int64": "I64",
        "long": "I64",
        "int32": "I32",
        "int": "I32",
        "int16": "I16",
        "short": "I16",
        "int8": "I8",
        "uint8": "U8",
        "bool": "BOOL",
        "uint16": "U16",
        "uint32": "U32",
        "uint64": "U64",
        "complex32": "complex32",
        "chalf": "complex32",
        "complex64": "C64",
        "cfloat": "C64",
        "complex128": "complex128",
        "cdouble": "complex128",
        "float8_e5m2": "F8_E5M2",
        "float8_e4m3fn": "F8_E4M3",
        "float8_e5m2fnuz": "F8_E5M2FNUZ",
        "float8_e4m3fnuz": "F8_E4M3FNUZ",
        "float8_e8m0fnu": "F8_E8M0",
        "float4_e2m1fn_x2": "F4",
    }.items()
}

#: Storage class of quantised numbers → bytes of an element. Such tensors have no counterpart here,
#: their files do.
QUANTIZED_STORAGES: Mapping[str, int] = {
    "QInt8Storage": 1,
    "QUInt8Storage": 1,
    "QInt32Storage": 4,
    "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1,
}

#: dtype name → storage class, for types that have one.
STORAGE_OF: Mapping[str, str] = {dtype.name: name for name, dtype in TYPED_STORAGES.items()}

#: dtype name → `torch.NAME`, torch's own first spelling.
TORCH_NAME_OF: Mapping[str, str] = {
    dtype.name: name for name, dtype in reversed(list(TORCH_DTYPES.items()))
}


def torch_packing(dtype: Dtype) -> int:
    """How many elements of a dtype one element of torch's type holds.

    That is two of F4, which torch counts in pairs.
    """
    return max(8 // dtype.bits, 1)
