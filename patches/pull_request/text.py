# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The text of a pull request."""

from patches.series import Change


def pull_request_text(change: Change) -> str:
    """Return the text of a change's pull request, in Markdown."""
    sections = {
        "What and why": change.body.strip(),
        "Closes": "\n".join(f"- {issue}" for issue in change.closes),
        "Before": change.before.strip(),
        "After": change.after.strip(),
        "Tested": change.tested.strip(),
        "Not tested": change.untested.strip(),
    }
    return f"# {change.title}\n\n" + "\n".join(f"## {title}\n\n{text}\n" for title, text in sections.items() if text)
