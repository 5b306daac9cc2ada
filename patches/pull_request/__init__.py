# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The series as a pull request to upstream, and the checks that upstream would run on it."""
