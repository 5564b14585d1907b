"""The table of faults: what goes wrong, for real, and what looks at the search afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults import clock, disks, hostile, nodes, processes, stores, together, trials
from tests.faults.audit import Audit
from tests.faults.setting import Setting


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong.

    run: raises NotAllowedError where this machine does not allow it.
    short: whether `make test` runs it, shortened; the whole table has it in any case.
    alike: whether shortened it is the same: it has neither counts nor times to shorten.
    postgres: whether it needs PostgreSQL's server.
    otherwise: the fault that `make test` runs in its place where this machine does not allow it.
    """

    run: Callable[[Setting], Audit]
    short: bool = True
    alike: bool = False
    postgres: bool = False
    otherwise: str | None = None


FAULTS = {
    # What `make test` runs in the place of the rows below that are not short.
    "on-one-machine": Fault(together.on_one_machine, alike=True, otherwise="on-any-machine"),
    "on-any-machine": Fault(together.on_any_machine, short=False, alike=True),
    "mlflow-in-trouble-and-gone": Fault(stores.mlflow_in_trouble_and_gone, alike=True),
    "cluster-in-network": Fault(
        nodes.cluster_in_network, alike=True, postgres=True, otherwise="cluster"
    ),
    "cluster": Fault(nodes.cluster, short=False, alike=True, postgres=True),
    # One by one.
    "driver-killed": Fault(processes.driver_killed, short=False),
    "trial-killed": Fault(processes.trial_killed, short=False),
    "worker-killed": Fault(nodes.worker_killed, short=False, alike=True, postgres=True),
    "worker-killed-in-network": Fault(
        nodes.worker_killed_in_network, short=False, alike=True, postgres=True
    ),
    "head-gone": Fault(nodes.head_gone, short=False, alike=True, postgres=True),
    "mlflow-in-trouble": Fault(stores.mlflow_in_trouble, short=False, alike=True),
    "mlflow-down": Fault(stores.mlflow_down, short=False),
    "mlflow-slow": Fault(stores.mlflow_slow, short=False, alike=True),
    "mlflow-broken": Fault(stores.mlflow_broken, short=False, alike=True),
    "mlflow-never-back": Fault(stores.mlflow_never_back, short=False, alike=True),
    "postgres-restarted": Fault(stores.postgres_restarted, short=False, postgres=True),
    "disk-full": Fault(disks.disk_full, short=False),
    "disk-full-for-long": Fault(disks.disk_full_for_long, short=False, alike=True),
    "disk-full-from-the-start": Fault(disks.disk_full_from_the_start, short=False, alike=True),
    "two-drivers": Fault(processes.two_drivers, short=False),
    "trial-hangs": Fault(trials.trial_hangs),
    "trial-cannot-end": Fault(trials.trial_cannot_end, short=False),
    "node-short-of-memory": Fault(trials.node_short_of_memory, alike=True),
    "trial-killed-by-the-kernel": Fault(trials.trial_killed_by_the_kernel, alike=True),
    "clock-set-back": Fault(clock.clock_set_back, short=False),
    "stopped-for-a-while": Fault(processes.stopped_for_a_while, short=False),
    "orphan-wakes-up": Fault(processes.orphan_wakes_up, short=False, alike=True),
    "files-cut-short": Fault(disks.files_cut_short, short=False, alike=True),
    "random-trouble": Fault(trials.random_trouble),
    # `make test` has these tests one by one.
    "hostile-input": Fault(hostile.hostile_input, short=False, alike=True),
}
