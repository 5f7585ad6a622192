"""The OpenAPI description: what FastAPI reads off the routes, and what stands in no route: that each wants a bearer
token (RFC 6750), and that whatever is refused is told as a problem (RFC 9457), never in FastAPI's own shape."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from admin_api.problems import MEDIA_TYPE

SCHEME = {"type": "http", "scheme": "bearer", "description": "`beffroi admin add` prints it, once."}
FAULT = ("where", "code", "what", "what_en")
PROBLEM = {
    "title": "Problem",
    "description": "RFC 9457. `code` is stable, `detail` is French.",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "detail_en": {"type": "string"},
        "errors": {
            "description": "Of a request that is not as described here: where, and what is wrong, in French.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {name: {"type": "string"} for name in FAULT},
                "required": list(FAULT),
                "additionalProperties": False,
            },
        },
    },
    "required": ["type", "title", "status", "code", "detail", "detail_en"],
    "additionalProperties": False,
}
REFUSED = {
    "description": "Refused: 401 without a valid token, 403 for operators only, 404 for what is absent or another's, "
    "409 for what cannot be now, 413, 422 for a request that is not as described, 503 to try again.",
    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


class Described(FastAPI):
    """FastAPI keeps what `openapi` returns the first time, and leaves out its own 422 where a route has a default."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            made = super().openapi()
            components = made.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            schemas["Problem"] = PROBLEM
            components["securitySchemes"] = {"bearer": SCHEME}
            made["security"] = [{"bearer": []}]
        assert self.openapi_schema is not None
        return self.openapi_schema
