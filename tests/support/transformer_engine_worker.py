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

"""What `megatron.bridge` does on a host with CUDA and Transformer Engine: imports, exports and deep checks.

    python transformer_engine_worker.py WHEEL OUT HF_MODEL …

Of each model, in OUT under the name of its folder: `root` is the release, `exported` the model exported from it, and
`saved` the release of a model that was loaded whole. In
OUT/results.json, for each: `streamed`, whether the import streamed its weights, `memory`, what it added to the process's
anonymous memory at most, `equal` and `problems` of `check --deep`, and `error`, if anything was raised.
"""

import json
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import transformer_engine_host
from memory import anonymous


transformer_engine_host.become_host(Path(sys.argv[1]))

from megatron.bridge import AutoBridge  # noqa: E402
from megatron.bridge.release.verify.weights import compare  # noqa: E402
from megatron.bridge.release.write import run  # noqa: E402
from megatron.bridge.training.model_load_save import temporary_distributed_context  # noqa: E402
from megatron.bridge.utils.single_process import preserve_environment  # noqa: E402
from megatron.bridge.utils.te_requirements import has_transformer_engine  # noqa: E402


transformer_engine_host.become_host_of_core()


@contextmanager
def _noted(result: dict[str, object]) -> Iterator[None]:
    """Note whether an import streams, and its memory, which is looked at every few milliseconds."""
    before, ended = anonymous(os.getpid()), threading.Event()
    most = before

    def look() -> None:
        nonlocal most
        while not ended.wait(0.005):
            most = max(most, anonymous(os.getpid()))

    streamed_model = run.streamed_model

    def noting(*arguments: object) -> object:
        model = streamed_model(*arguments)
        result["streamed"] = model is not None
        return model

    looking = threading.Thread(target=look)
    looking.start()
    try:
        with mock.patch.object(run, "streamed_model", noting):
            yield
    finally:
        ended.set()
        looking.join()
        result["memory"] = most - before


def convert(hf: Path, out: Path) -> dict[str, object]:
    """Import a model, check and export what came of it; and save it as a caller does who has built and loaded it."""
    result: dict[str, object] = {}
    try:
        allowed = ["model_type"] if "vision_config" in json.loads((hf / "config.json").read_text()) else []
        with _noted(result):
            AutoBridge.import_ckpt(hf, out / "root", release=True, allow_config_fields=allowed)
        result["equal"], result["problems"] = compare(out / "root/release", str(hf))
        bridge = AutoBridge.from_hf_pretrained(hf)
        with preserve_environment():
            bridge.export_ckpt(out / "root", out / "exported", show_progress=False)
        with preserve_environment(), temporary_distributed_context(backend="gloo"):
            model = bridge.to_megatron_model(wrap_with_ddp=False, use_cpu_initialization=True)
            bridge.save_megatron_model(
                model, out / "saved", hf_tokenizer_path=hf, release=True, allow_config_fields=allowed
            )
    except BaseException as error:
        traceback.print_exc()
        result["error"] = f"{type(error).__name__}: {error}"
    return result


def main() -> None:
    """Convert each model."""
    assert has_transformer_engine()
    out, models = Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]]
    results = {hf.name: convert(hf, out / hf.name) for hf in models}
    (out / "results.json").write_text(json.dumps(results, indent=2))


main()
