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

"""Publishes an exported model: a reader finds no model or the whole model, whatever stops the export."""

import json
import os
from pathlib import Path

from megatron.bridge.release.checkpoint_dir import list_leftovers
from megatron.bridge.release.export.output_dir import LAST, MOVED, check_empty, interrupted_files
from megatron.bridge.release.layout import STAGING_PREFIX
from megatron.bridge.release.write.filesystem import Filesystem
from megatron.bridge.release.write.publish import Publication


class FolderPublication(Publication):
    """An exported model on its way into its folder, which may be a mount point or a symlink to an empty folder.

    The folder itself cannot be renamed into place: its files are, one by one, `LAST` after all others.

    Args:
        folder: Folder of the export; it need not exist.
        filesystem: What reaches the disk.
    """

    _own_folders: list[Path]

    def __init__(self, folder: Path, filesystem: Filesystem = Filesystem()) -> None:
        super().__init__(folder, filesystem=filesystem)

    def begin_empty(self) -> Path:
        """Lock the folder, clear what dead processes left in it, and make the staging folder.

        Returns:
            The staging folder.

        Raises:
            ValueError: If the folder contains anything else.
            RuntimeError: If another process is writing into the folder.
            OSError: If the filesystem refuses.
        """
        return self.begin(lambda: check_empty(self._root))

    def commit(self) -> None:
        """Move what is in the staging folder into the folder.

        Raises:
            FileExistsError: If a file of such a name has appeared in the folder meanwhile.
            OSError: If the filesystem refuses. Nothing of the export is in the folder then.
        """
        staging = self._own_folders[0]
        names = sorted((path.name for path in staging.iterdir()), key=lambda name: (name == LAST, name))
        (staging / MOVED).write_text(json.dumps(names), encoding="utf-8")
        self._sync_all(staging)
        try:
            for name in names:
                if name == LAST:
                    # All other names are on the disk before the one that makes them a model.
                    self._filesystem.sync(self._root)
                if os.path.lexists(self._root / name):
                    raise FileExistsError(
                        f"{self._root / name} has appeared during the export. Remove it and export again."
                    )
                self._filesystem.rename(staging / name, self._root / name)
            self._filesystem.sync(self._root)
        except BaseException:
            if not self._try(f"restore {self._root}", self._move_back, staging, names):
                # The next export removes what its list names.
                self._own_folders = []
            raise

    def _mark(self, staging: Path) -> None:
        """Nothing is recorded before the files are complete: the folder is empty."""

    def _recover(self) -> None:
        """Clear what processes left that died while they wrote into this folder."""
        for path in interrupted_files(self._root):
            (self._filesystem.remove if path.is_dir() else self._filesystem.unlink)(path)
        for staging in list_leftovers(self._root, STAGING_PREFIX):
            self._filesystem.remove(staging)

    def _move_back(self, staging: Path, names: list[str]) -> None:
        """Move back what has been moved: an operation that reported a failure may have been done."""
        for name in reversed(names):
            if (self._root / name).exists() and not (staging / name).exists():
                self._filesystem.rename(self._root / name, staging / name)
