# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Imports a Hugging Face model as a release, and saves the models of an `AutoBridge` as releases."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from megatron.bridge.release.host.child_process import run_in_child
from megatron.bridge.release.validation.fidelity import FidelityReport, check_fidelity
from megatron.bridge.release.validation.preflight import ImportInput, check_import, local_keywords
from megatron.bridge.release.validation.provider import check_provider_matches, config_of
from megatron.bridge.release.validation.tokenizer import tokenizer_keywords
from megatron.bridge.release.write.save import save_release
from megatron.bridge.release.write.streaming import streamed_model
from megatron.bridge.utils.host_compat import restore_model_values
from megatron.bridge.utils.single_process import conversion_process_group
from megatron.bridge.utils.te_requirements import has_transformer_engine


@conversion_process_group()
def import_model(
    auto_bridge: Any,
    hf_model: str | Path,
    output_dir: str | Path,
    *,
    overwrite: bool = False,
    allow_unused_tensors: Sequence[str] = (),
    allow_config_fields: Sequence[str] = (),
    keywords: Mapping[str, Any] = {},
    checked: ImportInput | None = None,
) -> None:
    """Import a Hugging Face model as a release. Collective.

    Args:
        auto_bridge: The class `AutoBridge`.
        hf_model: Model ID, or directory of a model.
        output_dir: The checkpoint directory.
        overwrite: Whether to replace a release that is in it.
        allow_unused_tensors: Patterns, as of `fnmatch`, of unused tensors to skip.
        allow_config_fields: Names of config fields to ignore.
        keywords: Keywords of `from_pretrained`.
        checked: Result of `check_input` in this process, if it has been called.

    Raises:
        ReleaseError: If the model cannot be imported; in general before anything is written.
        OSError: If a file cannot be read or written.
    """
    found = check_import(
        hf_model,
        output_dir,
        overwrite=overwrite,
        allow_unused_tensors=allow_unused_tensors,
        keywords=keywords,
        checked=checked,
    )
    if not has_transformer_engine():
        run_in_child(
            import_model,
            auto_bridge,
            hf_model,
            output_dir,
            overwrite=overwrite,
            allow_unused_tensors=allow_unused_tensors,
            allow_config_fields=allow_config_fields,
            keywords=keywords,
        )
        return
    source = found.source
    bridge = auto_bridge.from_hf_pretrained(source.folder, **local_keywords(source, keywords))
    bridge.source_model, bridge.hf_model_revision = source, source.commit
    tokenizer_kwargs = tokenizer_keywords(bridge)
    report = check_fidelity(
        bridge, allow_unused_tensors, allow_config_fields, source.folder, tokenizer_kwargs, found.headers
    )
    model = streamed_model(bridge, report)
    if model is None:
        model = bridge.to_megatron_model(wrap_with_ddp=False, use_cpu_initialization=True)
    _save(bridge, model, found.output_dir, overwrite, source.folder, tokenizer_kwargs, report)


def save_bridge_model(
    bridge: Any,
    model: list[Any],
    output_dir: str | Path,
    *,
    overwrite: bool = False,
    allow_unused_tensors: Sequence[str] = (),
    allow_config_fields: Sequence[str] = (),
    tokenizer_path: str | Path | None = None,
    tokenizer_kwargs: Mapping[str, Any] | None = None,
) -> None:
    """Save a Megatron model that the caller has built from an `AutoBridge` as a release. Collective.

    Args: as `import_model` and `save_release`.

    Raises:
        ReleaseError: If the release would not reproduce the Hugging Face model, or if the directory cannot be used.
        OSError: If a file cannot be read or written.
    """
    report = check_fidelity(bridge, allow_unused_tensors, allow_config_fields, tokenizer_path, tokenizer_kwargs)
    _save(bridge, model, output_dir, overwrite, tokenizer_path, tokenizer_kwargs, report)


def _save(
    bridge: Any,
    model: list[Any],
    output_dir: str | Path,
    overwrite: bool,
    tokenizer_path: str | Path | None,
    tokenizer_kwargs: Mapping[str, Any] | None,
    report: FidelityReport,
) -> None:
    check_provider_matches(bridge, restore_model_values(config_of(model)))
    save_release(
        model,
        output_dir,
        overwrite=overwrite,
        tokenizer_path=tokenizer_path,
        tokenizer_kwargs=tokenizer_kwargs,
        source_model=bridge.source_model,
        waived=report.waived,
    )
