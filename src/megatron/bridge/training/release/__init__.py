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

"""Release checkpoints: what Megatron-LM starts fine-tuning from, made of Hugging Face models.

Refuse, before the work:
    `preflight` the model's folder and the keywords, `destination` the checkpoint root, `faithful` whatever would make
    another model of it, with `accounting` for tensors, `config_fields` and `config_table` for the config, `headers`,
    `meta_source`, `tied_output`, `tokenizer` and `causes`; `own_config` for a model that a caller built.
Convert and write:
    `saving` is the entrance and `under_way` the save's state; `streaming` takes the weights out of `hf_files`, `units`
    shares them out, `writing` writes them through `entry_file` and `direct_file`.
Add what a release holds:
    `contents`, with `args` and `args_table`, `te_keys`, `source` and `integrity`.
Publish:
    `publishing` through `filesystem`; `layout` has the names in a root, and `root` reads what is in one.
"""
