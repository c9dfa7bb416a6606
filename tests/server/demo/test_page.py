"""The page as a browser would read it."""

import io
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from server.demo.page import Facts, Figure, Gallery, Reasons, Section, Shelf, Table, render

VOID = {"meta", "img", "br", "link"}
EVIL = "<b>\"Tom\" & 'Jerry'</b>"


class Reading(HTMLParser):
    """Which elements there are, with their attributes, and whether every one is closed in turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def picture(kind: str = "PNG", size: tuple[int, int] = (30, 20)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (200, 30, 40)).save(file, kind)
    return file.getvalue()


def section_of(name: str, *blocks, command: str = "") -> Section:
    return Section(name, name.title(), "Two short sentences.", blocks, "client.go()", command)


def test_each_job_has_a_section_and_a_link_to_it_in_order():
    names = ("first", "second", "third")
    read = Reading(render([section_of(name) for name in names], "footer"))
    assert [each["id"] for each in read.all("section")] == list(names)
    links = [each["href"] for each in read.all("a")]
    assert links == [f"#{name}" for name in names]


def test_every_picture_lies_beside_the_page_with_its_size_and_what_it_shows(tmp_path):
    shelf = Shelf(tmp_path / "images")
    first, second = shelf.put("a", picture(), "a jar"), shelf.put("b", picture("WEBP"), "a watch")
    blocks = (
        Gallery((first,), "Title", "Text."),
        Table((("", ""), ("head", "note")), ((("row",), second), (("none",), ("-", "small")))),
        Reasons("Why", (second,), "Because.", (("profile", 0.5),)),
    )
    read = Reading(render([section_of("job", *blocks)], ""))
    images = read.all("img")
    assert [image["src"] for image in images] == ["images/a.png", "images/b.webp", "images/b.webp"]
    for image in images:
        with Image.open(tmp_path / str(image["src"])) as opened:
            assert (str(opened.width), str(opened.height)) == (image["width"], image["height"])
    assert [image["alt"] for image in images] == ["a jar", "a watch", "a watch"]


def test_whatever_stands_in_a_text_is_text():
    figure = Figure("images/a.png", EVIL, 4, 4, EVIL, EVIL)
    blocks = (
        Gallery((figure,), EVIL, EVIL),
        Table(((EVIL, EVIL),), (((EVIL, EVIL),),), EVIL, EVIL),
        Facts(((EVIL, EVIL),)),
        Reasons(EVIL, (figure,), EVIL, ((EVIL, 0.1),)),
    )
    section = Section(EVIL, EVIL, EVIL, blocks, EVIL, EVIL)
    innocent = Section("x", "x", "x", (), "x", "x")
    read, plain = Reading(render([section], EVIL)), Reading(render([innocent], "x"))
    assert [each["alt"] for each in read.all("img")] == [EVIL, EVIL]
    assert read.words.count(EVIL) > 12
    num_bold = len(read.all("b")) - len(plain.all("b"))
    assert num_bold == 3, "titles of the two figures, and the number of the share"


def test_nothing_is_loaded_from_elsewhere():
    page = render([section_of("job", Gallery((Figure("images/a.png", "a", 4, 4),)))], "")
    assert "//" not in page
    read = Reading(page)
    assert not read.all("script") and not read.all("link")


def test_a_share_is_as_long_as_it_is_large_and_says_which_way_it_speaks():
    shares = (("profile", 0.25), ("click 1", -0.5), ("click 2", 1.75))
    read = Reading(render([section_of("job", Reasons("Why", (), "", shares))], ""))
    bars = [(each["class"], each["style"]) for each in read.all("i")]
    assert bars == [
        ("for", "--share:0.25"),
        ("against", "--share:0.50"),
        ("for", "--share:1.00"),
    ]
    assert [word for word in read.words if "%" in word][-3:] == ["+25%", "-50%", "+175%"]


def test_a_command_stands_beside_the_code_where_there_is_one():
    with_one = Reading(render([section_of("job", command="etalage slate")], ""))
    assert [each.get("class") for each in with_one.all("pre")] == [None, "command"]
    assert len(Reading(render([section_of("job")], "")).all("pre")) == 1


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("WEBP", ".webp"), ("JPEG", ".jpg")])
def test_a_file_is_named_by_its_kind_and_kept_as_it_is(tmp_path, kind, suffix):
    data = picture(kind, (31, 17))
    figure = Shelf(tmp_path / "new" / "shelf").put("name", data, "alt", "title", "note")
    assert figure == Figure(f"shelf/name{suffix}", "alt", 31, 17, "title", "note")
    assert Path(tmp_path / "new" / figure.path).read_bytes() == data
