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

"""What docs/ tells of the code is what the code says, and its links lead somewhere."""

import json
import re
from pathlib import Path

import pytest
import written_docs


REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", written_docs.PAGES)
def test_page_matches_output_of_make_docs(name):
    page = (written_docs.DOCS / name).read_text()
    assert written_docs.PAGES[name](page) == page, "run make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_has_existing_target(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        name, _, heading = target.partition("#")
        file = page.parent / name if name else page
        assert file.is_file(), target
        slugs = [
            re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-")
            for line in file.read_text().splitlines()
            if line.startswith("#")
        ]
        assert not heading or heading in slugs, target


def test_every_page_and_every_example_is_linked():
    linked = {
        (page.parent / target.partition("#")[0]).resolve()
        for page in PAGES
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text())
        if not target.startswith("https://")
    }
    docs = [path for path in PAGES if path.parent.name == "docs"]
    examples = [
        path
        for path in (REPOSITORY / "examples").iterdir()
        if path.name not in ("demo.py", "smollm2.py", "__pycache__")
    ]
    assert [path.name for path in (*docs, *examples) if path.resolve() not in linked] == []


def test_contributing_lists_existing_directories_and_modules():
    package = REPOSITORY / "src/megatron/bridge/release"
    tables = [line for line in (REPOSITORY / "CONTRIBUTING.md").read_text().splitlines() if line.startswith("|")]
    named = {name for line in tables for name in re.findall(r"`(\w[\w/]*(?:\.py|/))`", line)}
    assert [name for name in sorted(named) if not (package / name).exists() and not (REPOSITORY / name).exists()] == []
    assert {f"{path.parent.name}/" for path in package.glob("*/__init__.py")} <= named


def test_readme_has_at_most_150_lines():
    lines = (REPOSITORY / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert any("release=True" in line for line in lines[:30]) and any("demo.svg" in line for line in lines[:30])


def test_readme_error_messages_exist_in_sources():
    table = (REPOSITORY / "README.md").read_text().partition("## When something goes wrong")[2].partition("\n## ")[0]
    sources = "".join(path.read_text() for path in (REPOSITORY / "src").rglob("*.py"))
    messages = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+) \|", table, re.M)
    for message in [word for cell in messages for word in re.findall(r"`([^`]+)`", cell)]:
        assert message in sources, message


@pytest.mark.parametrize(("row", "model"), [("1 billion", "Llama 1B"), ("8 billion", "Llama 8B")])
def test_costs_in_the_readme_equal_the_benchmark(row, model):
    (measured,) = [
        one for one in json.loads((written_docs.DOCS / "performance.json").read_text()) if one["model"] == model
    ]
    ours, copy = measured["contenders"]["one rank"], measured["contenders"]["copy"]["seconds"]
    (line,) = [line for line in (REPOSITORY / "README.md").read_text().splitlines() if line.startswith(f"| {row} |")]
    seconds, of_copy = (float(number) for number in re.findall(r"([\d.]+) s\b", line))
    memory, size = (float(number) for number in re.findall(r"([\d.]+) (?:GiB|GB)", line))
    assert seconds == round(ours["seconds"]) and of_copy == pytest.approx(copy, abs=0.1)
    assert memory == round(ours["memory"] / 2**30, 1) and size == pytest.approx(measured["size"] / 1e9, rel=0.02)
