"""The files of the explorer's page: what they load, and the library that lies beside them."""

import hashlib
import re
from importlib import resources
from pathlib import Path

import pytest

PAGE = Path(str(resources.files("mt_pipeline"))) / "explorer" / "page"
OURS = sorted(path for path in PAGE.iterdir() if path.suffix == ".js" and path.name != "d3.min.js")

D3_VERSION = "7.9.2"
D3_SHA256 = "912111098ea99503a6f4967361d2bbdc9dbf58cf9c678c8e27e5b02d1a07f0c1"


def test_d3_is_the_released_file_with_its_licence() -> None:
    library = (PAGE / "d3.min.js").read_bytes()
    assert f"d3js.org v{D3_VERSION} " in library[:100].decode()
    assert hashlib.sha256(library).hexdigest() == D3_SHA256
    licence = (PAGE / "d3.LICENSE.txt").read_text()
    assert "Mike Bostock" in licence
    assert "Permission to use, copy, modify, and/or distribute this software" in licence


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_modules_load_only_modules_that_are_there(path: Path) -> None:
    loaded = re.findall(r'^import .* from "(.*)";$', path.read_text(), re.MULTILINE)
    assert len(loaded) == len(re.findall(r"^import\b", path.read_text(), re.MULTILINE))
    for module in loaded:
        assert module.startswith("/page/")
        assert (PAGE / module.removeprefix("/page/")).is_file()


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_text_never_becomes_markup_or_code(path: Path) -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function|\.html\("
    assert not re.search(forbidden, path.read_text())


def test_nothing_comes_from_elsewhere() -> None:
    for path in [*OURS, PAGE / "index.html", PAGE / "style.css"]:
        addresses = re.findall(r"(?:https?:)?//[a-z0-9-]+\.[a-z]+[^\s\"']*", path.read_text())
        assert set(addresses) <= {"http://www.w3.org/2000/svg"}, path.name


def test_no_style_or_script_is_inline() -> None:
    page = (PAGE / "index.html").read_text()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script>", page)
