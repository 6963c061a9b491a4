"""Templates say what Go's do, and what is not read of them is refused with its place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infscale.prometheus.rules.go_template import Arguments, GoTemplate
from infscale.prometheus.rules.go_values import TemplateError, go_quoted

ARGUMENTS: Arguments = {
    "Series": "foo",
    "LabelMatchers": 'a="b"',
    "LabelValuesByName": {"foo": "bar", "baz": ""},
    "GroupBy": "a,b",
    "GroupBySlice": ("a", "b"),
}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)", 'sum(foo{a="b"}) by (a,b)'),
        ("<<.LabelValuesByName>> <<.GroupBySlice>>", "map[baz: foo:bar] [a b]"),
        ('<<index .LabelValuesByName "foo">>|<<index .LabelValuesByName "none">>', "bar|"),
        ("<<.LabelValuesByName.foo>>", "bar"),
        ("<<index .GroupBySlice 1>>", "b"),
        ("<<range $i, $e := .GroupBySlice>><<if $i>>, <<end>><<$e>><<end>>", "a, b"),
        ("<<range .GroupBySlice>><<.>>;<<else>>none<<end>>", "a;b;"),
        ("<<range $k, $v := .LabelValuesByName>><<$k>>=<<$v>>;<<end>>", "baz=;foo=bar;"),
        ("a <<- .Series ->> b", "afoob"),
        ('<<printf "%s-%q" .Series "x\\"" | printf "%v!">>', 'foo-"x\\""!'),
        ("<<printf `%d%%` 5>>", "5%"),
        ("<<$x := 1>><<range .GroupBySlice>><<$x = 2>><<end>><<$x>>", "2"),
        ("<<$x := 1>><<range .GroupBySlice>><<$x := 2>><<end>><<$x>>", "1"),
        ('<<if eq .Series "foo" "x">>yes<<else if .GroupBy>>by<<else>>no<<end>>', "yes"),
        ('<<if and .GroupBy (not (eq .Series "foo"))>>yes<<else if .GroupBy>>by<<end>>', "by"),
        ("<<if lt 1 2>><<if ge 2 2>>ordered<<end>><<end>>", "ordered"),
        ("<<with .Series>><<.>> <<$.GroupBy>><<end>>", "foo a,b"),
        ("<<with $s := .Series>><<$s>><<end>>", "foo"),
        ("<</* nothing */>>x", "x"),
        ("<<len .GroupBySlice>><<print 1 2 .Series 3>>", "21 2foo3"),
        ('<<or "" .Series>>', "foo"),
        ("<<true>>", "true"),
    ],
)
def test_a_template_is_filled_as_in_go(template: str, expected: str) -> None:
    assert GoTemplate.parse(template).filled(ARGUMENTS) == expected


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("<<.Series", "character 1: << without >>"),
        ("x<<end>>", "character 4: end without a beginning"),
        ("<<if .Series>>x", "character 3: if without an end"),
        ("<<if>>x<<end>>", "if needs a value"),
        ("<<upper .Series>>", "there is no function upper"),
        ("<<template `x`>>", "template is not among what is read"),
        ("<<.Nope>>", "there is no field .Nope"),
        ("<<$x>>", "there is no variable $x"),
        ("<<.>>", "name the field that is meant"),
        ("<<index .Series 1>>", "index takes"),
        ("<<index .GroupBySlice 9>>", "outside the list"),
        ("<<printf `%x` 1>>", "printf knows"),
        ("<<printf `%s`>>", "no value for %s"),
        ("<<printf `x` 1>>", "more values"),
        ("<<range .Series>><<end>>", "range goes over"),
        ("<<eq 1 `x`>>", "eq compares"),
        ("<<.Series>>" + "<<if .Series>>" * 30 + "<<end>>" * 30, "nested too deeply"),
        ("<<(.Series>>", "( without )"),
        ("<<.Series | .GroupBy>>", "a pipe leads to a function"),
        ("<<>>", "an action without a value"),
        ("<<@>>", "cannot read"),
        ("x" * 20_000, "at most"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(template: str, problem: str) -> None:
    with pytest.raises(TemplateError) as refused:
        GoTemplate.parse(template).filled(ARGUMENTS)
    assert problem in str(refused.value)


def test_a_small_template_makes_no_endless_text() -> None:
    nested = "<<range $.Many>>" * 6 + "x" + "<<end>>" * 6
    with pytest.raises(TemplateError, match="steps"):
        GoTemplate.parse(nested).filled({"Many": tuple(map(str, range(50)))})


@given(st.text(alphabet=st.sampled_from('<>.- $x|()"`{}ifendrag:=,0')))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    try:
        GoTemplate.parse(text).filled(ARGUMENTS)
    except TemplateError:
        return


@given(st.text())
def test_a_quoted_text_is_one_line_that_ends_where_its_quotes_do(text: str) -> None:
    quoted = go_quoted(text)
    assert quoted.isprintable() or not text.isprintable()
    assert "\n" not in quoted
    assert quoted.startswith('"')
    assert quoted.endswith('"')
    inner = quoted[1:-1].replace("\\\\", "").replace('\\"', "")
    assert '"' not in inner
