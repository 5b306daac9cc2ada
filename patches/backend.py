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

"""The build backend: that of setuptools, without editable installs."""

from typing import Any, NoReturn

from setuptools.build_meta import (
    build_sdist,
    build_wheel,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_wheel,
)


__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_wheel",
]


def build_editable(*_arguments: Any, **_options: Any) -> NoReturn:
    """Refuse: most of the package is upstream's and exists only when it is built."""
    raise SystemExit(
        "error: megatron-bridge is built from upstream's wheel and patches/, so it cannot be installed with "
        "--editable; run `pip install .` again after a change"
    )


# pip asks this before it downloads the dependencies.
get_requires_for_build_editable = build_editable
