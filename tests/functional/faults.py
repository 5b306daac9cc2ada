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

"""A filesystem for publishing that tests step through, to kill, to fail and to lose power at every operation."""

import errno
import os
import signal
from typing import Callable

from megatron.bridge.training.utils.publishing import Filesystem


OPERATIONS = [name for name, value in vars(Filesystem).items() if callable(value)]


class Stepping(Filesystem):
    """Calls `step(number, operation, done)` before and after every operation, counted together from 0."""

    def __init__(self, step: Callable[[int, str, bool], None], exchanges: bool = True) -> None:
        self._step, self._exchanges, self.steps = step, exchanges, 0

    def _take_step(self, name: str, done: bool) -> None:
        self.steps += 1
        self._step(self.steps - 1, name, done)


def _stepping(name: str) -> Callable:
    def operation(self, *arguments):
        self._take_step(name, False)
        if name == "exchange" and not self._exchanges:
            raise OSError(errno.EINVAL, "this filesystem cannot exchange")
        result = getattr(Filesystem, name)(self, *arguments)
        self._take_step(name, True)
        return result

    return operation


for _name in OPERATIONS:
    setattr(Stepping, _name, _stepping(_name))


def killed_at(step: int, publish: Callable[[Stepping], None], exchanges: bool = True) -> bool:
    """Publish in a process of its own, which kills itself before or after an operation; tell whether it came to it."""

    def kill(number: int, *_) -> None:
        if number == step:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        try:
            publish(Stepping(kill, exchanges))
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])
