"""AI4I 2020 in plain terms: its columns, and the three failure rules that follow from what is measured.

The rules are written once, on arrays, and serve the generator and the check of a file alike.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from werkbund.core.arrays import AnyArray, BoolArray, Float64Array

ROW, PRODUCT, TYPE = "UDI", "Product ID", "Type"
AIR, PROCESS = "Air temperature [K]", "Process temperature [K]"
SPEED, TORQUE, WEAR = "Rotational speed [rpm]", "Torque [Nm]", "Tool wear [min]"
LABEL = "Machine failure"
MODES = ("TWF", "HDF", "PWF", "OSF", "RNF")
COLUMNS = (ROW, PRODUCT, TYPE, AIR, PROCESS, SPEED, TORQUE, WEAR, LABEL, *MODES)

TYPES = ("L", "M", "H")
WEAR_STEPS = np.array([2, 3, 5])  # min that one product of each type adds to the tool's wear
OVERSTRAIN_LIMITS = np.array([11_000.0, 12_000.0, 13_000.0])  # min Nm, by type

MIN_TEMPERATURE_DIFFERENCE_K = 8.6
MIN_COOLING_SPEED_RPM = 1380
MIN_POWER_W, MAX_POWER_W = 3500.0, 9000.0


def heat_dissipation_failure(air: AnyArray, process: AnyArray, speed: AnyArray) -> BoolArray:
    """Say where process and air differ by less than 8.6 K at less than 1380 rpm: (rows,).

    The difference is taken in 64-bit floats, as the published file took it: in exact decimals 12 of its rows
    would differ.

    Parameters
    ----------
    air, process
        (rows,), float64, in K.
    speed
        (rows,), in rpm.
    """
    difference = process - air
    return np.asarray((difference < MIN_TEMPERATURE_DIFFERENCE_K) & (speed < MIN_COOLING_SPEED_RPM))


def power_w(torque: AnyArray, speed: AnyArray) -> Float64Array:
    """Return the mechanical power in W of a torque in Nm at a speed in rpm: (rows,)."""
    return np.asarray(torque * speed * (2.0 * np.pi / 60.0), dtype=np.float64)


def power_failure(torque: AnyArray, speed: AnyArray) -> BoolArray:
    """Say where the power lies below 3500 W or above 9000 W: (rows,)."""
    power = power_w(torque, speed)
    return np.asarray((power < MIN_POWER_W) | (power > MAX_POWER_W))


def overstrain_failure(wear: AnyArray, torque: AnyArray, limit: AnyArray) -> BoolArray:
    """Say where tool wear times torque exceeds the product type's limit, all in min Nm: (rows,)."""
    return np.asarray(wear * torque > limit)


def rule_flags(frame: pl.DataFrame) -> dict[str, BoolArray]:
    """Derive the failure modes HDF, PWF and OSF from a table's measured columns.

    On the published file these equal its flags in every row. A row that lacks a value, or whose type is none
    of L, M, H, breaks no rule that needs it.

    Returns
    -------
    flags
        (rows,) for each of the three modes.

    References
    ----------
    S. Matzka, "Explainable Artificial Intelligence for Predictive Maintenance Applications", AI4I 2020, pp.
    69-74.
    """
    air, process, speed, torque, wear = (
        frame[name].cast(pl.Float64).to_numpy() for name in (AIR, PROCESS, SPEED, TORQUE, WEAR)
    )
    limits = dict(zip(TYPES, OVERSTRAIN_LIMITS.tolist(), strict=True))
    limit = frame[TYPE].replace_strict(limits, default=None, return_dtype=pl.Float64).to_numpy()
    return {
        "HDF": heat_dissipation_failure(air, process, speed),
        "PWF": power_failure(torque, speed),
        "OSF": overstrain_failure(wear, torque, limit),
    }
