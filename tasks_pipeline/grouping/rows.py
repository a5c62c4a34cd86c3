"""Rows in messages: databases repeat values of the row that they refused. Constraint and columns are the problem, values are data.

Sources: the messages of PostgreSQL (and CockroachDB), MySQL and MariaDB, SQL Server, Oracle, MongoDB, H2, Firebird, Neo4j, Spanner, Snowflake
and Elasticsearch as their manuals and sources word them.
"""

from __future__ import annotations

import re

_ANY = r"[^\n]{0,500}"  # values; bounded, so that the time stays linear in the length of a text

_FORMS = (
    # PostgreSQL: Key (cart_id, sku)=(3, mug) already exists. In other languages only the brackets are the same.
    rf"(\)=\(){_ANY}?(?=\)[\"»]? (?:already exists|is not present|is still referenced|conflicts with|violates))",
    rf"(\)=\()(?!<values>\)){_ANY}(?=\))",
    rf"(\bFailing row contains \(){_ANY}?(?=\)\.?(?:\n|\Z))",
    rf"(\binvalid input (?:syntax|value) for [^:\n]{{1,80}}: \"){_ANY}?(?=\"(?:[\s,.;)]|\Z))",
    rf"(\b(?:field value out of range|malformed \w{{1,40}} literal): \"){_ANY}?(?=\"(?:[\s,.;)]|\Z))",
    # MySQL: Duplicate entry 'mug' for key 'cart.sku'; Incorrect integer value: 'x' for column 'sku' at row 1
    rf"(\bDuplicate entry \\?'){_ANY}?(?=\\?' for key )",
    rf"(\b(?:[Ii]ncorrect|[Tt]runcated) [\w ]{{0,40}}value: \\?'){_ANY}?(?=\\?'(?: for |[\s.,;)]|\Z))",
    # SQL Server: The duplicate key value is (3, mug). … converting the varchar value 'mug' to data type int.
    rf"(\bduplicate key value is \(){_ANY}?(?=\)\.?(?:[\s\"]|\Z))",
    rf"(\bconverting the [\w()]{{1,60}} value '){_ANY}?(?=' to )",
    # Oracle: row with column values (ID:1, NAME:'mug') already exists
    rf"(\bcolumn values \(){_ANY}?(?=\) already exists)",
    # MongoDB: E11000 duplicate key error collection: shop.carts index: sku_1 dup key: { sku: "mug" }
    rf"(\bdup key: \{{){_ANY}?(?=\}}(?:[\s,;.)\"']|\Z))",
    # H2: Unique index or primary key violation: "… ON PUBLIC.CART(SKU) VALUES ( /* 1 */ 'mug' )"
    rf"(\bVALUES ?\(){_ANY}?(?=\)[\";,]?(?:\s|\"|;|\Z))",
    rf"(\bProblematic key value is \(){_ANY}?(?=\)\.?(?:\s|\Z))",  # Firebird
    rf"(\bRow \[){_ANY}?(?=\] in table )",  # Spanner
    rf"(\bduplicate key: \[){_ANY}?(?=\](?:[\s,.;]|\Z))",
    rf"(\bNumeric value '){_ANY}?(?=' is not recognized)",  # Snowflake
    r"(\[)[^\[\]\n]{1,500}(?=\]: version conflict)",  # Elasticsearch
    rf"(\bNode\(\d{{1,20}}\) already exists with label \S{{1,100}} and property \S{{1,100}} = ){_ANY}",  # Neo4j
    # whichever was cut before its end
    r"(\)=\(|\bDuplicate entry \\?'|\bduplicate key value is \(|\bFailing row contains \(|\bdup key: \{)(?!<values>)"
    rf"{_ANY}(?=\.{{3}}\Z|\n|\Z)",
)
_PATTERNS = tuple(re.compile(form) for form in _FORMS)
_CANDIDATE = re.compile(
    r"\)=\(|\bFailing row |\binvalid input |\bDuplicate entry |\b(?:[Ii]ncorrect|[Tt]runcated) |\bduplicate key value is "
    r"|\bconverting the |\bcolumn values |\bdup key: |\bVALUES ?\(|\bProblematic key |\bNode\("
    r"|\bfield value out |\bmalformed |\bRow \[|\bduplicate key: \[|\bNumeric value |\]: version conflict"
)


def without_rows(text: str) -> str:
    """`text` with the values of rows that a database refused replaced by `<values>`."""
    if not _CANDIDATE.search(text):
        return text
    for pattern in _PATTERNS:
        text = pattern.sub(r"\1<values>", text)
    return text
