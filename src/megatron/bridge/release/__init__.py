# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""Release checkpoints, from which Megatron-LM starts fine-tuning: import, check, launch, repair and export.

This package and its command start without torch. A folder imports only from those below it:

    cli             one module per command
    repair          converts a default import to a release, and completes a release
    verify          after the work: checks files (without torch), weights and logits
    export          exports a checkpoint as a Hugging Face model
    write           streams the weights, adds the other files, publishes the directory
    validation      before the work: checks the model, its tensors, config and tokenizer, and the output directory
    megatron_args   Megatron-LM's args of a model, their flags, and their comparison
    source          reads Hugging Face models, and records the source model of a release
    host            stand-ins for CUDA packages, and the child process that has them
    (top level)     the layout of a checkpoint directory and of a release, the manifest, the base of all errors
    compat          private and unstable API of the libraries, one module per library
"""
