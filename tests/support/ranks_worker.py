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

"""Imports a model on several numbers of ranks, one after the other: OUT/ranks1, OUT/ranks2, …

    OMP_NUM_THREADS=1 python ranks_worker.py HF_MODEL OUT NUMBER …

All import to OUT/root, so that what they write is alike. The ranks are forked from one process, which has imported
everything and has computed nothing.
"""

import sys
from pathlib import Path

from forked_ranks import run_forked

from megatron.bridge import AutoBridge


def main() -> None:
    """Import on each number of ranks."""
    hf, out = sys.argv[1], Path(sys.argv[2])
    for ranks in map(int, sys.argv[3:]):
        if any(run_forked(ranks, lambda _: AutoBridge.import_ckpt(hf, out / "root", release=True))):
            sys.exit(f"{ranks} ranks failed")
        (out / "root").rename(out / f"ranks{ranks}")


main()
