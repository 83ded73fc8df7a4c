"""The worker process: `python -m worker`.

A module of this name, because a trainer process begins by importing its parent's main module again, and leaves out
one that is called `__main__`: nothing of Celery is imported in a trainer.
"""

import warnings

from celery.platforms import SecurityWarning

from db.logs import set_up_logging
from db.settings import WorkerSettings
from worker.queue import make_celery


def main() -> None:
    """Take jobs until a signal comes, `NORMLAB_CONCURRENCY` at a time."""
    settings = WorkerSettings()
    set_up_logging()
    # Celery warns of root because of pickled messages; this application takes JSON alone.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    arguments = ["worker", "--pool", "threads", "--concurrency", str(settings.concurrency)]
    alone = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    make_celery(settings).worker_main(["--quiet", *arguments, *alone])


if __name__ == "__main__":
    main()
