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

"""Imports org/m of a local Hub on two ranks, in several ways: OUT/root, OUT/own_caches, and what must fail.

    OMP_NUM_THREADS=1 HF_ENDPOINT=... python hub_ranks_worker.py HF_MODEL OUT

OUT/downloads.json has the files that each way downloaded, OUT/<way>.<rank> the error of a rank. The ranks are forked from
one process, which has imported everything and has computed nothing.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path

from forked_ranks import run_forked
from huggingface_hub import constants

from megatron.bridge import AutoBridge


def main() -> None:
    """Import in each way."""
    out = Path(sys.argv[2])
    downloads = {}
    for way in ("root", "own_caches", "none", "missing"):
        # In own_caches, as on two nodes without a shared home directory.
        caches = [out / f"cache_{way}_{rank if way == 'own_caches' else 0}" for rank in range(2)]
        statuses = run_forked(2, partial(work, way, out, caches))
        if statuses != [0, 0]:
            sys.exit(f"{way}: {statuses}")
        blobs = [blob for cache in {*caches} for blob in cache.glob("models--org--m/snapshots/*/*")]
        downloads[way] = sorted(blob.name for blob in blobs)
    (out / "downloads.json").write_text(json.dumps(downloads))


def work(way: str, out: Path, caches: list[Path], rank: int) -> None:
    """Import on a rank."""
    constants.HF_HUB_CACHE = str(caches[rank])
    if way == "own_caches":
        os.environ["LOCAL_RANK"] = "0"
    model, revision = "org/m", "none" if way == "none" else "v1"
    if way == "missing":
        # As on nodes of which one lacks the model's directory.
        model, revision = out / "missing" if rank else Path(sys.argv[1]), None
    try:
        AutoBridge.import_ckpt(model, out / way, release=True, revision=revision)
    except ValueError as error:
        (out / f"{way}.{rank}").write_text(f"{type(error).__name__}: {error}")


main()
