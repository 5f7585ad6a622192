"""`admin_api/faults.py`: whatever the models and routes of REST can find wrong has a French sentence of its own. Which
error types those are is read off pydantic's own schemas; a kind of value that is new here has to be added first."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from admin_api.app import ROUTERS
from admin_api.faults import FRENCH, OURS
from tests.house.test_imports import ROOT

# A node of a schema > what it raises as such; a bound of it > what it raises then. As pydantic documents its errors.
RAISED: dict[str, tuple[str, ...]] = {
    "bool": ("bool_type", "bool_parsing"),
    "datetime": (
        "datetime_type", "datetime_parsing", "datetime_from_date_parsing", "datetime_object_invalid", "timezone_aware",
    ),
    "float": ("float_type",),
    "int": ("int_type", "int_parsing", "int_parsing_size", "int_from_float"),
    "is-instance": ("is_instance_of",),
    "list": ("list_type",),
    "literal": ("literal_error",),
    "model": ("model_type", "model_attributes_type"),
    "model-fields": ("missing", "extra_forbidden"),
    "str": ("string_type", "string_unicode"),
    # These raise nothing of their own: a function is one of our validators, whose faults are in OURS.
    **dict.fromkeys(
        ("default", "function-after", "function-before", "nullable", "lax-or-strict", "json-or-python", "union"), ()
    ),
    **dict.fromkeys(("no-info", "model-field"), ()),
}  # fmt: skip
BOUNDS: dict[tuple[str, str], str] = {
    ("float", "allow_inf_nan"): "finite_number",
    ("int", "ge"): "greater_than_equal",
    ("int", "le"): "less_than_equal",
    ("list", "max_length"): "too_long",
    ("list", "min_length"): "too_short",
    ("str", "max_length"): "string_too_long",
    ("str", "min_length"): "string_too_short",
    ("str", "pattern"): "string_pattern_mismatch",
}
# What may stand in a node and bounds nothing.
PLAIN = {
    "type", "schema", "fields", "items_schema", "choices", "cls", "function", "config", "metadata", "serialization",
    "ref", "strict", "default", "expected", "microseconds_precision", "tz_constraint", "json_schema", "python_schema",
    "lax_schema", "strict_schema", "custom_init", "root_model", "computed_fields", "model_name", "custom_error_type",
}  # fmt: skip
WITHOUT_NODES = {"config", "metadata", "serialization", "default", "expected", "cls"}


def nodes(schema: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(schema, Mapping):
        if isinstance(schema.get("type"), str):
            yield schema
        for name, value in schema.items():
            if name not in WITHOUT_NODES:
                yield from nodes(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from nodes(value)


def of_requests(dependant: Dependant) -> Iterator[Mapping[str, Any]]:
    for parameters in (
        dependant.path_params, dependant.query_params, dependant.header_params, dependant.cookie_params,
        dependant.body_params,
    ):  # fmt: skip
        for field in parameters:
            yield from nodes(field._type_adapter.core_schema)
    for inner in dependant.dependencies:
        yield from of_requests(inner)


def routes() -> list[APIRoute]:
    return [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]


@pytest.mark.parametrize("route", routes(), ids=lambda route: f"{min(route.methods)} {route.path}")
def test_whatever_a_route_can_find_wrong_has_a_french_sentence(route: APIRoute) -> None:
    for node in of_requests(route.dependant):
        kind = node["type"]
        assert kind in RAISED, f"a new kind of value: {kind}"
        bounds = {name for name in node if name not in PLAIN}
        assert bounds <= {bound for of, bound in BOUNDS if of == kind}, f"a new bound of {kind}: {sorted(bounds)}"
        raised = {*RAISED[kind], *(BOUNDS[kind, bound] for bound in bounds), "missing"}
        assert raised <= FRENCH.keys(), raised - FRENCH.keys()


def test_each_sentence_is_of_something_that_can_be_found_wrong() -> None:
    found = {node["type"] for route in routes() for node in of_requests(route.dependant)}
    assert found == RAISED.keys()
    assert FRENCH.keys() == {kind for kinds in RAISED.values() for kind in kinds} | set(BOUNDS.values())


def test_validators_name_what_they_find_and_nothing_is_named_that_none_finds() -> None:
    """A ValueError would be told in English alone."""
    named, raised = set(), set()
    for path in [ROOT / "admin_api" / name for name in ("schemas.py", "schemas_access.py", "schemas_queue.py")] + [
        *(ROOT / "admin_api/routes").glob("*.py")
    ]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id == "fault":
                    named.add(ast.literal_eval(node.args[0]))
                raised.add(node.func.id)
    assert named == OURS.keys()
    assert "ValueError" not in raised
    assert not OURS.keys() & FRENCH.keys()
