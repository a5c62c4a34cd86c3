"""Which keys and projects exist: the configuration as the receiver needs it, read again when its file changes."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from tasks_pipeline.config import Config, ConfigError, Key, Project
from tasks_pipeline.home import Home
from tasks_pipeline.protocol.auth import Credentials
from tasks_pipeline.receiver.answers import Refused

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Account:
    """A project and the key of it that a request used."""

    project: Project
    key: Key


class Accounts:
    """The configuration in force, with keys looked up by name. Raises ConfigError when it never could be used."""

    def __init__(self, home: Home) -> None:
        self._home = home
        found = home.config_in_force()
        self._mistakes = found.mistakes
        self._use(found.config)

    def find(self, credentials: Credentials, project_id: int | None) -> Account:
        """The account of a request to `project_id` (None: the key alone decides). Raises Refused (403)."""
        account = self._keys.get(credentials.public_key)
        if account is None:
            raise Refused(403, "unknown_key", "the key is not known here")
        for named in (project_id, credentials.project_id):
            if named is not None and named != account.project.id:
                raise Refused(403, "wrong_project", "the key does not belong to this project")
        if not account.key.enabled:
            raise Refused(403, "disabled_key", "the key is disabled")
        return account

    def reload_if_changed(self) -> None:
        """Read the file again when it changed. What is broken or gone is logged, and the old configuration stays."""
        try:
            found = self._home.config_in_force()
        except ConfigError as error:
            if str(error) != self._mistakes:
                self._mistakes = str(error)
                log.error("the configuration read before stays in force:\n%s", error)  # noqa: TRY400 - the message is whole
            return
        self._mistakes = found.mistakes
        if found.config is not self.config and not found.mistakes:
            self._use(found.config)
            log.info("%s changed and was read again", self._home.config_path)

    def _use(self, config: Config) -> None:
        self.config = config
        self._keys = {
            key.public_key: Account(project, key) for project in config.projects for key in project.keys
        }
