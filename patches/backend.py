# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The build backend: that of setuptools, without editable installs."""

from typing import Any, NoReturn

from setuptools.build_meta import *  # noqa: F403


def build_editable(*_arguments: Any, **_options: Any) -> NoReturn:
    """Refuse: most of the package is upstream's and exists only when it is built."""
    raise SystemExit(
        "error: megatron-bridge is built from upstream's wheel and patches/, so it cannot be installed with "
        "--editable; run `pip install .` again after a change"
    )


# pip asks this before it downloads the dependencies.
get_requires_for_build_editable = build_editable
