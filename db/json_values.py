"""Single values of JSON columns in SQL, by keys that clients choose.

A key is always a bound parameter, never a path. SQLite's JSON paths cannot name a key that holds a quotation mark,
so the keys are compared one by one there.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

Column = InstrumentedAttribute[dict[str, Any]]


class text_in(FunctionElement[str]):
    """The text under a key of a JSON object; NULL if there is none."""

    type = sa.Text()
    inherit_cache = True

    def __init__(self, column: Column, key: str) -> None:
        super().__init__(column, sa.literal(key, sa.Text))


class number_in(FunctionElement[float]):
    """The number at `{key: {"value": number}}`; NULL if there is none.

    Words that stand for numbers which are not finite are no numbers: SQLite would take them for 0.
    """

    type = sa.Double()
    inherit_cache = True

    def __init__(self, column: Column, key: str) -> None:
        super().__init__(column, sa.literal(key, sa.Text))


def _parts(element: FunctionElement[Any], compiler: SQLCompiler, **kw: Any) -> tuple[str, str]:
    column, key = (compiler.process(clause, **kw) for clause in element.clauses)
    return column, key


@compiles(text_in, "postgresql")
def _text_postgresql(element: text_in, compiler: SQLCompiler, **kw: Any) -> str:
    column, key = _parts(element, compiler, **kw)
    return f"({column} ->> {key})"


@compiles(text_in, "sqlite")
def _text_sqlite(element: text_in, compiler: SQLCompiler, **kw: Any) -> str:
    column, key = _parts(element, compiler, **kw)
    return f"(SELECT value FROM json_each({column}) WHERE key = {key} AND type = 'text')"


@compiles(number_in, "postgresql")
def _number_postgresql(element: number_in, compiler: SQLCompiler, **kw: Any) -> str:
    column, key = _parts(element, compiler, **kw)
    value = f"({column} -> {key} -> 'value')"
    return f"(CASE jsonb_typeof{value} WHEN 'number' THEN {value}::double precision END)"


@compiles(number_in, "sqlite")
def _number_sqlite(element: number_in, compiler: SQLCompiler, **kw: Any) -> str:
    column, key = _parts(element, compiler, **kw)
    number = "CASE WHEN json_type(value, '$.value') IN ('integer', 'real') THEN json_extract(value, '$.value') END"
    return f"(SELECT CAST({number} AS REAL) FROM json_each({column}) WHERE key = {key})"
