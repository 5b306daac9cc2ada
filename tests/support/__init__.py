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

"""What tests share. pytest has this folder on its path: `from roots import contents`.

Comparing:

    expected_errors    errors and warnings by their classes and fields
    hf_logits          Hugging Face's own logits, and how near to them others must be
    hf_tensors         Hugging Face folders that must hold the same tensors, bit by bit
    installed          whether what is installed is what stands in src/
    memory             what a process has for itself
    roots              checkpoint roots as files: contents, stamps, shards, and the args that a release carries
    streamed           streamed releases, and what a save of the loaded model writes beside them
    tables             test results as the tables that stand in docs/, and its numbers of cases
    tp_layout          a rank's part of a Llama's parameters, by Megatron-LM's tensor- and pipeline-parallel layout

Making and spoiling:

    architectures      tiny versions of the configs of real models, of every architecture
    args_models        models whose arguments are asked for, and Megatron-LM's own parser of them
    attack             a pickle that runs a command where somebody unpickles it
    edit_snippets      the tests that each edit to upstream is put to, on a snippet
    faults             kills, errors and losses of power at every operation
    hub_server         a local server that speaks the Hugging Face Hub's protocol
    hook_states        roots as upstream and people's hooks leave them
    models             tiny random models of every family
    odd_models         models that are not what their config says
    releases           fixtures: tiny models that are imported once
    replacing          changes of the files of a small fork

Running others' code:

    attention_backend  lets models of several families be built in one process
    bridge_training    loads a checkpoint as Bridge's training does
    cpu_host           lets Megatron-LM, of any version, run on the CPU
    cpu_site           lets Megatron-LM's real scripts run on the CPU, in processes of torchrun
    megatron_lm        Megatron-LM's own argument parser, model builder and checkpoint loader
    model_record       records the model that Megatron-LM's script has loaded
    child_functions    functions that are called in a child process
    pretrain_gpt       stands for Megatron-LM's script of this name, with Megatron-LM's own `pretrain`
    real_megatron_lm   a script: tests a checkout of Megatron-LM
    stand_ins          lets this process build models from the stand-ins for CUDA packages
    training_runs      runs the commands that users copy, and compares what Megatron-LM has loaded
    transformer_engine_host  makes a process a host with CUDA and Transformer Engine, of its own Python sources
    upstream_import    a script: an import by unpatched upstream, on this host

Writing:

    message_texts      a script: the texts of all errors and warnings, in tests/unit/release/messages.txt
    written_docs       a script: what docs/ tells of the code

Running in processes of their own; see `workers` for how to add one:

    forked_ranks         ranks that are forked from one process
    hub_ranks_worker     imports a model of a local Hub on two ranks, in several ways
    killed_ranks_worker  imports on two ranks, one of which is killed
    matrix_worker        reads releases with another megatron-core, at every layout
    parallel_worker      what the tests do on two ranks
    parser_worker        asks the parser of another Megatron-LM for several command lines
    ranks_worker         imports on several numbers of ranks
    transformer_engine_worker  imports, exports and checks as on a host with CUDA and Transformer Engine
    warm                 runs Python programs in forks of a process that has imported Bridge, as if they were started
    warm_program         what stands on the PATH for each of them
    workers              starts a worker, and fails with what it said
"""
