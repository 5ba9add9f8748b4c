"""Parameters in paths that stand beside words of their own."""

from starlette.convertors import StringConvertor, register_url_convertor


def parameter(name: str, *, but: str) -> str:
    """`{name}`, for any word but one: what is under that word is a path of its own, also for a method that it does not
    take, which is 405 there and not an unknown id here."""
    other = type("Other", (StringConvertor,), {"regex": rf"(?!{but}(?:/|$))[^/]+"})
    register_url_convertor(f"but_{but}", other())
    return f"{{{name}:but_{but}}}"
