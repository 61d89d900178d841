"""Processes on one machine: started, watched, ended; the app bundle; whether a server can be reached."""

__all__: list[str] = []
