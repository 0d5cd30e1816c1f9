"""HTML to text: what posts on Stack Exchange sites hold, and anything else without failing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_hf.corpus.readers.html import html_to_text

POST = """<p>Why does <code>x &lt; 1</code> hold,
with <em>no</em> <a href="https://e.org">proof</a>?</p>

<pre class="lang-py prettyprint-override"><code>if x &lt; 1:
    stop()

go()
</code></pre>

<p>See<br>below:<img src="i.png" alt="enter image description here"></p>
<ol>
<li>first
<ul>
<li>inner</li>
</ul></li>
<li><p>second</p></li>
</ol>
<blockquote>
  <p>10<sup>6</sup> of H<sub>2</sub>O &amp; caf&eacute;</p>
</blockquote>
<hr>
<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table>
"""
TEXT = """Why does `x < 1` hold, with no proof?

```
if x < 1:
    stop()

go()
```

See
below:

1. first

  - inner

2. second

10^6 of H_2O & café

a | b
1 | 2"""


def test_post_keeps_paragraphs_lists_and_code() -> None:
    """Blocks stand apart, code keeps its lines and indents, tags and links go."""
    assert html_to_text(POST) == TEXT


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("", ""),
        ("plain & simple", "plain & simple"),
        ("<p>a</p><p></p><p> b </p>", "a\n\nb"),
        ("<b>one</b> <i>two</i>", "one two"),
        ("<p>open <b>end", "open <b>end".replace("<b>", "")),
        ("<pre>open\n  end", "```\nopen\n  end\n```"),
        ("<table><tr>\n<td>a</td>\n<td>b</td>\n</tr></table>", "a | b"),
        ("<pre>a<br>b</pre>", "```\na\nb\n```"),
        ("<script>x()</script>after<style>p {}</style>", "after"),
        ("<!-- hidden -->seen", "seen"),
        ("a <![if x]> b", "a <![if x]> b"),
        ("</ul></pre></p>x", "x"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
    ],
)
def test_odd_html_is_read_as_well_as_it_goes(html: str, text: str) -> None:
    """Empty, unclosed, hidden and broken pieces leave the text that a reader would see."""
    assert html_to_text(html) == text


PIECES = st.sampled_from(
    [
        *("<p>", "</p>", "<pre>", "</pre>", "<code>", "<ol>", "<ul>", "</ul>", "<li>", "<td>", "<br/>", "<script>"),
        *("</script>", "<![", "<![CDATA[", "]]>", "<!--", "<!", "<?", "&", "&#0;", "&#x;", "<", ">", "/", " ", "\n"),
    ]
)


@given(st.lists(PIECES | st.text(max_size=5)).map("".join))
def test_nothing_makes_it_fail(html: str) -> None:
    """Whatever a post holds, text comes out, without blanks around it."""
    assert html_to_text(html).strip("\n ") == html_to_text(html)
