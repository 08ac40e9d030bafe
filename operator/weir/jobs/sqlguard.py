"""SQL rules of a contract: one SELECT over the contract's own tables, and nothing that could reach anything else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlglot
from sqlglot import expressions as exp

from .outcome import Undecidable

MAX_QUERY = 10_000
PREFIX = "weir_table_"
"""Start of the names under which a guarded query reads the tables."""
VALUE = "value"
"""Name of the one column that a guarded query answers with."""

_COMPUTING = """
    regexp_full_match regexp_matches regexp_extract regexp_replace strftime strptime date_part datepart epoch epoch_ms
    to_timestamp to_date to_char to_number age isfinite isnan isinf len array_length cardinality list_contains
    list_distinct list_unique list_sum list_min list_max list_avg json_extract_string json_array_length json_type
    json_valid jsonb_array_length jsonb_typeof array_position strpos position_in trim_array bool_and bool_or every
    approx_distinct approx_count_distinct percentile_approx quantile_cont quantile_disc quantile mode median entropy
    kurtosis skewness corr covar_pop covar_samp regr_slope regr_r2 stddev_pop stddev_samp var_pop var_samp bit_length
    octet_length char_length character_length levenshtein jaccard damerau_levenshtein editdist3 hamming width_bucket
    trunc sign degrees radians gcd lcm even xor safe_cast try_cast safe_divide div0 nullifzero zeroifnull is_nan
    is_finite is_infinite now today format_date parse_date parse_timestamp date_format contains_substr
"""
"""Functions that the parser does not know by itself and that only compute: everything else unknown is refused."""
_FORBIDDEN = (
    exp.DDL,
    exp.DML,
    exp.Command,
    exp.Into,
    exp.Lock,
    exp.Parameter,
    exp.Placeholder,
    exp.SessionParameter,
    exp.Set,
    exp.Pragma,
    exp.Copy,
    exp.Attach,
    exp.Describe,
    exp.Use,
    exp.Hint,
    exp.Secret,
    exp.ToFile,
    exp.ObjectId,
    exp.NextValueFor,
    exp.Predict,
    exp.VectorSearch,
    exp.FeaturesAtTime,
    exp.SessionUser,
    exp.Columns,
)
_FORBIDDEN_NAMES = re.compile(r"^(AI|ML[A-Z]|Generate|Read|Current(?!(Date|Time|Timestamp|Datetime|Timezone)$))")
"""Expressions that ask a service or a model, make rows, read files, or tell who the session is."""
_BRACED = re.compile(r"[\"`]?\$?\{\s*(object|model|table|property|column|field)\s*\}[\"`]?")


@dataclass(frozen=True)
class Guarded:
    """A query that may be run.

    Its one column is named ``value``; ``tables`` are the contract's tables that it reads, each under its name after
    ``PREFIX``.
    """

    query: exp.Query
    tables: frozenset[str]


def filled(query: str, table: str, column: str, dialect: str) -> str:
    """The query with ``{object}`` and ``{property}`` as names in the quotes of the dialect.

    Raises:
        Undecidable: it names a property, and the rule belongs to none.
    """

    def name(match: re.Match[str]) -> str:
        value = column if match[1] in {"property", "column", "field"} else table
        if not value:
            raise Undecidable(f"the query says {{{match[1]}}}, but the rule belongs to no property")
        return exp.to_identifier(value, quoted=True).sql(dialect)

    return _BRACED.sub(name, query)


def guard(query: str, dialect: str, tables: Mapping[str, str]) -> Guarded:
    """The query, if it is one SELECT that reads only the contract's tables and only computes.

    Args:
        query: SQL in the engine's dialect.
        dialect: name of the dialect for sqlglot.
        tables: names that the query may use for tables, each with the contract's name of the table.

    Raises:
        Undecidable: it is anything else; the message says what.
    """
    if len(query) > MAX_QUERY:
        raise Undecidable(f"the query is longer than {MAX_QUERY} characters")
    try:
        statements = [statement for statement in sqlglot.parse(query, dialect=dialect) if statement is not None]
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        raise Undecidable("the query could not be parsed as SQL") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        raise Undecidable("a rule must be exactly one SELECT")
    statement = statements[0]
    for node in statement.walk():
        _permit(node)
    read = _read(statement, tables)
    _one_value(statement)
    return Guarded(statement, read)


def _permit(node: exp.Expr) -> None:
    if isinstance(node, _FORBIDDEN) or _FORBIDDEN_NAMES.match(type(node).__name__):
        raise Undecidable(f"{node.key.upper()} is not allowed in a rule: it must be a plain SELECT")
    if isinstance(node, exp.Anonymous | exp.AnonymousAggFunc):
        name = str(node.this).lower()
        if name not in _COMPUTING.split():
            raise Undecidable(f"the function {name[:60]} is not allowed in a rule")
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Func):
        raise Undecidable("functions of a schema or a package are not allowed in a rule")
    if isinstance(node, exp.With) and node.args.get("recursive"):
        raise Undecidable("RECURSIVE is not allowed in a rule: it need not end")


def _read(statement: exp.Query, tables: Mapping[str, str]) -> frozenset[str]:
    common = {str(cte.alias).lower() for cte in statement.find_all(exp.CTE)}
    known = {name.lower(): table for name, table in tables.items()}
    if common & set(known):
        raise Undecidable("WITH must not use the name of a table of the contract")
    read = set()
    for table in statement.find_all(exp.Table):
        if not isinstance(table.this, exp.Identifier):
            raise Undecidable("functions that make tables are not allowed in a rule")
        name = ".".join(part.name for part in table.parts)
        if name.lower() in common and len(table.parts) == 1:
            continue
        if name.lower() not in known:
            raise Undecidable(f"the query reads {name[:100]!r}, which is no table of the contract")
        extra = {key for key, value in table.args.items() if value} - {"this", "db", "catalog", "alias", "joins"}
        if extra:
            raise Undecidable(f"{', '.join(sorted(extra)).upper()} of a table is not allowed in a rule")
        read.add(known[name.lower()])
        alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.parts[-1].name, quoted=True))
        own = exp.to_identifier(PREFIX + known[name.lower()], quoted=True)
        table.replace(exp.Table(this=own, alias=alias, joins=table.args.get("joins")))
    return frozenset(read)


def _one_value(statement: exp.Query) -> None:
    first = statement
    while isinstance(first, exp.SetOperation | exp.Subquery):
        first = first.this
    projections = first.expressions
    if len(projections) != 1 or isinstance(projections[0], exp.Star) or projections[0].is_star:
        raise Undecidable("the query must answer with exactly one value: one column, not *")
    projections[0].replace(exp.alias_(projections[0].unalias(), VALUE, quoted=True))


def names(tables: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names for `guard`: every table by its name in the contract and by its physical one, with and without a schema."""
    known: dict[str, str] = {}
    for name, physical in tables:
        for alias in (name, physical, physical.split(".")[-1]):
            known.setdefault(alias, name)
    return known
