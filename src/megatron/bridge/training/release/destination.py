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

import errno
import os
from pathlib import Path


# As long as a path within a release may be.
_DEEPEST = (".release-staging-xxxxxxxx", "tokenizer", "special_tokens_map.json.tmp")


def destination(path: str | Path, release: bool, overwrite: bool) -> str | Path:
    """Return where to save, and refuse what would be ignored.

    Args:
        path: Checkpoint root that the user gave.
        release: Whether a release is saved.
        overwrite: Whether the user wants a release that is there replaced.

    Returns:
        ``path``; for a release, with the home folder in place of ``~``.

    Raises:
        ValueError: If ``overwrite`` is given without ``release``, or if ``path`` is empty, is none that a filesystem can
            have, or names a user that is not known.
    """
    if not release:
        if overwrite:
            raise ValueError(
                "overwrite=True replaces a release, and without release=True none is saved. Add release=True, or leave "
                "overwrite=True out."
            )
        return path
    if not str(path) or "\0" in str(path):
        raise ValueError(f"The output path {str(path)!r} names no folder. Give a folder.")
    expanded = os.path.expanduser(path)
    if str(expanded).startswith("~"):
        user = Path(expanded).parts[0]
        raise ValueError(f"The output path {path} begins with {user}, and no such user is known. Or write ./{path}")
    # Each name by itself too: of a folder that is not there yet, the filesystem looks at no further name.
    if any(map(_is_too_long, (os.path.join(expanded, *_DEEPEST), *(f"/{name}" for name in Path(expanded).parts)))):
        raise ValueError(
            f"The output path {str(path)[:40]}… is too long for the filesystem, with {len(str(path))} characters. "
            "Give a shorter one."
        )
    return path if str(expanded) == str(path) else type(path)(expanded)


def _is_too_long(path: str) -> bool:
    try:
        os.lstat(path)
    except OSError as error:
        return error.errno == errno.ENAMETOOLONG
    return False
