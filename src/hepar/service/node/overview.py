"""What a node's folder holds, and what an administrator does with it from outside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hepar.errors import HeparError
from hepar.service.jobs import JobQueue
from hepar.service.node import dimse, folders, web
from hepar.service.node.inbox import Inbox
from hepar.service.node.outbox import Outbox
from hepar.service.node.settings import NodeSettings, Peer

STATES = ("waiting", "running", "done", "failed", "cancelled")


@dataclass(frozen=True)
class Overview:
    """Series received, jobs by state, results not yet delivered, and why jobs failed (by their series' keys)."""

    series: int
    jobs: dict[str, int]
    undelivered: int
    failures: dict[str, str]


def overview(settings: NodeSettings) -> Overview:
    """While the node runs or not. Raises OutputError where its folder cannot be used."""
    places = folders.opened(settings.node.data)
    queue = JobQueue(places.queue)
    return Overview(
        len(Inbox(places, settings.limits).keys()),
        {state: queue.count(state) for state in STATES},
        len(Outbox(places).entries()),
        {str(job.facts.get("key")): job.error for job in queue.jobs("failed")},
    )


def again(settings: NodeSettings) -> int:
    """Forget failed jobs, so that the node makes them anew from the slices it still has; returns how many."""
    queue = JobQueue(folders.opened(settings.node.data).queue)
    failed = queue.jobs("failed")
    for job in failed:
        queue.remove(job.id)
    return len(failed)


def reach(settings: NodeSettings) -> Iterator[tuple[Peer, str]]:
    """Each destination, and the source, with what keeps it from being reached; empty where nothing does."""
    source = settings.completion.source
    for peer in (*settings.destination, *([source] if source else [])):
        try:
            if peer.url:
                web.reach(peer)
            else:
                dimse.echo(peer, settings.node.ae_title)
        except HeparError as error:
            yield peer, str(error)
        else:
            yield peer, ""
