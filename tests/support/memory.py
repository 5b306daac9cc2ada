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

"""What a process has for itself: the pages of files that it looks into are the kernel's to take."""

from pathlib import Path


def anonymous(process: int) -> int:
    """Tell what a process and its children have for themselves, in bytes; 0 where it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0
    own = int(status.partition("RssAnon:")[2].split()[0]) * 1024 if "RssAnon:" in status else 0
    return own + sum(anonymous(int(child)) for child in children)
