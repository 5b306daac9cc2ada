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

"""Names in a checkpoint root.

A checkpoint root is the folder a user names. It holds checkpoint folders (``release/``, ``iter_0000100/``) and the
tracker ``latest_checkpointed_iteration.txt``, whose text is ``release`` or an iteration number.

Importing this module imports neither torch nor Megatron Core.
"""

import re


RELEASE = "release"
# Dtypes of a release.
DTYPES = ("bfloat16", "float16", "float32")
# As Megatron-LM writes them: seven digits at least, and no zero before more.
ITERATION_FOLDER = re.compile(r"iter_([0-9]{7}|[1-9][0-9]{7,17})")
TRACKER = "latest_checkpointed_iteration.txt"
TRAIN_STATE_TRACKER = "latest_train_state.pt"

# In a checkpoint folder.
METADATA = ".metadata"
FORMAT_FILE = "metadata.json"
COMMON_STATE = "common.pt"
RUN_CONFIG = "run_config.yaml"
TRAIN_STATE = "train_state.pt"
TOKENIZER = "tokenizer"
FLAGS_FILE = "megatron_lm_args.txt"
SOURCE_FILE = "source.json"
INTEGRITY_FILE = "integrity.json"
# The checksums of releases that were written before there was an integrity.json.
SUMS_FILE = "SHA256SUMS"

# What a checkpoint folder holds beside its tensors, ``common.pt`` and the tokenizer: upstream's files, and those that a
# release adds to them.
UPSTREAM_FILES = (METADATA, FORMAT_FILE, RUN_CONFIG, TRAIN_STATE)
ADDED_FILES = (FLAGS_FILE, SOURCE_FILE, INTEGRITY_FILE)

# A publication's own, in a root.
STAGING_PREFIX = ".release-staging-"
REPLACED_PREFIX = ".release-replaced-"
LOCK = ".release-lock"


def parse_tracker(text: str, tracker_filename: str) -> tuple[int, bool]:
    """Read the text of a tracker, by Megatron-LM's rule.

    Args:
        text: What the tracker holds.
        tracker_filename: Where it was read, for the error.

    Returns:
        The iteration (0 for a release) and whether it is a release checkpoint.

    Raises:
        ValueError: If the text is neither ``release`` nor an iteration number.
    """
    word = text.strip()
    if word == RELEASE:
        return 0, True
    # As many digits as a 64-bit number has.
    if re.fullmatch(r"[0-9]{1,18}", word):
        return int(word), False
    raise ValueError(
        f"The tracker {tracker_filename} contains {text!r}, neither 'release' nor an iteration number. "
        "Write into it the checkpoint to load: 'release', or the number of an iter_* folder beside it."
    )


def is_checkpoint_folder(name: str) -> bool:
    """Return whether a name is a checkpoint folder's; those of half-written and foreign ones do not match."""
    return name == RELEASE or ITERATION_FOLDER.fullmatch(name) is not None
