"""The methods that ship, one file each."""

__all__: list[str] = []
