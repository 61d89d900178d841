"""Libraries that tell their makers about their use are kept from it, in this process and in all that it starts.

They read these variables once, when they are first imported; so this comes before any of them.
"""

import os

SILENCE = {
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime: no connection, no device id in the user's cache
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
}
"""Variable -> the value that silences a library."""


def keep_silent() -> None:
    """Set the variables."""
    os.environ.update(SILENCE)
