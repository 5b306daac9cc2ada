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

"""Hugging Face's own logits, and how near to them others must be."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel


# Both models compute in float32 from the same bfloat16 weights, so that only the order of additions
# differs: this much of the largest logit, about a hundredth of one bfloat16 rounding step (2**-8).
LOGITS_BOUND = 4e-5


def load_hf(folder: Path | str) -> PreTrainedModel:
    """Load a Hugging Face model for comparisons: in float32, on the CPU."""
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def hf_logits(model: PreTrainedModel, tokens: torch.Tensor) -> torch.Tensor:
    """Run a Hugging Face model on tokens [batch, length]; logits [batch, length, vocabulary]."""
    with torch.no_grad():
        return model(tokens).logits


def wrong_logits(found: torch.Tensor, expected: torch.Tensor) -> list[str]:
    """Say what keeps logits from being the expected ones.

    Args:
        found: Logits, without those of a padded vocabulary.
        expected: Hugging Face's.

    Returns:
        One line; none where they agree up to the order of additions.
    """
    if (found.shape, found.dtype) != (expected.shape, expected.dtype):
        return [f"logits are {found.dtype} {tuple(found.shape)}, not {expected.dtype} {tuple(expected.shape)}"]
    difference = float((found - expected).abs().max())
    return [] if difference < LOGITS_BOUND * float(expected.abs().max()) else [f"logits differ by {difference:.1e}"]
