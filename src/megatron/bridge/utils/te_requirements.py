# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Whether this process can build models from the modules of Transformer Engine."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from megatron.core.extensions import transformer_engine
from megatron.core.extensions.transformer_engine import HAVE_TE


P = ParamSpec("P")
R = TypeVar("R")


def has_transformer_engine() -> bool:
    """Return whether Transformer Engine is usable: it is installed and CUDA is available, or its stand-in is active."""
    return HAVE_TE and (torch.cuda.is_available() or has_stand_in())


def has_stand_in() -> bool:
    """Return whether Megatron Core uses the stand-in for Transformer Engine."""
    return HAVE_TE and getattr(transformer_engine.te, "IS_STAND_IN", False)


def explain_missing_te(build: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function that builds a model: without a usable Transformer Engine, its errors have a note."""

    @functools.wraps(build)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return build(*args, **kwargs)
        except Exception as error:
            if not has_transformer_engine():
                error.add_note(te_install_hint())
            raise

    return wrapper


def te_install_hint() -> str:
    """Return what to do without a usable Transformer Engine."""
    missing = "CUDA, which its Transformer Engine needs" if HAVE_TE else "Transformer Engine, which the model may need"
    return f"This process lacks {missing}. `import_ckpt` and `export_ckpt` convert without it."
