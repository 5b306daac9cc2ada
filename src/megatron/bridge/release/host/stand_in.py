# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Lets Megatron Core import the stand-ins of `packages` instead of CUDA packages."""

import importlib
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import torch


_PACKAGES = Path(__file__).with_name("packages")

# Variables that name the devices of a process.
DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


def activate_stand_ins() -> None:
    """Let Megatron Core import a stand-in for each package that does not work here, for good.

    A package works if it is installed and CUDA is available. Without Transformer Engine, the process does not use CUDA either:
    its stand-in computes on the CPU. Does nothing if Megatron Core is already imported. The stand-ins are never on the path:
    only the modules that are imported here, or by Megatron Core, are known to this process.
    """
    if "megatron.core" in sys.modules:
        return
    if find_spec("transformer_engine") is None:
        os.environ |= dict.fromkeys(DEVICES, "")
    for package in sorted(_PACKAGES.iterdir()):
        works = torch.cuda.is_available() and find_spec(package.name) is not None
        if (package / "__init__.py").exists() and not works:
            _import_from(_PACKAGES, package.name)


def _import_from(folder: Path, name: str) -> None:
    sys.path.insert(0, str(folder))
    try:
        importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
