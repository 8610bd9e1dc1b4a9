# SPDX-License-Identifier: MIT
"""usage: run.py [PART OF A TEST'S NAME | --write]     --write: guide.calls anew"""
import sys

import harness
import command_cases  # noqa: F401
import file_cases  # noqa: F401
import guide_cases
import hostile_cases  # noqa: F401
import param_cases  # noqa: F401
import secrets_cases  # noqa: F401
import unit_cases  # noqa: F401

if sys.argv[1:] == ["--write"]:
    guide_cases.write()
    sys.exit(0)
sys.exit(harness.main())
