# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Errors of models on the Hugging Face Hub.

Importing this module imports neither torch nor Megatron Core.
"""

from dataclasses import dataclass

from megatron.bridge.release.errors import OptionFormat, ReleaseError


_LOG_IN = "Log in (hf auth login), or set HF_TOKEN"


@dataclass(eq=False)
class HubError(ReleaseError):
    """A model cannot be downloaded from the Hugging Face Hub.

    Attributes:
        model_id: Model ID.
        revision: Requested revision; None for the default branch.
    """

    model_id: str
    revision: str | None

    @property
    def model(self) -> str:
        """The model with its revision."""
        return f"{self.model_id} at revision {self.revision}" if self.revision else self.model_id


@dataclass(eq=False)
class ModelNotFoundError(HubError):
    """The Hub has no such model."""

    def text(self, option: OptionFormat) -> str:
        return (
            f"Model not found: {self.model_id} is neither a local directory nor on the Hugging Face Hub (404). Check the "
            "name."
        )


@dataclass(eq=False)
class RevisionNotFoundError(HubError):
    """The model has no such revision."""

    def text(self, option: OptionFormat) -> str:
        return (
            f"Revision not found: {self.model_id} has no revision {self.revision} (404). Pass a branch, a tag or a commit "
            f"hash of https://huggingface.co/{self.model_id}."
        )


@dataclass(eq=False)
class AuthenticationError(HubError):
    """The Hub requires a login."""

    def text(self, option: OptionFormat) -> str:
        return (
            f"The Hugging Face Hub requires a valid login for {self.model_id} (401): the model does not exist, is private, "
            f"or the token is invalid. Check the name. {_LOG_IN}."
        )


@dataclass(eq=False)
class GatedModelError(HubError):
    """The user has no access to the model."""

    def text(self, option: OptionFormat) -> str:
        return (
            f"No access to {self.model_id} (403). Request access at https://huggingface.co/{self.model_id}. {_LOG_IN} of an "
            "account that has access."
        )


@dataclass(eq=False)
class RateLimitError(HubError):
    """The Hub refuses further requests for some time."""

    def text(self, option: OptionFormat) -> str:
        return (
            f"Rate limit of the Hugging Face Hub exceeded for {self.model} (429). Wait, or pass a token: the limit is higher "
            "for users that are logged in."
        )


@dataclass(eq=False)
class UnreachableError(HubError):
    """The Hub did not answer, and the model is not in the cache."""

    reason: str

    def text(self, option: OptionFormat) -> str:
        return (
            f"The Hugging Face Hub cannot be reached ({self.reason}), and {self.model} is neither in the cache nor a local "
            "directory. Check the network and HTTPS_PROXY, or pass a local directory that exists."
        )


@dataclass(eq=False)
class NotCachedError(HubError):
    """The model is not in the cache, and requests are disabled."""

    def text(self, option: OptionFormat) -> str:
        return (
            f"Not in the cache, or incomplete: {self.model}, and requests are disabled (HF_HUB_OFFLINE or "
            "local_files_only). Download it on a host with network access, or pass a local directory."
        )


@dataclass(eq=False)
class NoSafetensorsError(HubError):
    """The model has no safetensors weights."""

    def text(self, option: OptionFormat) -> str:
        return (
            f"{self.model} has no safetensors weights on the Hugging Face Hub. Choose a revision that has them, or load the "
            "model with transformers and save it with save_pretrained()."
        )


@dataclass(eq=False)
class ModelChangedError(HubError):
    """The model changed on the Hub during the download."""

    def text(self, option: OptionFormat) -> str:
        return f"{self.model} changed on the Hugging Face Hub during the download. Run the command again."
