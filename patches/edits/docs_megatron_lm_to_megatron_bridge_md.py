# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's docs/megatron-lm-to-megatron-bridge.md, and the section that its mirror has, too."""

from patches.text_edit import AppendToSection, TextEdit


TARGET = "docs/megatron-lm-to-megatron-bridge.md"

TITLE = "# Megatron-LM to Megatron Bridge Guide"
_SECTION = """\
## Start Megatron-LM From a Hugging Face Model

An import writes the checkpoint that Megatron-LM fine-tunes from, with `release=True`:

```python
from megatron.bridge import AutoBridge

AutoBridge.import_ckpt("meta-llama/Llama-3.2-1B", "./checkpoint", release=True)
```

Give Megatron-LM the root with `--load ./checkpoint` and the model's flags; it starts at iteration 0, without optimizer or
RNG state. See [Checkpointing](training/checkpointing.md) for what a release checkpoint holds."""


def edits(heading: str) -> tuple[TextEdit, ...]:
    """Return the edit that adds the section at the end of the page, or of another heading's section."""
    return (
        TextEdit(
            "release",
            heading,
            "Who comes from Megatron-LM reads of it there.",
            "upstream's page has the section.",
            AppendToSection(heading, _SECTION),
        ),
    )


EDITS = edits(TITLE)
