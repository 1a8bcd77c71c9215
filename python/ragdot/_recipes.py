"""How operands of a product are quantised: the named recipes, and the grids that each of the three products takes."""

from dataclasses import dataclass, replace

from ragdot import _abi
from ragdot._choices import integer_of, number_of
from ragdot._scaled import Block

_FORMATS = (None, "bf16", "e4m3", "e5m2")
_SCALE_FORMATS = ("f32", "bf16", "e8m0")


@dataclass(frozen=True)
class Recipe:
    """What happens to bfloat16 and float32 operands before they are multiplied.

    format: "e4m3" or "e5m2"; "bf16" rounds and quantises nothing; None leaves operands as they come.
    block: how many elements along the summed axis share a scale; None is the whole axis (within a group, where groups cut it).
    weight_block: how many columns of a weight share one as well; None is all of them.
    scaling: "absmax", "pow2" or "mx" (docs/quantisation.md). scale_format: "f32", "bf16", or for pow2 and mx "e8m0".
    gradient_format: that of the gradients that come in; None is format. Only where format quantises.

    Forward x [M, K] has blocks 1 x block and w [K, N] block x weight_block; the gradient of x takes dy [M, N] in 1 x block and w in
    weight_block x block; the gradient of w takes x and dy in block x 1, starting anew at each group's first row.
    """

    format: str | None = "e4m3"
    block: int | None = 128
    weight_block: int | None = 128
    scaling: str = "absmax"
    scale_format: str = "f32"
    gradient_format: str | None = None

    def __post_init__(self) -> None:
        for name, formats in (("format", _FORMATS), ("gradient_format", _FORMATS), ("scale_format", _SCALE_FORMATS)):
            if getattr(self, name) not in formats:
                raise ValueError(f"Recipe: {name} is {getattr(self, name)!r}; it must be one of {', '.join(map(str, formats))}")
        for name, extent in (("block", self.block), ("weight_block", self.weight_block)):
            if extent is not None and integer_of("Recipe", name, extent) < 1:
                raise ValueError(f"Recipe: {name} is {extent}; it must be 1 or more, or None for a whole axis")
        number_of("Recipe", "scaling", self.scaling, {name: code for name, code in _abi.RECIPES.items() if name != "fixed"})
        if self.scale_format == "e8m0" and self.scaling == "absmax":
            raise ValueError("Recipe: scale_format is 'e8m0' and scaling is 'absmax'; e8m0 takes scaling pow2 or mx")
        if not self.quantizes and self.gradient_format not in (None, self.format):
            raise ValueError(f"Recipe: gradient_format is {self.gradient_format!r} and format {self.format} quantises nothing; "
                             "leave gradient_format out")  # fmt: skip

    @property
    def quantizes(self) -> bool:
        """Whether operands get scales."""
        return self.format not in (None, "bf16")

    @property
    def rows(self) -> Block:
        """Grid of what is summed along its columns: x of the product, dy for the gradient of x."""
        return 1, self.block

    @property
    def columns(self) -> Block:
        """Grid of what is summed along its rows: x and dy for the gradient of w."""
        return self.block, 1

    @property
    def weights(self) -> Block:
        """Grid of [K, N] summed along K."""
        return self.block, self.weight_block

    @property
    def turned_weights(self) -> Block:
        """Grid of [K, N] summed along N."""
        return self.weight_block, self.block

    @property
    def one_copy(self) -> bool:
        """Whether one copy of a weight serves both directions."""
        return not self.quantizes or self.block == self.weight_block

    def for_gradients(self) -> "Recipe":
        """The same for what comes in backward."""
        if not self.quantizes or self.gradient_format is None:
            return self
        return replace(self, format=self.gradient_format, gradient_format=None)


AS_IT_COMES = Recipe(format=None)
RECIPES = {
    "bf16": Recipe(format="bf16"),
    "channelwise": Recipe(block=None, weight_block=1),
    "blockwise": Recipe(),
    "blockwise_e8m0": Recipe(scaling="pow2", scale_format="e8m0"),
    "mx": Recipe(block=32, weight_block=1, scaling="mx", scale_format="e8m0"),
}


def recipe_of(op: str, recipe: str | Recipe | None) -> Recipe:
    """The recipe of a name."""
    if recipe is None:
        return AS_IT_COMES
    if isinstance(recipe, Recipe):
        return recipe
    try:
        return RECIPES[recipe]
    except (KeyError, TypeError):
        raise ValueError(f"{op}: recipe is {recipe!r}; give a Recipe or one of {', '.join(RECIPES)}") from None
