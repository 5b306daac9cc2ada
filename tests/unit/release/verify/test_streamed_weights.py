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

"""A comparison that cannot be made piece by piece is left to another; a bug is not."""

from types import SimpleNamespace

import pytest

from megatron.bridge.release.verify.streamed_weights import _is_identical


def _weights(error: Exception) -> SimpleNamespace:
    def work_item(entries):
        raise error

    return SimpleNamespace(work_item=work_item)


@pytest.mark.parametrize("error", [OSError("gone"), ValueError("has changed"), RuntimeError("no shape"), EOFError()])
def test_unreadable_weights_are_not_identical(error):
    assert _is_identical(_weights(error), [], SimpleNamespace()) is False


@pytest.mark.parametrize("error", [AttributeError("x"), TypeError("x"), KeyError("x"), AssertionError()])
def test_bug_is_raised(error):
    with pytest.raises(type(error)):
        _is_identical(_weights(error), [], SimpleNamespace())
