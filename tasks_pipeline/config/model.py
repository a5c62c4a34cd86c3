"""What every section of the configuration shares: the base model, and types used in several sections."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,49}$")]
PublicKey = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{4,64}$")]


MIB = 1024 * 1024


class Model(BaseModel):
    """Base of every section: unknown fields are mistakes, values are immutable."""

    model_config = ConfigDict(extra="forbid", frozen=True)
