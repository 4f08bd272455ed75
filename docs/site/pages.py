"""Pages of the site that have their source elsewhere: in the repository, or in the code itself."""

import posixpath
import re
from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from typer.cli import get_docs_for_click

from dyntransnet.cli import app

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "dyntransnet"

TAKEN = {
    "README.md": "index.md",
    "serving/README.md": "serving.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
}
"""Files of the repository, and the pages that they become."""

PAGES = {f"docs/{path.relative_to(ROOT / 'docs')}" for path in (ROOT / "docs").rglob("*.md")}

LINK = re.compile(r"(?<!!)\[([^]]+)\]\(([^)#\s:]+)(#[^)]*)?\)")
PICTURE = re.compile(r"!\[([^]]*)\]\(([^):\s]+)\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the folders of the navigation."""
    decisions = sorted(path.name for path in (ROOT / "docs/decisions").glob("0*.md"))
    folders = {
        "decisions/": ["decisions/README.md", *(f"decisions/{name}" for name in decisions)],
        "reference/": sorted(reference(), key=lambda page: (not page.endswith("index.md"), page)),
    }
    config.nav = [
        {title: folders.get(page, page) for title, page in entry.items()}
        for entry in config.nav or []
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add them."""
    made = {page: (ROOT / path).read_text() for path, page in TAKEN.items()}
    made["commands.md"] = commands()
    made |= reference()
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at pages; what the site does not have stays as words."""
    origin = {to: path for path, to in TAKEN.items()}.get(
        page.file.src_uri, f"docs/{page.file.src_uri}"
    )
    folder = posixpath.dirname(origin)
    here = posixpath.dirname(page.file.src_uri)

    def link(found: re.Match[str]) -> str:
        words, target, anchor = found[1], found[2], found[3] or ""
        path = posixpath.normpath(posixpath.join(folder, target))
        site = TAKEN.get(path) or (path.removeprefix("docs/") if path in PAGES else None)
        return f"[{words}]({posixpath.relpath(site, here or '.')}{anchor})" if site else words

    def picture(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, found[2])).removeprefix("docs/")
        return f"![{found[1]}]({posixpath.relpath(path, here or '.')})"

    return PICTURE.sub(picture, LINK.sub(link, markdown))


def commands() -> str:
    """Every command with its arguments, as ``--help`` tells them."""
    command = typer.main.get_command(app)
    for one in command.commands.values():  # else cut off after 45 letters in the list
        one.short_help = (one.help or "").splitlines()[0]
    with typer.Context(command, info_name="dyntransnet") as context:
        text = get_docs_for_click(obj=command, ctx=context, name="dyntransnet")
    return text.replace("# `dyntransnet`", "# Commands", 1)


def reference() -> dict[str, str]:
    """A page for each package, with all that is public in its modules."""
    folders = [PACKAGE, *sorted(path for path in PACKAGE.rglob("*") if path.is_dir())]
    pages, contents = {}, ["# Reference", "", "By package, from the docstrings.", ""]
    for folder in folders:
        modules = [path for path in sorted(folder.glob("*.py")) if not path.stem.startswith("__")]
        if modules:
            name = ".".join(folder.relative_to(PACKAGE.parent).parts)
            told = _first_line(folder / "__init__.py")
            lines = [f"# {name}", "", told, "", *(f"::: {name}.{path.stem}\n" for path in modules)]
            pages[f"reference/{name}.md"] = "\n".join(lines)
            contents.append(f"- [`{name}`]({name}.md): {told}")
    return pages | {"reference/index.md": "\n".join(contents) + "\n"}


def _first_line(path: Path) -> str:
    found = re.match(r'"""(.*?)("""|\n)', path.read_text()) if path.exists() else None
    return found[1] if found else ""
