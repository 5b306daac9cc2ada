# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Run a script of Megatron-LM with the rope scaling factor of its arguments.

    torchrun ... -m megatron.bridge.release.megatron_lm pretrain_gpt.py ARGUMENTS

Megatron-LM parses ``--rope-scaling-factor`` but builds every GPT model with the factor 8 (core 0.14 to 0.20). This entry
point passes the factor to `GPTModel` and runs the script: pretrain_gpt.py, train_rl.py, inference or ModelOpt. It imports
neither torch nor Megatron Core before the script does, so that the script determines which installation is used.
"""

import argparse
import functools
import importlib.abc
import importlib.machinery
import inspect
import multiprocessing.spawn
import os
import runpy
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from megatron.bridge.release.rope_factor import BUILT_FACTOR, ENTRY_POINT, ENTRY_POINT_FLAG


_GPT_MODEL = "megatron.core.models.gpt.gpt_model"
# Imported by torchrun and similar launchers, whose processes would run without the correction.
_LAUNCHER = "torch.distributed.run"
_USAGE = f"torchrun [options] -m {ENTRY_POINT} SCRIPT [arguments of the script]"


def main() -> None:
    """Run the script in the arguments, as torchrun would. Exit with 1 if it builds no GPT model."""
    if len(sys.argv) < 2:
        sys.exit(f"usage: {_USAGE}")
    script = sys.argv[1]
    if not os.path.isfile(script):
        sys.exit(f"error: {script} is not a file. Run this in Megatron-LM's directory, or pass the script's path.")
    del sys.argv[0]
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.abspath(script))
    finder = _find_gpt_model()
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
    if not finder.has_built:
        sys.exit(
            f"error: {script} built no GPT model in this process, so {ENTRY_POINT} had no effect. Put a launcher before "
            f"it: {_USAGE}"
        )


def _find_gpt_model() -> "_Finder":
    """Correct Megatron Core's GPT model when it is imported, here and in processes of multiprocessing."""
    if _GPT_MODEL in sys.modules:
        sys.exit(
            f"error: {_GPT_MODEL} was imported before {ENTRY_POINT} started, possibly by sitecustomize, a .pth file or a "
            "wrapper. Remove that import."
        )
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    prepare = multiprocessing.spawn.get_preparation_data
    multiprocessing.spawn.get_preparation_data = lambda name: prepare(name) | {ENTRY_POINT: _InChild()}
    return finder


class _InChild:
    """Calls `_find_gpt_model` when it is unpickled: multiprocessing does that before it imports the script."""

    def __reduce__(self) -> tuple[Any, ...]:
        # By its module name: in the child process, __main__ is the script.
        return importlib.import_module(ENTRY_POINT)._find_gpt_model, ()


def _without_flag(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a parser's method so that it ignores the entry point's flag.

    The flag stays in `sys.argv`, so that the parser of a process without the correction refuses the same arguments.
    """

    @functools.wraps(parse)
    def parse_known_args(parser: Any, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        arguments = sys.argv[1:] if args is None else args
        return parse(parser, [argument for argument in arguments if argument != ENTRY_POINT_FLAG], namespace)

    return parse_known_args


class _Finder(importlib.abc.MetaPathFinder):
    """Corrects Megatron Core's GPT model when Python imports it.

    Attributes:
        has_built: Whether a model was built.
    """

    has_built = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        if fullname == _LAUNCHER:
            sys.exit(
                f"error: {sys.argv[0]} starts other processes, in which {ENTRY_POINT} has no effect. Put the launcher "
                f"before it: {_USAGE}"
            )
        if fullname != _GPT_MODEL:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            module.GPTModel.__init__ = self._with_factor(module.GPTModel.__init__)
            argparse.ArgumentParser.parse_known_args = _without_flag(  # type: ignore[method-assign]
                argparse.ArgumentParser.parse_known_args
            )

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

    def _with_factor(self, init: Callable[..., None]) -> Callable[..., None]:
        """Wrap the constructor of `GPTModel`: pass the rope scaling factor of Megatron-LM's arguments.

        Raises:
            RuntimeError: If the constructor lacks a parameter that it needs.
        """
        signature = inspect.signature(init)
        if not {"rope_scaling", "rope_scaling_factor"} <= signature.parameters.keys():
            raise RuntimeError(
                f"{ENTRY_POINT} does not support this Megatron Core: GPTModel has no parameter rope_scaling or "
                "rope_scaling_factor. Use core 0.14 to 0.20."
            )

        @functools.wraps(init)
        def corrected(*positional: Any, **named: Any) -> None:
            self.has_built = True
            bound = signature.bind(*positional, **named)
            if bound.arguments.get("rope_scaling"):
                from megatron.training.global_vars import get_args

                args = get_args()
                if getattr(args, "export_kd_teacher_load", None):
                    raise RuntimeError(
                        f"{ENTRY_POINT} does not support --export-kd-teacher-load, because the rope scaling factor of the "
                        "teacher is unknown. Remove the option."
                    )
                bound.arguments["rope_scaling_factor"] = args.rope_scaling_factor
                setattr(args, BUILT_FACTOR, args.rope_scaling_factor)
            init(*bound.args, **bound.kwargs)

        return corrected


if __name__ == "__main__":
    main()
