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

"""Finds, before a conversion starts, what would stop it half-way."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from megatron.bridge.release.compat.bridge_api import check_is_supported
from megatron.bridge.release.compat.megatron_core_api import safe_get_rank
from megatron.bridge.release.errors import OptionError
from megatron.bridge.release.layout import DTYPES
from megatron.bridge.release.source.hub import find_hub_problem
from megatron.bridge.release.source.model_dir import check_free_space, inspect_model
from megatron.bridge.release.source.provenance import SourceModel
from megatron.bridge.training.utils.all_ranks import on_rank_0, together


# What says how a model is read. Others, such as the fields of a config, would say that it is another one.
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


class NeedsOwnCode(OptionError):
    """The config of a model is read by the model's own Python code, which the user has not let run."""


def check_import(
    hf_model_id: str | Path, megatron_path: str | Path, keywords: Mapping[str, Any] = MappingProxyType({})
) -> SourceModel:
    """Check what a user can get wrong of an import's model, before any weight is read and anything is written.

    A model of the Hub is downloaded, by one rank for each filesystem. Collective where torch.distributed is initialized:
    each rank checks the files that it sees, and the first error is raised on all of them.

    Args:
        hf_model_id: Hugging Face model ID, or local directory of a model.
        megatron_path: Checkpoint root to write.
        keywords: Other keywords of the import, which determine how the model is read.

    Returns:
        The model.

    Raises:
        ValueError: If a keyword would change the model; if ``hf_model_id`` is a directory that does not exist or does not
            contain an importable model; or if ``megatron_path`` has no room for it. One line, which says what to do.
        HubError: If the model cannot be downloaded.
    """
    if keywords.get("proxies") is not None:
        raise ValueError(
            "huggingface_hub takes no proxies from its caller. Set HTTPS_PROXY in the environment instead."
        )
    if unknown := sorted(keywords.keys() - _KEYWORDS):
        raise ValueError(
            f"release=True takes no {', '.join(unknown)}: a release is the model as its own files say. Leave it out, or write "
            "the model with it first (save_pretrained)."
        )

    for name in ("dtype", "torch_dtype"):
        dtype = str(keywords.get(name) or "auto").removeprefix("torch.")
        if dtype not in ("auto", *DTYPES):
            raise ValueError(f"Unsupported {name}: {dtype}. A release has one of {', '.join(DTYPES)}.")

    def check() -> SourceModel:
        model = check_model(hf_model_id, keywords)
        check_free_space(Path(megatron_path), model.folder)
        return model

    model = on_rank_0(check)
    seen = dict(keywords)
    if model.commit is not None:
        seen |= {"revision": model.commit, "force_download": False}
        # A node may have a cache of its own. Its other ranks find there what the first one downloads.
        first = int(os.environ.get("LOCAL_RANK", "0")) == 0 and safe_get_rank() != 0
        together(lambda: inspect_model(hf_model_id, seen) if first else None)
        seen["local_files_only"] = True
    folder = together(lambda: inspect_model(hf_model_id, seen)[0].folder if safe_get_rank() else model.folder)
    return replace(model, folder=folder)


def keywords_of_files(model: SourceModel, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords with which the files of a model are read, once they are on this host."""
    if model.commit is None:
        return dict(keywords)
    return {name: value for name, value in keywords.items() if name not in ("force_download", "revision")}


def check_model(hf_model_id: str | Path, keywords: Mapping[str, Any] = MappingProxyType({})) -> SourceModel:
    """Find a Hugging Face model, and check that it is one that can be imported.

    Args:
        hf_model_id: Hugging Face model ID, or local directory of a model.
        keywords: Keywords of `from_pretrained`.

    Returns:
        The model.

    Raises:
        ValueError: As `inspect_model`, or if the architecture is not supported.
    """
    model, config = inspect_model(hf_model_id, keywords)
    _check_architecture(model.folder, config, keywords)
    return model


def _check_architecture(model: Path, values: Mapping[str, Any], keywords: Mapping[str, Any]) -> None:
    """Check that Megatron-Bridge knows the architecture, by what it and transformers will make of the config."""
    # auto_bridge imports this module, and transformers is slow to import.
    from transformers import AutoConfig

    from megatron.bridge.models.conversion.auto_bridge import (  # type: ignore[attr-defined,unused-ignore]
        AutoBridge,
        PretrainedConfig,
    )
    from megatron.bridge.release.compat.transformers_api import CONFIG_MAPPING

    trust_remote_code = bool(keywords.get("trust_remote_code"))
    architectures, own_code = ", ".join(values["architectures"]), values.get("auto_map") or {}
    unsupported = (
        f"The architecture {architectures} of {model} is not supported. These are: python -c 'from megatron.bridge import "
        "AutoBridge; print(AutoBridge.list_supported_models())'"
    )
    # As its code names it, where that is run.
    named = _has_bridge(AutoBridge, PretrainedConfig(architectures=values["architectures"], auto_map=own_code))  # type: ignore[call-arg,unused-ignore]
    native = str(values.get("model_type")) in CONFIG_MAPPING
    if not named and not (own_code and native):
        raise ValueError(unsupported)
    if not named and trust_remote_code:
        raise ValueError(
            f"The Python code of {model} itself ({', '.join(map(str, own_code.values()))}) is not supported by "
            f"Megatron-Bridge. Leave trust_remote_code out to import the model as transformers' own {architectures}."
        )
    if "AutoConfig" in own_code:
        _check_config_code(model, str(own_code["AutoConfig"]), native, keywords)
    # For code of another repository.
    names = ("cache_dir", "code_revision", "local_files_only", "token")
    code_keywords = {name: keywords[name] for name in names if keywords.get(name) is not None}
    try:
        # Bridge tries four times, and then thinks of the network.
        config = AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code, **code_keywords)
    except Exception as error:
        # transformers and what it validates with raise many kinds.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"{model / 'config.json'} is not a valid config for transformers ({reason}). Correct the field."
        ) from error
    if not _has_bridge(AutoBridge, config):
        raise ValueError(unsupported)


def _check_config_code(model: Path, code: str, native: bool, keywords: Mapping[str, Any]) -> None:
    """Check that the Python code that reads a config may run where it is needed, and can be had."""
    if not keywords.get("trust_remote_code"):
        if not native:
            raise NeedsOwnCode(
                f"The config of {model} requires its own Python code ({code}).",
                "trust_remote_code",
                "Review the code, then pass {option} to run it.",
            )
        return
    repository, elsewhere, name = code.rpartition("--")
    asked = {**keywords, "revision": keywords.get("code_revision")}
    if elsewhere and (reason := find_hub_problem(repository, f"{name.split('.')[0]}.py", asked)):
        raise ValueError(
            f"The config of {model} requires Python code of {repository}, which cannot be downloaded "
            f"({reason}). Copy the code next to config.json, and remove '{repository}--' from the auto_map."
        )


def _has_bridge(auto_bridge: Any, config: Any) -> bool:
    try:
        check_is_supported(auto_bridge, config)
    except ValueError:
        return False
    return True
