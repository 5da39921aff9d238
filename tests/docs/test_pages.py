"""Documentation that works as written: commands that exist, links that lead somewhere, tutorials that run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "docs").glob("[!m_]*/*.md")])
TUTORIALS = ROOT / "docs" / "tutorials"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def lines(page: Path) -> list[str]:
    """Lines of the page's shell blocks; continued ones are joined."""
    joined = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip()]


COMMANDS = [(page, line) for page in PAGES for line in lines(page) if line.startswith("hepar ")]


def test_there_are_pages_and_commands():
    assert len(PAGES) > 12 and len(COMMANDS) > 50


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{name_of(p)}-{k}" for k, (p, _) in enumerate(COMMANDS)])
def test_every_command_on_a_page_is_one_that_hepar_takes(page, line):
    """Parsed, not run: a renamed option or command is found here."""
    from hepar.cli import app

    words = shlex.split(line, comments=True)[1:]
    command = typer.main.get_command(app)
    context = command.make_context("hepar", list(words), resilient_parsing=False)
    while hasattr(command, "resolve_command"):
        rest = [*context._protected_args, *context.args]
        if not rest and command.invoke_without_command:
            return
        assert rest, f"'{line}' names no command"
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, found.make_context(name, list(rest), parent=context)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_to_a_file_leads_to_one(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http://", "https://", "#", "mailto:")):
            path = page.parent / target.partition("#")[0]
            # Method pages are made from the cards when the site is built.
            assert path.exists() or path.parent.name == "methods", f"{target} is not there"


def run(page: Path, hepar_command) -> list[str]:
    """Every line of the page's shell blocks, as written; what is not hepar's is done by hand."""
    done = []
    for line in lines(page):
        for part in line.split("&&"):
            words = shlex.split(part, comments=True)
            if words[0] == "mkdir":
                for folder in words[1:]:
                    Path(folder).mkdir()
            elif words[0] == "cp":
                Path(words[2]).write_bytes(Path(words[1]).read_bytes())
            elif words[0] == "hepar" and not any(word.isupper() for word in words):
                ended = hepar_command(*words[1:])
                assert ended.code == 0, f"{part}: {ended.err}"
                done.append(part)
    return done


def test_the_first_tutorial_works_as_written(tmp_path, monkeypatch, hepar_command):
    monkeypatch.chdir(tmp_path)
    page = TUTORIALS / "1_first_ct.md"
    assert len(run(page, hepar_command)) == 3
    told = re.findall(r"^\| `([^|]*)` \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    named = [name for cell in told for name in re.findall(r"[\w.]+\.\w+", cell)]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(named)
    (program,) = blocks(page, "python")
    exec(compile(program, page.name, "exec"), {})
    assert (tmp_path / "labels.nii.gz").read_bytes() == (tmp_path / "out" / "phantom_ct.nii.gz").read_bytes()
    assert len(list((tmp_path / "out_of_many").glob("*.nii.gz"))) == 2


def test_the_second_tutorial_works_as_written(tmp_path, monkeypatch, hepar_command):
    monkeypatch.chdir(tmp_path)
    assert len(run(TUTORIALS / "2_score_predictions.md", hepar_command)) == 4
    assert (tmp_path / "scores" / "scores.html").exists() and (tmp_path / "one.json").exists()
