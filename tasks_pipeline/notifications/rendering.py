"""Templates: mail as HTML and text. Those in `notifications.templates_dir` replace ours of the same name."""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import jinja2
import jinja2.sandbox

from tasks_pipeline.notifications.message import Message

log = logging.getLogger(__name__)
_OURS = Path(__file__).parent / "templates"


def render(name: str, message: Message, templates_dir: Path | None = None) -> str:
    """The text of a template for a message. A replacement that cannot be used is logged, and ours is taken: the message goes."""
    if templates_dir is not None and (templates_dir / name).exists():
        try:
            return environment(templates_dir).get_template(name).render(message=message)
        except (
            jinja2.TemplateError,
            OSError,
            TypeError,
            ValueError,
            ArithmeticError,
            LookupError,
            AttributeError,
        ):
            log.exception("template %s cannot be used, ours is taken", templates_dir / name)
    return environment(_OURS).get_template(name).render(message=message)


@functools.cache
def environment(folder: Path) -> jinja2.Environment:
    """Templates of a folder; whatever they show is escaped, but in those that end with .txt."""
    # In a sandbox, since templates of a folder may be written by others than those who run this.
    return jinja2.sandbox.SandboxedEnvironment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=lambda name: name is None or not name.endswith(".txt"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
