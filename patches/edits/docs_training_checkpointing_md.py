# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Edits to upstream's docs/training/checkpointing.md, and the paragraphs that its mirror has, too."""

from patches.text_edit import AppendToSection, TextEdit


TARGET = "docs/training/checkpointing.md"

_SECTION = """\
### Release Checkpoints

Megatron-LM starts fine-tuning from a *release checkpoint*: the folder `release/`, named by the tracker
`latest_checkpointed_iteration.txt` with the text `release`. An import writes one natively:

```python
AutoBridge.import_ckpt("meta-llama/Llama-3.2-1B", "./checkpoint", release=True)
```

Megatron-LM loads it with `--load ./checkpoint`, and Megatron Bridge with the same root: every reader that takes a
checkpoint root finds the checkpoint that its tracker names. Without `release=True`, an import writes `iter_0000000/` and
the tracker `0`, as before. From a shell: `scripts/conversion/convert.sh import --release`."""

PARAGRAPHS = {
    "args": """\
A release carries the `args` that Megatron-LM would have written for the model, for `--use-checkpoint-args`, and the
common state once more in `common.pt`, where Megatron-LM before core 0.19 looks for it.""",
    "flags": """\
`--use-checkpoint-args` restores a part of the model alone. `release/megatron_lm_args.txt` has the complete flags, one a
line; `release/integrity.json` is Megatron Core's manifest, for `--verify-integrity`; `release/source.json` records
the source model.""",
    "publishing": """\
A release is written into a staging folder of its root and published when it is complete: whatever stops the import, a
reader finds the old checkpoint or the new one. A root that holds a checkpoint is refused; `overwrite=True` replaces a
release when the new one is complete. This is not the `--overwrite` of `scripts/conversion`, which deletes its
destination first.""",
    "faithful": """\
A release is the Hugging Face model, all of it, or it is refused before any weight is read: a tensor that is missing,
unused or of another shape, a config field that Megatron-LM would not compute, a tokenizer that does not fit. To skip
tensors or ignore config fields, pass `allow_unused_tensors` and `allow_config_fields`.""",
    "hosts": """\
A conversion runs on hosts without CUDA and without Transformer Engine. What such a host writes describes the model, not
the host, and loads in models built with Transformer Engine.""",
    "tracker": """\
Where Megatron-LM has gone on training in a release's root, the text tracker decides which checkpoint Megatron Bridge
loads. A torn tracker, or one that names a missing folder, is an error.""",
    "streaming": """\
An import streams: each weight is read, converted and written when its turn comes, so that it takes the memory of a few
tensors. Under `torchrun`, each rank writes its share.""",
    "check": """\
From a shell, `python -m megatron.bridge.release import HF_MODEL ROOT` makes a release, checks it, and prints the command
that starts Megatron-LM; `export` goes back. `check ROOT` tells whether a release loads, in which readers, and how to start
from it; `repair` converts an import to a release without rewriting a tensor.""",
}


def edits(heading: str) -> tuple[TextEdit, ...]:
    """Return the edits: the section, and its paragraphs as the changes bring what they tell of."""
    why, drop_when = "Who uses it reads of it where upstream tells of checkpoints.", "upstream's page has the section."
    return (
        TextEdit("release", heading, why, drop_when, AppendToSection(heading, _SECTION)),
        *(
            TextEdit(name, "### Release Checkpoints", why, drop_when, AppendToSection("### Release Checkpoints", text))
            for name, text in PARAGRAPHS.items()
        ),
    )


EDITS = edits("## Checkpoint Format")
