"""Section `merging` of a project: when groups are alike enough to be proposed as one, or merged without asking."""

from __future__ import annotations

from pydantic import Field, model_validator

from tasks_pipeline.config.model import Model


class Merging(Model):
    """How alike groups must be, from 0 (nothing in common) to 1 (the same). What people took apart stays apart."""

    propose_above: float = Field(
        0.7, ge=0.5, le=1, description="Pairs at least so similar are proposed (`groups similar`)."
    )
    merge_above: float | None = Field(
        None, ge=0.5, le=1, description="Pairs at least so similar are merged every hour; none when absent."
    )

    @model_validator(mode="after")
    def _order(self) -> Merging:
        if self.merge_above is not None and self.merge_above < self.propose_above:
            raise ValueError(
                f"merge_above is {self.merge_above:g}, below propose_above ({self.propose_above:g}); "
                "allowed are propose_above and more"
            )
        return self
