"""What schemathesis must not do: end or rotate its own key, erase its own tenant, and ask for an error of the server's by name."""

import schemathesis

NOBODYS = "key_" + "0" * 26


@schemathesis.hook
def before_call(context, case, *rest):
    # A deadline that has passed is 504, as the contract says.
    for name in [name for name in case.headers or {} if name.lower() == "x-request-timeout-ms"]:
        del case.headers[name]
    if case.operation.path.startswith("/v1/keys/{key}") and case.path_parameters:
        case.path_parameters["key"] = NOBODYS
    if case.operation.path == "/v1/erase" and isinstance(case.body, dict) and case.body.get("scope") == "tenant":
        case.body["scope"] = "nothing"


@schemathesis.serializer("application/x-ndjson")
def json_lines(context, value):
    """A string is lines as they are."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")
