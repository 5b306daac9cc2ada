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

"""Imported before Megatron Core, it lets this process build models from the stand-ins for CUDA packages.

With CUDA it does nothing: a process with the stand-ins uses no GPU, and tests do.
"""

import torch

from megatron.bridge.release.host.stand_in import activate_stand_ins


if not torch.cuda.is_available():
    activate_stand_ins()
