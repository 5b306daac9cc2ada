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


"""The README says of config fields what the table says."""

from pathlib import Path

from megatron.bridge.training.release.config_table import FAMILIES


README = Path(__file__).parents[3] / "README.md"


def _rows() -> list[str]:
    """Lay the table out: a row for each rule that refuses something, with the families that it is for."""
    families: dict[tuple[str, str, str], list[str]] = {}
    for family, fields in FAMILIES.items():
        for field in fields:
            if field.values != "any":
                families.setdefault((field.name, field.values, field.instead), []).append(family)
    return [
        f"| `{name}` | {', '.join(names)} | {values} | {instead} |"
        for (name, values, instead), names in families.items()
    ]


def test_the_readme_has_the_table_of_config_fields():
    lines = README.read_text().splitlines()
    start = lines.index("| config field | families | carried | another value |")
    end = next(number for number in range(start, len(lines)) if not lines[number].startswith("|"))
    assert lines[start + 2 : end] == _rows()


def test_the_readme_names_every_field_that_is_carried_at_any_value():
    always = {field.name for fields in FAMILIES.values() for field in fields if field.values == "any"}
    sentence = README.read_text().split("At any value:")[1].split("\n\n")[0]
    assert {word.strip("`,. \n") for word in sentence.split()} - {"and"} == always
