#!/usr/bin/env bash
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

# Imports and fine-tunes a model in a container that has torch, Megatron-LM and Megatron-Bridge's dependencies, such as
# NeMo's. It installs only Megatron-Bridge.
#
#     docker run --gpus all --ipc host -v "$PWD:/bridge" -v "$DATA:/data" -w /bridge IMAGE \
#         env PET_NPROC_PER_NODE=8 MEGATRON_LM=/opt/Megatron-LM bash examples/sft_in_container.sh HF_MODEL /data/ckpt /data/chats.jsonl
#
# You can append flags of Megatron-LM.
set -euo pipefail
usage="usage: MEGATRON_LM=path/to/Megatron-LM bash $0 HF_MODEL CKPT CHATS.jsonl [flags of Megatron-LM]"
hf_model=${1:?$usage} root=${2:?$usage} chats=${3:?$usage}
shift 3

here=$(dirname "$0")
pip install --no-deps "$here/.."
python -W ignore -c "from megatron.bridge import AutoBridge" ||
    { echo "error: a dependency is missing, see above. Install it with pip, or remove --no-deps." >&2; exit 1; }
# A restarted container resumes, if the checkpoint was imported from this model.
if [ -e "$root/latest_checkpointed_iteration.txt" ]; then
    python -c '
import sys
from megatron.bridge.release.source.provenance import require_source
try:
    require_source(*sys.argv[1:])
except (ValueError, OSError) as error:
    sys.exit(f"error: {error}")
' "$root" "$hf_model"
else
    megatron-bridge-release import "$hf_model" "$root"
fi
bash "$here/sft.sh" "$root" "$chats" "$@"
