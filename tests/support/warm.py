"""What processes that die on purpose are forked from: all that each of them would import and compile anew, done once."""

from __future__ import annotations

import pandas  # noqa: F401  # pyarrow imports it with the first table made of rows
import pytest  # noqa: F401
from hypothesis import strategies  # noqa: F401

from tasks_pipeline.config import default_config
from tasks_pipeline.tools import Tools
from tests.support import crash  # noqa: F401

Tools(default_config("0" * 32)).of(0)  # our own rules are compiled here, and kept
