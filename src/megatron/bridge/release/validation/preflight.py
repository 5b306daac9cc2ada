# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Checks everything that can be checked before an import starts its long work.

`check_input` imports neither torch nor Megatron Core: the command calls it before their slow imports, and passes the
result to `check_import`, which adds the checks that need transformers.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from megatron.bridge.release.compat.bridge_api import check_is_supported
from megatron.bridge.release.errors import one_line
from megatron.bridge.release.layout import DTYPES
from megatron.bridge.release.source.hub import find_hub_problem
from megatron.bridge.release.source.model_dir import check_free_space, inspect_model
from megatron.bridge.release.source.provenance import SourceModel
from megatron.bridge.release.source.safetensors_index import TensorInfo, require_matches
from megatron.bridge.release.validation.errors import (
    ConfigRejectedError,
    CustomCodeNotFoundError,
    CustomConfigCodeError,
    CustomModelCodeError,
    ListExpectedError,
    UnsupportedArchitectureError,
    UnsupportedDtypeError,
    UnsupportedKeywordError,
)
from megatron.bridge.release.validation.output_dir import (
    check_output_dir,
    check_trained,
    expand_output_dir,
    refuse_checkpoint,
)


# Keywords of `from_pretrained` that select files and loading. Others, such as config fields, would change the model.
_KEYWORDS = frozenset(
    {
        "attn_implementation",
        "cache_dir",
        "code_revision",
        "device_map",
        "dtype",
        "force_download",
        "local_files_only",
        "low_cpu_mem_usage",
        "revision",
        "token",
        "torch_dtype",
        "trust_remote_code",
    }
)


@dataclass(frozen=True)
class ImportInput:
    """The checked input of an import.

    Attributes:
        source: The model.
        config: Content of its config.json.
        headers: Headers of its tensors, by their names.
        output_dir: The checkpoint directory.
    """

    source: SourceModel
    config: Mapping[str, Any]
    headers: Mapping[str, TensorInfo]
    output_dir: str | Path


def check_input(
    hf_model: str | Path,
    output_dir: str | Path,
    *,
    overwrite: bool,
    allow_unused_tensors: Sequence[str] = (),
    keywords: Mapping[str, Any] = MappingProxyType({}),
) -> ImportInput:
    """Check the arguments of an import, the files of the model and the output directory; download a model of the Hub.

    Args:
        hf_model: Model ID, or directory of a model.
        output_dir: Checkpoint directory; it need not exist.
        overwrite: Whether to replace a release.
        allow_unused_tensors: Patterns of unused tensors to skip.
        keywords: Keywords of `from_pretrained`.

    Raises:
        ReleaseError: If the import cannot succeed.
        HubError: If the model cannot be downloaded.
    """
    check_lists(allow_unused_tensors=allow_unused_tensors)
    _check_keywords(keywords)
    output_dir = expand_output_dir(output_dir)
    check_output_dir(Path(output_dir), overwrite)
    source, config, headers = inspect_model(hf_model, keywords)
    if overwrite:
        check_trained(Path(output_dir), source)
    require_matches(allow_unused_tensors, headers)
    check_free_space(Path(output_dir), source.folder, headers)
    return ImportInput(source, config, headers, output_dir)


def check_import(
    hf_model: str | Path,
    output_dir: str | Path,
    *,
    overwrite: bool,
    allow_unused_tensors: Sequence[str] = (),
    keywords: Mapping[str, Any] = MappingProxyType({}),
    checked: ImportInput | None = None,
) -> ImportInput:
    """Check an import as `check_input`, and the architecture of the model. Collective.

    Rank 0 checks, since ranks may see different states of a shared filesystem. Every rank then checks the files of the
    model that it will read: a node may have its own cache, into which its first rank downloads the model.

    Args:
        checked: Result of `check_input` in this process, if it has been called.

    Raises:
        ReleaseError: If the import cannot succeed, on any rank.
        HubError: If the model cannot be downloaded.
    """
    # Imported here because they load torch.
    from megatron.bridge.release.compat.megatron_core_api import safe_get_rank
    from megatron.bridge.training.utils.collectives import on_rank_0, run_on_all_ranks

    def check() -> ImportInput:
        found = checked or check_input(
            hf_model, output_dir, overwrite=overwrite, allow_unused_tensors=allow_unused_tensors, keywords=keywords
        )
        check_object_store(found.output_dir, overwrite)
        _check_architecture(found.source.folder, found.config, keywords)
        return found

    found = on_rank_0(check)
    rank, seen = safe_get_rank(), dict(keywords)
    if found.source.commit is not None:
        seen |= {"revision": found.source.commit, "force_download": False}
        is_first = rank != 0 and int(os.environ.get("LOCAL_RANK", "0")) == 0
        run_on_all_ranks(lambda: inspect_model(hf_model, seen) if is_first else None)
        seen["local_files_only"] = True
    local = run_on_all_ranks(lambda: inspect_model(hf_model, seen) if rank else None)
    if local is None:
        return found
    source, _, headers = local
    return replace(found, source=replace(found.source, folder=source.folder), headers=headers)


