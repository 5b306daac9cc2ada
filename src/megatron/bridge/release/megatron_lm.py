# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
#
# Licensed under the Apache License, Version 2.0 (the "License");
# you may not use this file except in compliance with the License.
# You may obtain a copy of the License at
#
#     http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS,
# WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
# See the License for the specific language governing permissions and
# limitations under the License.

"""Run a script of Megatron-LM with the rope scaling factor of its arguments.

    torchrun ... -m megatron.bridge.release.megatron_lm pretrain_gpt.py ARGUMENTS

Megatron-LM parses ``--rope-scaling-factor`` and builds every GPT model with the factor 8 (core 0.14 to 0.20). This entry
point passes the factor to `GPTModel`, then runs the script. It works for pretrain_gpt.py, train_rl.py, inference and
ModelOpt. It imports neither torch nor Megatron Core before the script does: the script decides which one it runs with.
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
# Imported by torchrun and launchers like it, before they start processes that do not have the correction.
_LAUNCHER = "torch.distributed.run"
_USAGE = f"torchrun [options] -m {ENTRY_POINT} SCRIPT [arguments of the script]"


def main() -> None:
    """Run the script that the command line names, as torchrun would. Exit with 1 if it has built no GPT model."""
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
            f"error: {script} ended without building a GPT model in this process: {ENTRY_POINT} has corrected nothing. A "
            f"launcher comes before it: {_USAGE}"
        )


def _find_gpt_model() -> "_Finder":
    """Let this process, and those that it starts with multiprocessing, correct Megatron Core's GPT model."""
    if _GPT_MODEL in sys.modules:
        sys.exit(
            f"error: {_GPT_MODEL} is imported before {ENTRY_POINT} can correct it, by sitecustomize, a .pth file or a "
            "wrapper. Remove that import."
        )
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    prepare = multiprocessing.spawn.get_preparation_data
    multiprocessing.spawn.get_preparation_data = lambda name: prepare(name) | {ENTRY_POINT: _InChild()}
    return finder


class _InChild:
    """Calls `_find_gpt_model` in a process that unpickles it, which multiprocessing does before it imports the script."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Not of __main__, which is the script there.
        return importlib.import_module(ENTRY_POINT)._find_gpt_model, ()


def _without_flag(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Return a parser's method that ignores the flag.

    It stays in `sys.argv`, so that another process, started with the same words, is refused by its own parser.
    """

    @functools.wraps(parse)
    def parse_known_args(parser: Any, args: Sequence[str] | None = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else args
        return parse(parser, [word for word in words if word != ENTRY_POINT_FLAG], namespace)

    return parse_known_args


class _Finder(importlib.abc.MetaPathFinder):
    """Finds Megatron Core's GPT model where Python does, and corrects it when it is imported.

    Attributes:
        has_built: Whether a corrected model was built.
    """

    has_built = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See importlib.abc.MetaPathFinder."""
        if fullname == _LAUNCHER:
            sys.exit(
                f"error: {sys.argv[0]} starts other processes, which {ENTRY_POINT} cannot correct. A launcher comes "
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
        """Return a constructor of `GPTModel` that takes the rope scaling factor from Megatron-LM's arguments.

        Raises:
            RuntimeError: If the constructor does not have the two parameters.
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
                        f"{ENTRY_POINT} does not support --export-kd-teacher-load: the rope scaling factor of the teacher is "
                        "unknown."
                    )
                bound.arguments["rope_scaling_factor"] = args.rope_scaling_factor
                setattr(args, BUILT_FACTOR, args.rope_scaling_factor)
            init(*bound.args, **bound.kwargs)

        return corrected


if __name__ == "__main__":
    main()
