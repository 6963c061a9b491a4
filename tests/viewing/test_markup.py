"""Texts are escaped wherever they stand."""

from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from infscale.viewing.markup import document, element
from infscale.viewing.words import shown


class Read(HTMLParser):
    """The tags, attributes and texts of a document."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[str | None] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [value for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_becomes_an_element_or_an_attribute(text: str, attribute: str) -> None:
    found = Read(element("p", text, title=attribute).html)
    assert found.tags == ["p"]
    assert found.text == shown(text)
    assert [value.replace("\r\n", "\n").replace("\r", "\n") for value in found.attributes if value] == [
        each for each in [attribute.replace("\r\n", "\n").replace("\r", "\n")] if each
    ]


def test_attributes_are_named_as_in_html() -> None:
    made = element("td", "a", class_="number", aria_label="b")
    assert made.html == '<td class="number" aria-label="b">a</td>'
    assert element("input", name="x").html == '<input name="x">'


def test_a_document_is_utf_8_whatever_it_says() -> None:
    assert document(element("p", ["ä", "\ud800"])).decode().endswith("<p>ä�</p></html>\n")
