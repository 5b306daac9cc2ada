# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Release checkpoints: what Megatron-LM starts fine-tuning from, made from Hugging Face models.

This package and its command start without torch. Modules import only from those below them:

    cli             one module per command
    verify          after the work: files (without torch), weights, logits
    repair          makes a release of a default import, and repairs one that lacks files
    export          exports a checkpoint as a Hugging Face model
    write           streams the weights, adds the other files, publishes the directory
    validation      before the work: the model, its tensors, config and tokenizer, and the output directory
    megatron_args   Megatron-LM's args of a model: made, described as flags, compared
    source          reads Hugging Face models: a local directory, the Hub, safetensors files
    (top level)     the layout of a checkpoint directory and of a release, errors, commands
    compat          private and unstable API of the libraries, one module per library
"""
