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
#     MEGATRON_LM=path/to/Megatron-LM bash examples/sft.sh ROOT CHATS.jsonl [flags of Megatron-LM]
#
# On one node; PET_NPROC_PER_NODE=8 in the environment starts as many processes, and --tensor-model-parallel-size and the
# like say how they share the model. It saves into the same root; run again, it goes on from there. The flags given last win.
set -euo pipefail
usage="usage: MEGATRON_LM=path/to/Megatron-LM bash $0 ROOT CHATS.jsonl [flags of Megatron-LM]"
megatron_lm=${MEGATRON_LM:?$usage} root=${1:?$usage} chats=${2:?$usage}
shift 2

# The release's flags build its model.
flags=$root/release/megatron_lm_args.txt
[ -r "$flags" ] ||
    { echo "error: $flags is not there; import the model first: megatron-bridge-release import HF_MODEL $root" >&2; exit 1; }
for needed in "$megatron_lm/pretrain_gpt.py" "$chats"; do
    [ -r "$needed" ] || { echo "error: $needed is not there, or cannot be read. $usage" >&2; exit 1; }
done
# torchrun reads it too.
export PET_NPROC_PER_NODE=${PET_NPROC_PER_NODE:-1}
# A batch that every rank has a share of, of sequences that the model can be as long as.
ranks=$((PET_NPROC_PER_NODE * ${PET_NNODES:-1}))
batch=$(((ranks + 7) / ranks * ranks))
longest=$(sed -n 's/^--max-position-embeddings=//p' "$flags")
torchrun "$megatron_lm/pretrain_gpt.py" \
    $(cat "$flags") \
    --load "$root" --save "$root" --exit-on-missing-checkpoint \
    --sft --data-path "$chats" --split 100,0,0 --eval-iters 0 \
    --tokenizer-type SFTTokenizer --sft-tokenizer-prompt-format default --tokenizer-model "$root/release/tokenizer" \
    --seq-length $((longest < 2048 ? longest : 2048)) --micro-batch-size 1 --global-batch-size "$batch" \
    --train-iters 1000 --save-interval 500 \
    --lr 1e-5 --min-lr 1e-6 --lr-decay-style cosine --lr-warmup-fraction 0.03 --weight-decay 0.1 --log-interval 10 \
    "$@"
