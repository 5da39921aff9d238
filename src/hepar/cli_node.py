"""`hepar node`: the DICOM node. Translation only, as `hepar.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

node = typer.Typer(help="A DICOM node: takes in CT series, segments them, sends SEG and SR on. See docs.")
Config = Annotated[Path, typer.Option(help="Settings file of the node.")]


@node.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
    example_config: Annotated[bool, typer.Option("--example-config", help="Print one, explained, and stop.")] = False,
) -> None:
    """Run the node until it is stopped; kill it and it goes on where it was."""
    from hepar.errors import BadInput
    from hepar.service.console import say
    from hepar.service.node.node import Node
    from hepar.service.node.settings import example, read_settings

    if context.invoked_subcommand:
        return
    if example_config:
        typer.echo(example(), nl=False)
        return
    if config is None:
        raise BadInput("the node needs --config node.toml; `hepar node --example-config` prints one")
    settings = read_settings(config)
    ready = Node(settings)
    say(f"node {settings.node.ae_title} on {settings.node.bind} port {settings.node.port}; research use only")
    ready.run()


@node.command()
def status(config: Config) -> None:
    """Received series, jobs, results not yet delivered."""
    from hepar.service.console import say
    from hepar.service.node.overview import overview
    from hepar.service.node.settings import read_settings

    found = overview(read_settings(config))
    jobs = ", ".join(f"{count} {state}" for state, count in found.jobs.items() if count) or "none"
    say(f"series: {found.series}; jobs: {jobs}; results not delivered: {found.undelivered}")
    for key, why in found.failures.items():
        say(f"failed: series {key}: {why}")


@node.command()
def check(config: Config) -> None:
    """Try whether each destination answers (C-ECHO, or a DICOMweb query)."""
    from hepar.errors import SomeCasesFailed
    from hepar.service.console import say
    from hepar.service.node.overview import reach
    from hepar.service.node.settings import read_settings

    bad = 0
    for peer, why in reach(read_settings(config)):
        say(f"{peer.name}: {why or 'answers'}")
        bad += bool(why)
    if bad:
        raise SomeCasesFailed(f"{bad} of the node's peers cannot be reached, see above")


@node.command()
def again(config: Config) -> None:
    """Segment failed series anew, after the reason is gone."""
    from hepar.service.console import say
    from hepar.service.node.overview import again as make_again
    from hepar.service.node.settings import read_settings

    say(f"{make_again(read_settings(config))} failed jobs will be made anew")


@node.command()
def pull(
    url: Annotated[str, typer.Argument(help="DICOMweb address of the archive.")],
    study: Annotated[str, typer.Argument(help="StudyInstanceUID.")],
    series: Annotated[str | None, typer.Argument(help="SeriesInstanceUID; without, all CT series.")] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the slices.")] = Path("pulled"),
    token_file: Annotated[Path | None, typer.Option(help="File with a bearer token.")] = None,
    authority: Annotated[Path | None, typer.Option(help="Certificates to trust (PEM).")] = None,
) -> None:
    """Fetch CT series from an archive by DICOMweb, for `hepar segment`."""
    from hepar.service.console import say
    from hepar.service.node.pull import pull as fetch
    from hepar.service.node.settings import Peer

    archive = Peer("archive", url=url, token_file=token_file, authority=authority)
    say(f"{fetch(archive, study, series, out)} slices are in '{out.name}'")
