"""The small arithmetic language in which equations state their terms.

`(max(sbp, 110) - 130) / 20` is read once with Python's own parser, checked against a closed list
of node types, and turned into nested functions over numpy arrays. Nothing else of Python is
reachable from it: no attributes, no calls but the functions named below, no strings.

An unknown value is NaN and stays NaN through arithmetic; a comparison with it is 0.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Environment = Mapping[str, Any]
Node = Callable[[Environment], Any]


class ExpressionError(ValueError):
    """An equation's folder uses something the language does not have."""


def _expit(x: FloatArray) -> FloatArray:
    # exp overflows to infinity for what is far below zero: the answer is then 0, as it should be.
    found = np.asarray(np.negative(x))
    np.exp(found, out=found)
    found += 1.0
    return np.asarray(np.divide(1.0, found, out=found))


def _known(x: FloatArray) -> FloatArray:
    return np.where(np.isnan(x), 0.0, 1.0)


def _unknown(x: FloatArray) -> FloatArray:
    return np.where(np.isnan(x), 1.0, 0.0)


def _default(x: FloatArray, other: FloatArray) -> FloatArray:
    return np.where(np.isnan(x), other, x)


_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "min": (2, np.minimum),
    "max": (2, np.maximum),
    "clip": (3, np.clip),
    "log": (1, np.log),
    "exp": (1, np.exp),
    "sqrt": (1, np.sqrt),
    "floor": (1, np.floor),
    "expit": (1, _expit),
    "known": (1, _known),
    "unknown": (1, _unknown),
    "default": (2, _default),
}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_INTO: dict[type[ast.operator], np.ufunc] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}


@dataclass(frozen=True)
class Expression:
    """A checked expression: its text, the names it reads, and how to compute it."""

    text: str
    names: frozenset[str]
    compute: Node
    last: "tuple[np.ufunc, Node, Node] | None" = None  # what is done last, and to what

    def __call__(self, environment: Environment) -> Any:
        return self.compute(environment)

    def into(self, environment: Environment, out: FloatArray) -> None:
        """The same, written into an array that is there: a large one costs much to come by."""
        if self.last is None:
            out[:] = self.compute(environment)
        else:
            function, left, right = self.last
            function(left(environment), right(environment), out=out)


def parse(text: str) -> Expression:
    """Check and compile one expression; raise ExpressionError for anything outside the language."""
    try:
        tree = ast.parse(str(text), mode="eval").body
        compute = _compile(tree, text)
    except ExpressionError:
        raise
    except (SyntaxError, ValueError, OverflowError, MemoryError, RecursionError) as error:
        raise ExpressionError(f"not an expression: {text!r}") from error
    return Expression(str(text), names_of(tree), compute, _last(tree, text))


def _last(tree: ast.AST, text: str) -> tuple[np.ufunc, Node, Node] | None:
    """The arithmetic that a whole expression ends with."""
    if isinstance(tree, ast.BinOp) and type(tree.op) in _INTO:
        return _INTO[type(tree.op)], _compile(tree.left, text), _compile(tree.right, text)
    return None


def names_of(tree: ast.AST) -> frozenset[str]:
    """The variable names a tree reads; function names are not variables."""
    functions = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    return frozenset(
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and id(node) not in functions
    )


def _compile(tree: ast.AST, text: str) -> Node:
    match tree:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return _constant(float(value))
        case ast.Name(id=name):
            return operator.itemgetter(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _negated(_compile(operand, text))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _applied(_BINARY[type(op)], _compile(left, text), _compile(right, text))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            return _compared(_COMPARE[type(op)], _compile(left, text), _compile(right, text))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            return _called(name, args, text)
    raise ExpressionError(f"{type(tree).__name__} is not part of the language, in {text!r}")


def _called(name: str, args: list[ast.expr], text: str) -> Node:
    arity, function = _FUNCTIONS[name]
    if len(args) != arity:
        raise ExpressionError(f"{name} takes {arity} arguments, in {text!r}")
    return _applied(function, *(_compile(argument, text) for argument in args))


def _constant(value: float) -> Node:
    return lambda _: value


def _negated(operand: Node) -> Node:
    return lambda environment: -operand(environment)


def _applied(function: Callable[..., Any], *operands: Node) -> Node:
    """Written out for one and two: nearly all have no more, and an equation has many."""
    if len(operands) == 1:
        (only,) = operands
        return lambda environment: function(only(environment))
    if len(operands) == 2:
        left, right = operands
        return lambda environment: function(left(environment), right(environment))
    return lambda environment: function(*(operand(environment) for operand in operands))


def _compared(function: Callable[[Any, Any], Any], left: Node, right: Node) -> Node:
    return lambda environment: np.asarray(
        function(left(environment), right(environment)), dtype=np.float64
    )
