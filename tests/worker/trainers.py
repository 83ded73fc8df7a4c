"""Trainers without a training, in a module of their own: their processes begin with few imports."""

import os
import time

from worker.child import Orders
from worker.stop import Stop


def obey(pipe, stall_seconds) -> None:
    """Ask as a training loop does until it is told to stop; the exit code says what it was told."""
    orders = Orders(pipe, stall_seconds)
    while orders.stop is None:
        time.sleep(0.01)
    os._exit(10 + list(Stop).index(orders.stop))


def ignore(pipe, stall_seconds) -> None:
    """Ask and go on."""
    orders = Orders(pipe, stall_seconds)
    while True:
        _ = orders.stop
        time.sleep(0.01)


def stand_still(pipe, stall_seconds) -> None:
    """In the middle of a step that never ends."""
    Orders(pipe, stall_seconds)
    time.sleep(600)
