# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The text of a pull request, under the headings of upstream's template and with the labels that upstream asks for."""

from collections.abc import Sequence

from patches.series import Change


_TYPE_LABELS = {"fix": "bug", "docs": "docs", "ci": "ci"}


def pull_request_text(change: Change, earlier: Sequence[Change] = ()) -> str:
    """Return the text of a change's pull request, in Markdown.

    Args:
        change: The change; its title is ``type(scope): description`` with one of upstream's types and scopes.
        earlier: The changes before it, on which it builds.

    Returns:
        The text, whose first line is the title.
    """
    kind, _, scope = change.title.partition(":")[0].partition("(")
    labels = [_TYPE_LABELS.get(kind, "feature"), f"area:{scope.rstrip(')')}" if scope else "area:misc", "needs-review"]
    facts = {
        "Before": change.before,
        "After": change.after,
        "Tested": change.tested,
        "Not tested": change.untested,
        "Related to": ", ".join(change.closes),
        "Builds on": "; ".join(one.title for one in earlier),
        "Labels": ", ".join(labels),
    }
    lines = {name: f"- {name}: {' '.join(text.split())}" for name, text in facts.items() if text.strip()}
    sections = {
        "What does this PR do ?": [change.body.strip()],
        "Changelog": [lines[name] for name in ("Before", "After") if name in lines],
        "Pre checks": [lines[name] for name in ("Tested", "Not tested") if name in lines],
        "Additional Information": [lines[name] for name in ("Related to", "Builds on", "Labels") if name in lines],
    }
    texts = [f"# {title}\n\n" + "\n".join(text) + "\n" for title, text in sections.items() if text]
    return f"{change.title}\n\n" + "\n".join(texts)
