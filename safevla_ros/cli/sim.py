def sim() -> None:
    """x"""
