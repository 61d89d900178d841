"""Pauses that Flower's functions take as defaults, and that the installed version still has."""

from __future__ import annotations

import inspect
from copy import deepcopy

from flwr.supercore.inflatable import inflatable_utils
from flwr.supernode import start_client_internal

from werkbund.flower.machine.patience import PAUSES, look_again_soon


def test_what_reads_messages_looks_again_soon() -> None:
    functions = (inflatable_utils.pull_objects, inflatable_utils.pull_and_inflate_object_from_tree)
    before = [deepcopy(function.__kwdefaults__) for function in functions]
    try:
        for function in functions:
            assert set(PAUSES) < set(inspect.signature(function).parameters)
            assert function.__kwdefaults__["initial_backoff"] == 1
        look_again_soon()
        assert start_client_internal.pull_objects.__kwdefaults__["initial_backoff"] == 0.02
        assert start_client_internal.pull_objects.__kwdefaults__["max_time"] == 7200
    finally:
        for function, defaults in zip(functions, before, strict=True):
            function.__kwdefaults__.update(defaults)
