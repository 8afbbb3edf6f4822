"""A mypy plugin that checks whether the layers of a combinator fit together.

Enable it with `plugins = thinc.mypy` in mypy's configuration. It refines the return type
of calls to functions that are declared to return `Model[..., XY_YZ_OutT]` (each layer
takes what the one before gives, as in chain) or `Model[..., XY_XY_OutT]` (all layers take
the same and give the same, as in add and concatenate). This file is not used at run time.
"""
from itertools import pairwise
from typing import Callable, List, Optional, Tuple, Type, TypeGuard

from mypy.errorcodes import ErrorCode
from mypy.nodes import ARG_NAMED, ARG_OPT, ARG_POS, Decorator, Expression, FuncDef
from mypy.plugin import FunctionContext, Plugin
from mypy.subtypes import is_same_type, is_subtype
from mypy.types import CallableType, Instance, TypeVarType, get_proper_type
from mypy.types import Type as MypyType

MODEL = "thinc.model.Model"
IN_SEQUENCE = "thinc.types.XY_YZ_OutT"
SIDE_BY_SIDE = "thinc.types.XY_XY_OutT"
# Arguments that stand for one value each, unlike *args.
SINGLE = (ARG_POS, ARG_OPT, ARG_NAMED)

mismatch_input = ErrorCode("layer-mismatch-input", "Invalid layer input", "Thinc")
mismatch_output = ErrorCode("layer-mismatch-output", "Invalid layer output", "Thinc")

# A layer argument: where it stands, and what it takes and gives.
Layer = Tuple[Expression, MypyType, MypyType]


def plugin(version: str) -> Type[Plugin]:
    """What mypy calls, with its own version, to get the plugin."""
    return ThincPlugin


class ThincPlugin(Plugin):
    """Looks at every function call, and steps in for those of combinators."""

    def get_function_hook(
        self, fullname: str
    ) -> Optional[Callable[[FunctionContext], MypyType]]:
        symbol = self.lookup_fully_qualified(fullname)
        marker = _marker(symbol.node) if symbol is not None else None
        if marker == IN_SEQUENCE:
            return _check_sequence
        if marker == SIDE_BY_SIDE:
            return _check_side_by_side
        return None


def _marker(node: object) -> Optional[str]:
    """The full name of the type variable in `-> Model[..., TypeVar]`."""
    function = node.func if isinstance(node, Decorator) else node
    if not isinstance(function, FuncDef) or not isinstance(function.type, CallableType):
        return None
    returned = get_proper_type(function.type.ret_type)
    if not _is_model(returned):
        return None
    output = get_proper_type(returned.args[1])
    return output.fullname if isinstance(output, TypeVarType) else None


def _is_model(kind: MypyType) -> TypeGuard[Instance]:
    return isinstance(kind, Instance) and kind.type.fullname == MODEL and len(kind.args) == 2


def _layers(ctx: FunctionContext) -> Optional[List[Layer]]:
    """The arguments, if the call passes models of known types one by one."""
    layers: List[Layer] = []
    for kinds, types, expressions in zip(
        ctx.arg_kinds, ctx.arg_types, ctx.args, strict=True
    ):
        for kind, argument_type, expression in zip(kinds, types, expressions, strict=True):
            model = get_proper_type(argument_type)
            if kind not in SINGLE or not _is_model(model):
                return None
            layers.append((expression, model.args[0], model.args[1]))
    return layers or None


def _check_sequence(ctx: FunctionContext) -> MypyType:
    layers = _layers(ctx)
    if layers is None:
        return ctx.default_return_type
    for (place1, _, output1), (place2, input2, _) in pairwise(layers):
        if not is_subtype(output1, input2):
            ctx.api.fail(
                f"Layer outputs type ({output1}) but the next layer expects ({input2}) as an input",
                place1,
                code=mismatch_output,
            )
            ctx.api.fail(
                f"Layer input type ({input2}) is not compatible with output ({output1}) "
                f"from previous layer",
                place2,
                code=mismatch_input,
            )
    return _model_of(ctx, layers[0][1], layers[-1][2])


def _check_side_by_side(ctx: FunctionContext) -> MypyType:
    layers = _layers(ctx)
    if layers is None:
        return ctx.default_return_type
    for (place1, *ends1), (place2, *ends2) in pairwise(layers):
        codes = (("input", mismatch_input), ("output", mismatch_output))
        for (what, code), end1, end2 in zip(codes, ends1, ends2, strict=True):
            if not is_same_type(end1, end2):
                ctx.api.fail(
                    f"Layer {what} ({end1}) not compatible with next layer {what} ({end2})",
                    place1,
                    code=code,
                )
                ctx.api.fail(
                    f"Layer {what} ({end2}) not compatible with previous layer {what} ({end1})",
                    place2,
                    code=code,
                )
    return _model_of(ctx, layers[0][1], layers[0][2])


def _model_of(ctx: FunctionContext, input_type: MypyType, output_type: MypyType) -> MypyType:
    default = get_proper_type(ctx.default_return_type)
    if not isinstance(default, Instance) or not _is_model(default):
        return ctx.default_return_type
    return default.copy_modified(args=[input_type, output_type])
