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

"""Finds whose code makes a model: transformers', or its own, which its config names as ``auto_map``."""

from typing import Any


def is_of_transformers(config: Any) -> bool:
    """Return whether transformers has read a config with a class of its own.

    It does so for each model type that it knows, whatever code the config names, unless ``trust_remote_code`` is given.
    Then its own class makes the model too.

    Args:
        config: The config, as it was read.

    Returns:
        Whether its class is one of transformers' models.
    """
    return type(config).__module__.startswith("transformers.models.")
