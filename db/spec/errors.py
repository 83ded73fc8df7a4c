"""How a rule that joins several fields refuses a spec."""

from typing import Any

from pydantic_core import PydanticCustomError


def spec_error(
    code: str, pointer: str, message: str, *, allowed: Any = None, given: str | None = None
) -> PydanticCustomError:
    """The error to raise: it names the field (a JSON pointer), what is allowed, and the way out.

    `given` serves to suggest a near name and is never sent back.
    """
    context = {"pointer": pointer, "allowed": allowed, "given": given}
    # pydantic fills braces from the context: a message is plain text, so its braces are doubled.
    return PydanticCustomError(code, message.replace("{", "{{").replace("}", "}}"), context)
