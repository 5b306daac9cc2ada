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


"""A release exports back to the Hugging Face model it was made from."""

from hf_tensors import assert_exported
from transformers import AutoTokenizer


TEXTS = ("The capital of France is Paris.", "w1 w2 w499")


def test_export_matches_source_tensors_and_tokenizer(imported, tmp_path):
    assert_exported(imported.hf, imported.root, tmp_path / "hf")
    expected, found = (AutoTokenizer.from_pretrained(folder) for folder in (imported.hf, tmp_path / "hf"))
    assert found.get_vocab() == expected.get_vocab()
    for prompt in TEXTS:
        assert found(prompt).input_ids == expected(prompt).input_ids
