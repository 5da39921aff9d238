"""Jobs that survive a restart: a queue on disk, and a worker that goes through it."""

from hepar.service.jobs.queue import FINISHED, Job, JobQueue
from hepar.service.jobs.worker import Stopped, work_off

__all__ = ["FINISHED", "Job", "JobQueue", "Stopped", "work_off"]
