"""What is said where the llm extra is not installed."""


def missing_extra(option: str) -> ImportError:
    """Build the error that says which option needs the extra."""
    return ImportError(f"{option} needs the llm extra. Run: pip install 'tsar[llm]'")
