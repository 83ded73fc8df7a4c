"""How a rule that joins several fields refuses a spec."""

from typing import Any

from pydantic_core import PydanticCustomError


def spec_error(
    code: str,
    pointer: str,
    message: str,
    *,
    allowed: Any = None,
    given: str | None = None,
    suggestion: str | None = None,
) -> PydanticCustomError:
    """The error to raise: it names the field (a JSON pointer), what is allowed, and the way out.

    `given` serves to suggest a near name and is never sent back; a `suggestion` is sent in place of that.
    """
    # pydantic puts the context's values where the template names them in braces; as its last one, the message
    # stays as it is, with whatever braces it has.
    context = {
        "pointer": pointer,
        "allowed": allowed,
        "given": given,
        "suggestion": suggestion,
        "message": message,
    }
    return PydanticCustomError(code, "{message}", context)
