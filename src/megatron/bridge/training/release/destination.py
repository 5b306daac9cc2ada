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


"""Where a converted model is saved to, as the user means it."""

import os
from pathlib import Path


def destination(path: str | Path, release: bool, overwrite: bool) -> str | Path:
    """Tell where to save, and refuse what would be ignored.

    Args:
        path: Checkpoint root that the user gave.
        release: Whether a release is saved.
        overwrite: Whether the user wants a release that is there replaced.

    Returns:
        ``path``; for a release, with the home folder in place of ``~``.

    Raises:
        ValueError: If ``overwrite`` is given without ``release``, or if ``path`` names a user that is not known.
    """
    if not release:
        if overwrite:
            raise ValueError(
                "overwrite=True replaces a release, and without release=True none is saved. Add release=True, or leave "
                "overwrite=True out."
            )
        return path
    expanded = os.path.expanduser(path)
    if str(expanded).startswith("~"):
        user = Path(expanded).parts[0]
        raise ValueError(f"The output path {path} begins with {user}, and no such user is known. Or write ./{path}")
    return path if str(expanded) == str(path) else type(path)(expanded)
