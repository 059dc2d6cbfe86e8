"""Whether a recipe makes sense, said before anything is measured."""

from __future__ import annotations

from cgbpf.errors import BadRequest
from cgbpf.model import Recipe
from cgbpf.score import Score
from cgbpf.units import grouper

MAX_LIMIT = 100_000


def check_recipe(recipe: Recipe) -> Score:
    """The recipe's score. Raises BadRequest for what can't be ranked."""
    if not 1 <= recipe.limit <= MAX_LIMIT:
        raise BadRequest(
            f"--limit {recipe.limit} makes no sense", f"give a number from 1 to {MAX_LIMIT}"
        )
    grouper(recipe.level)
    return Score(recipe.score)
