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

# Fine-tunes a release checkpoint with Megatron-LM: SFT on JSON lines, each {"messages": [{"role", "content"}, …]}.
#
#     MEGATRON_LM=path/to/Megatron-LM bash examples/sft.sh CKPT CHATS.jsonl [flags of Megatron-LM]
#
# Requires megatron-bridge-release on the PATH, and Megatron-LM of core 0.17 or later, whose prompt format `default` is the
# tokenizer's own chat template. With it, the loss covers the prompts too. Core 0.17 needs transformers 4; later versions
# work with 4 and 5. With core 0.14 to 0.16, pass --sft-tokenizer-prompt-format nemotron-h-aligned (or, from 0.15 on,
# nemotron-nano-v2), if your tokenizer has that format.
#
# Runs on one node. Set PET_NPROC_PER_NODE=8 to start eight processes, and pass --tensor-model-parallel-size or similar flags
# to distribute the model over them. It saves to CKPT: run it again to resume. The last flag wins.
set -euo pipefail
usage="usage: MEGATRON_LM=path/to/Megatron-LM bash $0 CKPT CHATS.jsonl [flags of Megatron-LM]"
megatron_lm=${MEGATRON_LM:?$usage} root=${1:?$usage} chats=${2:?$usage}
shift 2

for needed in "$megatron_lm/pretrain_gpt.py" "$chats"; do
    [ -r "$needed" ] || { echo "error: $needed is missing or not readable. $usage" >&2; exit 1; }
done
core=$(sed -n 's/^MINOR = //p' "$megatron_lm/megatron/core/package_info.py" 2>/dev/null || true)
if [ "${core:-17}" -lt 17 ] && [[ " $* " != *" --sft-tokenizer-prompt-format"* ]]; then
    echo "error: $megatron_lm has core 0.$core; the prompt format \`default\` needs 0.17. Use a later Megatron-LM, or pass" \
        "--sft-tokenizer-prompt-format." >&2
    exit 1
fi
# launch fails if CKPT has no checkpoint to start from: up to core 0.19, Megatron-LM would exit with status 0.
launch=$(megatron-bridge-release launch "$root")
read -ra command <<<"$launch"
# torchrun reads this variable too.
export PET_NPROC_PER_NODE=${PET_NPROC_PER_NODE:-1}
# The smallest batch of at least 8 that gives every rank the same number of samples.
ranks=$((PET_NPROC_PER_NODE * ${PET_NNODES:-1}))
batch=$(((ranks + 7) / ranks * ranks))
# From core 0.16 on, Megatron-LM's SFT data set packs its sequences and refuses attention masks.
"${command[@]/#pretrain_gpt.py/"$megatron_lm/pretrain_gpt.py"}" --save "$root" \
    --sft --data-path "$chats" --split 100,0,0 --no-create-attention-mask-in-dataloader \
    --tokenizer-type SFTTokenizer --sft-tokenizer-prompt-format default \
    --micro-batch-size 1 --global-batch-size "$batch" --train-iters 1000 \
    --lr 1e-5 --min-lr 1e-6 --lr-decay-style cosine --lr-warmup-fraction 0.03 --weight-decay 0.1 --log-interval 10 \
    "$@"
