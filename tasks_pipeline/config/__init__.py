"""The typed configuration file `tasks_pipeline.yaml`: one module per section, `loading.py` for the file.

Where things lie on disk is not configuration but `home.py`.
"""

from tasks_pipeline.config.document import Config, default_config
from tasks_pipeline.config.loading import config_schema, load_config, parse_config
from tasks_pipeline.config.mistake import ConfigError, Mistake, UnreadableConfig
from tasks_pipeline.config.projects import Category, Key, Organisation, Project, Quota
from tasks_pipeline.config.retention import ProjectRetention, Retention
from tasks_pipeline.config.service import Processing, Receiver

__all__ = [
    "Category",
    "Config",
    "ConfigError",
    "Key",
    "Mistake",
    "Organisation",
    "Processing",
    "Project",
    "ProjectRetention",
    "Quota",
    "Receiver",
    "Retention",
    "UnreadableConfig",
    "config_schema",
    "default_config",
    "load_config",
    "parse_config",
]
