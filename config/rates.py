"""Rate limits as they are written in a setting."""


def check_rate(value: str) -> str:
    """The rate as it was given. Raises ValueError, which says how it is written."""
    if value == "0":
        return value
    from limits import parse_many  # 10 ms, and most commands are given no rate

    try:
        rates = parse_many(value)
    except ValueError:
        raise ValueError("it is written as in 200/second or 300/second;6000/minute, or 0 for no limit") from None
    if any(rate.amount < 1 or rate.get_expiry() < 1 for rate in rates):
        raise ValueError("the least is 1/second; 0 alone is no limit")
    return value
