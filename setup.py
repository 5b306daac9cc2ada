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

"""Builds the fork's wheel: the pinned upstream, patches/ and src/."""

import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py


ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from patches.upstream import FORK_VERSION  # noqa: E402


class BuildPatched(build_py):
    """Puts upstream's package with the series applied into the build folder."""

    def run(self) -> None:
        """Build, from nothing that an earlier build has left."""
        # What they need is there for a build, not for the metadata alone.
        from patches.series import SeriesError, load_series
        from patches.syntax import EditError
        from patches.tree import patch, write_tree
        from patches.upstream import UpstreamError, open_upstream

        library = Path(self.build_lib)
        shutil.rmtree(library, ignore_errors=True)
        try:
            series = load_series(ROOT)
            with tempfile.TemporaryDirectory() as work:
                upstream = open_upstream(None, Path(work), pinned=True)
                write_tree(upstream, patch(series, upstream), library)
        except (EditError, OSError, SeriesError, UpstreamError) as error:
            raise SystemExit(f"error: {error}") from None


class PatchedDistribution(Distribution):
    """Has a package, although setuptools finds none before BuildPatched has made it."""

    def has_pure_modules(self) -> bool:
        """See Distribution."""
        return True


setup(version=FORK_VERSION, packages=[], distclass=PatchedDistribution, cmdclass={"build_py": BuildPatched})