def check_object_store(output_dir: str | Path, overwrite: bool) -> None:
    """Refuse an object store (MultiStorageClient) with a checkpoint that must not be replaced; ignore other outputs."""
    # Imported here because they load torch.
    from megatron.bridge.release.compat.megatron_core_api import MultiStorageClientFeature
    from megatron.bridge.training.utils.checkpoint_resolver import checkpoint_folders, tracker_text
    from megatron.bridge.training.utils.checkpoint_utils import (
        TRACKER_PREFIX,
        file_exists,
        get_checkpoint_tracker_filename,
        get_checkpoint_train_state_filename,
    )

    if not MultiStorageClientFeature.is_enabled():
        return
    tracker = get_checkpoint_tracker_filename(str(output_dir))
    refuse_checkpoint(
        Path(output_dir),
        checkpoint_folders(str(output_dir)),
        tracker_text(tracker) if file_exists(tracker) else None,
        file_exists(get_checkpoint_train_state_filename(str(output_dir), prefix=TRACKER_PREFIX)),
        overwrite,
    )


def local_keywords(source: SourceModel, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords for loading a model from its local directory, which has no revision."""
    if source.commit is None:
        return dict(keywords)
    return {name: value for name, value in keywords.items() if name not in ("force_download", "revision")}


def check_model(hf_model: str | Path, keywords: Mapping[str, Any] = MappingProxyType({})) -> SourceModel:
    """Find a Hugging Face model, and check that it can be imported.

    Raises:
        ReleaseError: If it is incomplete, or if its architecture is not supported.
        HubError: If it cannot be downloaded.
    """
    source, config, _ = inspect_model(hf_model, keywords)
    _check_architecture(source.folder, config, keywords)
    return source


def check_lists(**options: Any) -> None:
    """Raise `ListExpectedError` if the value of an option is not a list, such as a single string."""
    for name, value in options.items():
        if (
            isinstance(value, str)
            or not isinstance(value, Sequence)
            or not all(isinstance(item, str) for item in value)
        ):
            raise ListExpectedError(name, repr(value))


def _check_keywords(keywords: Mapping[str, Any]) -> None:
    if keywords.get("proxies") is not None:
        raise UnsupportedKeywordError(("proxies",))
    if unknown := sorted(keywords.keys() - _KEYWORDS):
        raise UnsupportedKeywordError(tuple(unknown))
    for name in ("dtype", "torch_dtype"):
        dtype = str(keywords.get(name) or "auto").removeprefix("torch.")
        if dtype not in ("auto", *DTYPES):
            raise UnsupportedDtypeError(dtype, name, DTYPES)


def _check_architecture(model: Path, values: Mapping[str, Any], keywords: Mapping[str, Any]) -> None:
    """Check that Megatron-Bridge supports the architecture that transformers derives from a config."""
    # Imported here because they are slow to import, and to avoid a circular import.
    from transformers import AutoConfig

    from megatron.bridge.models.conversion.auto_bridge import (  # type: ignore[attr-defined,unused-ignore]
        AutoBridge,
        PretrainedConfig,
    )
    from megatron.bridge.release.compat.transformers_api import CONFIG_MAPPING

    trust_remote_code = bool(keywords.get("trust_remote_code"))
    architectures, code = tuple(values["architectures"]), values.get("auto_map") or {}
    is_native = str(values.get("model_type")) in CONFIG_MAPPING
    # Bridge may know the custom class by its name.
    declared = PretrainedConfig(architectures=values["architectures"], auto_map=code)  # type: ignore[call-arg,unused-ignore]
    if not _has_bridge(AutoBridge, declared):
        if not (code and is_native):
            raise UnsupportedArchitectureError(model, architectures)
        native = PretrainedConfig(architectures=values["architectures"])  # type: ignore[call-arg,unused-ignore]
        if not _has_bridge(AutoBridge, native):
            raise UnsupportedArchitectureError(model, architectures)
        if trust_remote_code:
            raise CustomModelCodeError(model, tuple(map(str, code.values())), architectures)
    if "AutoConfig" in code:
        _check_config_code(model, str(code["AutoConfig"]), is_native, keywords)
    # The code may be in another repository.
    names = ("cache_dir", "code_revision", "local_files_only", "token")
    code_keywords = {name: keywords[name] for name in names if keywords.get(name) is not None}
    try:
        # Bridge would try four times, and report a network problem.
        config = AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code, **code_keywords)
    except Exception as error:
        # transformers and its validation raise errors of many types.
        raise ConfigRejectedError(model / "config.json", one_line(error)) from error
    if not _has_bridge(AutoBridge, config):
        raise UnsupportedArchitectureError(model, architectures)


def _check_config_code(model: Path, code: str, is_native: bool, keywords: Mapping[str, Any]) -> None:
    """Check that the custom code of a config is allowed to run if it is needed, and can be downloaded."""
    if not keywords.get("trust_remote_code"):
        if not is_native:
            raise CustomConfigCodeError(model, code)
        return
    repository, is_elsewhere, name = code.rpartition("--")
    hub_keywords = {**keywords, "revision": keywords.get("code_revision")}
    if is_elsewhere and (reason := find_hub_problem(repository, f"{name.split('.')[0]}.py", hub_keywords)):
        raise CustomCodeNotFoundError(model, repository, reason)


def _has_bridge(auto_bridge: Any, config: Any) -> bool:
    try:
        check_is_supported(auto_bridge, config)
    except ValueError:
        return False
    return True
