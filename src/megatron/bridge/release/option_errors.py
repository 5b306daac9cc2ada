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

"""Errors that name an option, which the shell spells in another way than Python.

Importing this module imports neither torch nor Megatron Core.
"""

# In Python, a switch is passed with its value.
_SWITCHES = ("overwrite", "trust_remote_code")


class OptionError(ValueError):
    """A refusal that an option may lift.

    Attributes:
        problem: What is wrong.
        option: Name of the option, as of a keyword argument.
        advice: What to do, with ``{option}`` in place of the option.
    """

    def __init__(self, problem: str, option: str, advice: str) -> None:
        super().__init__(problem, option, advice)
        self.problem, self.option, self.advice = problem, option, advice

    def __str__(self) -> str:
        """Return the message, with the option as Python spells it."""
        return self._text(f"{self.option}=True" if self.option in _SWITCHES else self.option)

    def in_shell(self) -> str:
        """Return the message, with the option as the shell spells it."""
        return self._text(f"--{self.option.replace('_', '-')}")

    def _text(self, option: str) -> str:
        return f"{self.problem} {self.advice.format(option=option)}"
