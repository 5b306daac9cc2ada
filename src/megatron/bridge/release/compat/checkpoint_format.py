# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Names that torch and Megatron Core write into checkpoints, seen with torch 2.6 to 2.14 and core 0.14 to 0.19.

Importing this module imports neither torch nor Megatron Core.
"""

# The entry that contains the common state since core 0.19.
COMMON_ENTRY = "common_state/shard_0_1"

# Part of the error of torch's CPU allocator, which has no type of its own.
ALLOCATION_FAILURE = "allocate memory"

# Name of torch.nn.functional.gelu in run_config.yaml.
GELU = "torch._C._nn.gelu"

# Classes and functions that torch.load accepts with weights_only=True, and those of megatron.core.safe_globals.
STATE_CLASSES = {
    ("_codecs", "encode"),
    ("_io", "BytesIO"),
    ("collections", "OrderedDict"),
    ("megatron.core.enums", "ModelType"),
    ("megatron.core.optimizer.optimizer_config", "OptimizerConfig"),
    *(("megatron.core.rerun_state_machine", name) for name in ("RerunDiagnostic", "RerunMode", "RerunState")),
    *(
        ("megatron.core.transformer.enums", name)
        for name in ("AttnBackend", "CudaGraphModule", "CudaGraphScope", "InferenceCudaGraphScope")
    ),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.dtypes", "UInt32DType"),
    ("pathlib", "PosixPath"),
    ("signal", "Signals"),
    ("torch", "Size"),
    ("torch", "device"),
    *(("torch", f"{kind}Storage") for kind in ("BFloat16", "Bool", "Byte", "Double", "Float", "Half", "Int", "Long")),
    ("torch._C", "Generator"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("types", "SimpleNamespace"),
}

_CHECKPOINT = "torch.distributed.checkpoint"

# Classes and functions in .metadata.
METADATA_CLASSES = {
    (f"{_CHECKPOINT}.{module}", name)
    for module, names in {
        "metadata": (
            *("BytesStorageMetadata", "ChunkStorageMetadata", "Metadata", "MetadataIndex", "StorageMeta"),
            *("TensorProperties", "TensorStorageMetadata", "_MEM_FORMAT_ENCODING"),
        ),
        "filesystem": ("_StorageInfo",),
        "planner": ("BytesIOWriteData", "SavePlan", "TensorWriteData", "WriteItem", "WriteItemType"),
    }.items()
    for name in names
} | {
    ("collections", "OrderedDict"),
    ("megatron.core.dist_checkpointing.strategies.torch", "MCoreMetadata"),
    ("megatron.core.dist_checkpointing.strategies.torch", "MCoreSavePlan"),
    ("pathlib", "PosixPath"),
    ("torch", "Size"),
    ("torch.serialization", "_get_layout"),
}
