"""A page of HTML as the tests of the reports look at it."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, content):
        self.text += content

    def images(self):
        return [attributes for tag, attributes in self.tags if tag == "img"]
