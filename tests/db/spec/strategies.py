"""Random specs, drawn from the JSON schema of the job spec, so that nothing of it is left out."""

from typing import Any

from hypothesis import strategies as st

from db.spec.job import JobSpec

SCHEMA = JobSpec.model_json_schema()
#: Numbers that sizes are drawn from: those that fit one another, and some that fit nothing.
INTEGERS = (1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 22, 32, 50, 121, 1024, 65_536)
NUMBERS = (0.0, 0.1, 0.25, 0.5, 1.0, 3.0)


def values(schema: dict[str, Any], depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that a schema takes, small and mostly plausible."""
    if "$ref" in schema:
        return values(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], depth)
    if branches := schema.get("oneOf", schema.get("anyOf")):
        return st.one_of([values(branch, depth) for branch in branches if depth < 8 or "null" in str(branch)])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return _KINDS[schema["type"]](schema, depth)


def _integers(schema: dict[str, Any], depth: int) -> st.SearchStrategy[int]:
    least, most = schema.get("minimum", 1), schema.get("maximum", 10**9)
    return st.sampled_from([number for number in (0, *INTEGERS) if least <= number <= most])


def _numbers(schema: dict[str, Any], depth: int) -> st.SearchStrategy[float]:
    fitting = [
        number
        for number in NUMBERS
        if schema.get("minimum", 0) <= number <= schema.get("maximum", 9)
        and schema.get("exclusiveMinimum", -1) < number < schema.get("exclusiveMaximum", 9)
    ]
    return st.sampled_from(fitting)


def _arrays(schema: dict[str, Any], depth: int) -> st.SearchStrategy[list[Any]]:
    if "prefixItems" in schema:
        return st.tuples(*[values(item, depth + 1) for item in schema["prefixItems"]]).map(list)
    least = schema.get("minItems", 0)
    most = max(least, 4 if depth < 6 else 0)
    return st.lists(st.deferred(lambda: values(schema["items"], depth + 1)), min_size=least, max_size=most)


def _objects(schema: dict[str, Any], depth: int) -> st.SearchStrategy[dict[str, Any]]:
    needed = set(schema.get("required", ())) | {"name"}
    fields = {
        name: st.deferred(lambda inner=inner: values(inner, depth + 1))
        for name, inner in schema.get("properties", {}).items()
    }
    return st.fixed_dictionaries(
        {name: field for name, field in fields.items() if name in needed},
        optional={name: field for name, field in fields.items() if name not in needed},
    )


_KINDS = {
    "integer": _integers,
    "number": _numbers,
    "array": _arrays,
    "object": _objects,
    "boolean": lambda schema, depth: st.booleans(),
    "null": lambda schema, depth: st.none(),
    "string": lambda schema, depth: st.text(max_size=3),
}


def part(field: str) -> st.SearchStrategy[Any]:
    """What a field of the job spec takes."""
    return values(SCHEMA["properties"][field])


_CONVOLUTION = {"name": "conv", "channels": 8, "kernel": 3, "padding": 1}


@st.composite
def declared_networks(draw: st.DrawFn) -> dict[str, Any]:
    """Declared networks of which many fit together: random layers, then what makes vectors and classes of them."""
    layers = [_CONVOLUTION, *draw(st.lists(part_of_sequential(), max_size=4))]
    ending = draw(st.sampled_from([{"name": "flatten"}, {"name": "pool", "pool": "avg"}]))
    return {"name": "sequential", "layers": [*layers, {"name": "norm"}, ending, {"name": "linear", "units": 10}]}


def part_of_sequential() -> st.SearchStrategy[dict[str, Any]]:
    keeps_shape = st.sampled_from(
        [
            {"name": "norm"},
            {"name": "activation"},
            {"name": "dropout"},
            _CONVOLUTION,
            {"name": "residual", "layers": [{"name": "norm"}, _CONVOLUTION]},
        ]
    )
    return keeps_shape | values({"$ref": "#/$defs/ResidualLayer"}, 4) | values({"$ref": "#/$defs/PoolLayer"}, 4)


def specs() -> st.SearchStrategy[dict[str, Any]]:
    """Bodies of jobs: any network with any norm, some of which go together."""
    return st.fixed_dictionaries(
        {
            "dataset": st.fixed_dictionaries(
                {"name": st.sampled_from(["digits", "mnist", "cifar10"])},
                optional={"train_limit": st.integers(1, 70)},
            ),
            "architecture": part("architecture") | declared_networks(),
            "norm": part("norm"),
            "optimizer": part("optimizer"),
            "batch_size": st.sampled_from([1, 2, 3, 4, 5, 9, 16, 33, 64]),
            "steps": st.just(10),
        }
    )
