# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Megatron-LM's command-line flags for the model of a checkpoint.

Importing this module imports neither torch nor Megatron Core.
"""

import itertools
from argparse import Namespace
from typing import Any

from megatron.bridge.release.megatron_args.flag_table import OPTIONAL_ARGUMENTS, Argument, tables_of
from megatron.bridge.release.rope_factor import ENTRY_POINT_FLAG, is_factor_ignored


def megatron_lm_flags(args: Namespace) -> list[str]:
    """Return the flags with which Megatron-LM builds the model of a checkpoint's args.

    Each item is ``--flag``, ``--flag=value``, or one of several values of a flag. No item contains whitespace, quotes or
    backslashes, so that ``$(cat ...)`` and ``xargs`` work.
    """
    flags = []
    for table in tables_of(args):
        for argument in table:
            value = getattr(args, argument.name, None)
            if argument.flag is None or value is None or not isinstance(value, argument.types):
                continue
            if isinstance(value, bool):
                flags += [argument.flag] if value != argument.default else []
            elif value != argument.default or table is not OPTIONAL_ARGUMENTS:
                flags += _format(argument, value)
    if is_factor_ignored(getattr(args, "use_rope_scaling", False), getattr(args, "rope_scaling_factor", None)):
        flags.append(ENTRY_POINT_FLAG)
    return flags


def _format(argument: Argument, value: Any) -> list[str]:
    if isinstance(value, list) and not argument.pattern:
        return [f"{argument.flag}", *(str(item) for item in value)]
    if isinstance(value, list):
        # Without the parentheses, a shell may expand the brackets as a glob pattern.
        runs = [f"[{item}]*{len(list(run))}" for item, run in itertools.groupby(value)]
        value = f"({'+'.join(runs)})"
    elif isinstance(value, tuple):
        value = ",".join(str(item) for item in value)
    return [f"{argument.flag}={value}"]
