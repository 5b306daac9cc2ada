# Copyright (c) 2026, NVIDIA CORPORATION.  All rights reserved.
# SPDX-License-Identifier: Apache-2.0

"""The command line. A module that needs torch is imported only when it is used, so that the other commands start at once."""
