# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Publishes an exported model: readers find the complete model or none, even if the export is killed."""

import json
import os
from pathlib import Path

from megatron.bridge.release.checkpoint_dir import list_leftovers
from megatron.bridge.release.export.output_dir import LAST, MOVED, check_empty, interrupted_files
from megatron.bridge.release.layout import STAGING_PREFIX
from megatron.bridge.release.write.publish import Publication


class FolderPublication(Publication):
    """Publication of an exported model. The output directory may be a mount point or a symlink to an empty directory.

    Such a directory cannot be renamed into place. Instead, its files are, one by one, `LAST` at the end.

    Args:
        folder: The output directory; it need not exist.
        filesystem: The file operations.
    """

    _own_folders: list[Path]

    def begin_empty(self) -> Path:
        """Lock the output directory, remove the remains of killed exports, and make the staging directory.

        Returns:
            The staging directory.

        Raises:
            OutputNotEmptyError: If the output directory contains anything else.
            RuntimeError: If another process is writing to it.
            OSError: If a file operation fails.
        """
        return self.begin(lambda: check_empty(self._root))

    def commit(self) -> None:
        """Move the files of the staging directory into the output directory.

        Raises:
            FileExistsError: If another program has made a file of the same name there.
            OSError: If a file operation fails. Then the output directory contains nothing of the export.
        """
        staging = self._own_folders[0]
        names = sorted((path.name for path in staging.iterdir()), key=lambda name: (name == LAST, name))
        (staging / MOVED).write_text(json.dumps(names), encoding="utf-8")
        self._sync_all(staging)
        try:
            for name in names:
                if name == LAST:
                    # After a crash, no model must be found without all of its files.
                    self._filesystem.sync(self._root)
                if os.path.lexists(self._root / name):
                    raise FileExistsError(
                        f"Another program has written {self._root / name}. Remove it and run the export again."
                    )
                self._filesystem.rename(staging / name, self._root / name)
            self._filesystem.sync(self._root)
        except BaseException:
            if not self._try(f"restore {self._root}", self._move_back, staging, names):
                # The next export removes the files that are listed in the staging directory.
                self._own_folders = []
            raise

    def _mark(self, staging: Path) -> None:
        """Record nothing: the output directory is empty."""

    def _recover(self) -> None:
        """Remove the remains of killed exports."""
        for path in interrupted_files(self._root):
            (self._filesystem.remove if path.is_dir() else self._filesystem.unlink)(path)
        for staging in list_leftovers(self._root, STAGING_PREFIX):
            self._filesystem.remove(staging)

    def _move_back(self, staging: Path, names: list[str]) -> None:
        """Move files back. An operation that reported an error may have succeeded."""
        for name in reversed(names):
            if (self._root / name).exists() and not (staging / name).exists():
                self._filesystem.rename(self._root / name, staging / name)
