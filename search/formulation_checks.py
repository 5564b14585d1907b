"""Checks a formulation that stands in a file: what `algorithms.engine.Formulation` is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from algorithms.precision import Precision
from search import spec_errors
from search.config import MOST_EVALUATION_EPISODES
from search.errors import UserError

Together = Annotated[int, Field(ge=1, le=MOST_EVALUATION_EPISODES)]


class FormulationFields(BaseModel):
    """The fields of a formulation with their ranges."""

    model_config = ConfigDict(extra="forbid", strict=True)

    chunk: Together
    compiled: bool = False
    together: Together = 1
    memory_mb: int | None = Field(default=None, ge=1, le=10**9)
    captured: bool = False
    precision: Precision = "float32"
    gpu_share: float | None = Field(default=None, gt=0, le=1)
    queries: Together | None = None


def check_formulation(where: str, value: Mapping[str, Any]) -> None:
    """Raise UserError with a line for each field that is unknown, missing or out of range.

    where: what each line begins with.
    """
    try:
        FormulationFields.model_validate(value)
    except ValidationError as error:
        lines = spec_errors.lines(error, FormulationFields)
        raise UserError("\n".join(f"{where}formulation.{line}" for line in lines)) from None
