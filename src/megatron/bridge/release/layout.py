# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Names in a checkpoint directory, and the rule from its tracker to one of its iteration directories.

A checkpoint directory, which ``--load`` names, contains iteration directories (``release/``, ``iter_0000100/``) and the
tracker ``latest_checkpointed_iteration.txt``, which contains ``release`` or an iteration number.

Importing this module imports neither torch nor Megatron Core.
"""

import re

from megatron.bridge.release.errors import InvalidTrackerError


RELEASE = "release"
# Dtypes of a release.
DTYPES = ("bfloat16", "float16", "float32")
# Megatron-LM pads the number to seven digits.
ITERATION_FOLDER = re.compile(r"iter_([0-9]{7}|[1-9][0-9]{7,17})")
TRACKER = "latest_checkpointed_iteration.txt"
TRAIN_STATE_TRACKER = "latest_train_state.pt"

# In an iteration directory.
METADATA = ".metadata"
FORMAT_FILE = "metadata.json"
COMMON_STATE = "common.pt"
RUN_CONFIG = "run_config.yaml"
TRAIN_STATE = "train_state.pt"
TOKENIZER = "tokenizer"
FLAGS_FILE = "megatron_lm_args.txt"
SOURCE_FILE = "source.json"
INTEGRITY_FILE = "integrity.json"

# The files of an iteration directory besides its tensors, ``common.pt`` and the tokenizer: those that upstream writes, and
# those that a release adds.
UPSTREAM_FILES = (METADATA, FORMAT_FILE, RUN_CONFIG, TRAIN_STATE)
ADDED_FILES = (FLAGS_FILE, SOURCE_FILE, INTEGRITY_FILE)
# Files of a release that a repair writes again.
WRITTEN_BY_REPAIR = (COMMON_STATE, *ADDED_FILES)

# In a checkpoint directory, while a release is published.
STAGING_PREFIX = ".release-staging-"
REPLACED_PREFIX = ".release-replaced-"
LOCK = ".release-lock"


def parse_tracker(text: str, tracker_filename: str) -> tuple[int, bool]:
    """Parse the text of a tracker, as Megatron-LM does.

    Args:
        text: Content of the tracker.
        tracker_filename: Path of the tracker, for the error.

    Returns:
        The iteration (0 for a release), and whether the checkpoint is a release.

    Raises:
        InvalidTrackerError: If the text is neither ``release`` nor an iteration number.
    """
    word = text.strip()
    if word == RELEASE:
        return 0, True
    # A 64-bit integer has at most 18 digits that can all be 9.
    if re.fullmatch(r"[0-9]{1,18}", word):
        return int(word), False
    raise InvalidTrackerError(tracker_filename, text)


def tracked_directory(text: str, tracker_filename: str) -> str:
    """Return the name of the iteration directory that a tracker refers to; see `parse_tracker`."""
    iteration, release = parse_tracker(text, tracker_filename)
    return RELEASE if release else iteration_directory(iteration)


def iteration_directory(iteration: int) -> str:
    """Return the name of the directory of an iteration."""
    return f"iter_{iteration:07d}"


def is_checkpoint_folder(name: str) -> bool:
    """Return whether a name is that of an iteration directory or a release."""
    return name == RELEASE or ITERATION_FOLDER.fullmatch(name) is not None
