import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from infscale.errors import SelectorError
from infscale.labels import Operator, Requirement, Selector, model_key, value_problem

LABELS = {"app": "vllm", "tier": "gold", "rank": "3", "example.com/pool": "chat", "empty": ""}


@pytest.mark.parametrize(
    ("text", "selected"),
    [
        ("", True),
        ("   ", True),
        ("app=vllm", True),
        ("app==vllm", True),
        ("app = vllm , tier = gold", True),
        ("app=vllm,tier=silver", False),
        ("app!=vllm", False),
        ("app!=other", True),
        ("missing!=other", True),
        ("app in (vllm,sglang)", True),
        ("app in ( sglang )", False),
        ("missing in (x)", False),
        ("app notin (vllm)", False),
        ("missing notin (x)", True),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("! app", False),
        ("empty=", True),
        ("empty=,app=vllm", True),
        ("missing=", False),
        ("empty in (,x)", True),
        ("empty in (x,)", True),
        ("empty in (,)", True),
        ("app in (x,,y)", False),
        ("rank>2", True),
        ("rank>3", False),
        ("rank<4", True),
        ("app>2", False),
        ("missing<4", False),
        ("example.com/pool=chat", True),
        ("app in(vllm)", True),
        ("\tapp\n=\rvllm ", True),
    ],
)
def test_text_selects(text: str, selected: bool) -> None:
    assert Selector.parse(text).matches(LABELS) is selected


def test_operator_words_can_be_keys_and_values() -> None:
    selector = Selector.parse("in in (notin),notin=in")
    assert selector.matches({"in": "notin", "notin": "in"})


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("b==2,a=1", "a=1,b=2"),
        ("x in (b, a,b)", "x in (a,b)"),
        ("x notin (a)", "x notin (a)"),
        ("!x", "!x"),
        (" x ", "x"),
        ("x>1,x<5", "x<5,x>1"),
        ("x=", "x="),
        ("", ""),
    ],
)
def test_canonical_text_is_sorted_and_tight(text: str, canonical: str) -> None:
    assert str(Selector.parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "position", "cause"),
    [
        (",a=b", 1, "'!' or a label key"),
        ("a=b,", 5, "'!' or a label key"),
        ("a=b c", 5, "',' or the end"),
        ("a b", 3, "one of =, ==, !="),
        ("a==b==c", 5, "',' or the end"),
        ("!a=b", 3, "',' or the end"),
        ("a in x", 6, "'('"),
        ("a in (x", 8, "',' or ')'"),
        ("a in (x y)", 9, "',' or ')'"),
        ("a in ()", 1, "at least one value"),
        ("a in", 5, "'('"),
        ("a=(b)", 3, "a value"),
        ("a=!b", 3, "a value"),
        ("!", 2, "a label key"),
        ("-a=b", 1, "a label name"),
        ("a=b,c=-d", 5, "a label value"),
        ("UPPER/a=b", 1, "DNS subdomain"),
        ("a/b/c=d", 1, "DNS subdomain"),
        ("/a=b", 1, "DNS subdomain"),
        ("a/=b", 1, "a label name"),
        ("a>x", 1, "64-bit integer"),
        ("a>9223372036854775808", 1, "64-bit integer"),
        (f"a={'b' * 64}", 1, "at most 63"),
        (f"{'a' * 64}=b", 1, "1 to 63"),
        ("a=ü", 1, "a label value"),
        ("a=b\n\x0b", 5, "',' or the end"),
    ],
)
def test_illegal_text_is_refused_with_position_and_cause(text: str, position: int, cause: str) -> None:
    with pytest.raises(SelectorError, match=rf"character {position}: .*{re.escape(cause)}"):
        Selector.parse(text)


def test_a_message_does_not_repeat_a_long_text() -> None:
    with pytest.raises(SelectorError) as caught:
        Selector.parse("a=" + "x" * 10_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("operator", "values"),
    [
        (Operator.EQUALS, ()),
        (Operator.EQUALS, ("a", "b")),
        (Operator.IN, ()),
        (Operator.EXISTS, ("a",)),
        (Operator.DOES_NOT_EXIST, ("a",)),
        (Operator.LESS_THAN, ("x",)),
    ],
)
def test_an_operator_takes_its_number_of_values(operator: Operator, values: tuple[str, ...]) -> None:
    with pytest.raises(SelectorError):
        Requirement("key", operator, values)


def test_a_label_selector_object_means_what_its_text_means() -> None:
    selector = Selector.from_label_selector(
        {"app": "vllm"},
        [
            ("tier", "In", ["gold", "silver"]),
            ("zone", "NotIn", ["a"]),
            ("rank", "Exists", []),
            ("old", "DoesNotExist", []),
        ],
    )
    assert selector == Selector.parse("app=vllm,!old,rank,tier in (silver,gold),zone notin (a)")


def test_match_labels_are_equalities() -> None:
    assert str(Selector.from_match_labels({"b": "2", "a": ""})) == "a=,b=2"


def test_an_unknown_expression_operator_is_refused() -> None:
    with pytest.raises(SelectorError, match="expected one of In, NotIn, Exists, DoesNotExist"):
        Selector.from_label_selector({}, [("a", "Gt", ["1"])])


names = st.from_regex(r"\A[A-Za-z0-9]([-A-Za-z0-9_.]{0,20}[A-Za-z0-9])?\Z")
keys = st.one_of(names, st.builds("{}/{}".format, st.from_regex(r"\A[a-z0-9]{1,5}(\.[a-z]{1,5})?\Z"), names))
values = st.one_of(st.just(""), names)


def requirement(key: str, operator: Operator, chosen: list[str], number: int) -> Requirement:
    """A legal requirement made of as much of the material as its operator takes."""
    match operator:
        case Operator.EXISTS | Operator.DOES_NOT_EXIST:
            return Requirement(key, operator)
        case Operator.IN | Operator.NOT_IN:
            return Requirement(key, operator, tuple(chosen))
        case Operator.GREATER_THAN | Operator.LESS_THAN:
            return Requirement(key, operator, (str(number),))
        case Operator.EQUALS | Operator.NOT_EQUALS:
            return Requirement(key, operator, (chosen[0],))


requirements = st.builds(
    requirement,
    keys,
    st.sampled_from(list(Operator)),
    st.lists(values, min_size=1, max_size=4),
    st.integers(0, 2**63 - 1),
)


@given(st.lists(requirements, max_size=4))
def test_canonical_text_parses_back_to_an_equal_selector(chosen: list[Requirement]) -> None:
    selector = Selector(tuple(chosen))
    assert Selector.parse(str(selector)) == selector


@given(st.text(max_size=30) | st.text("ab=!<>(), in\t", max_size=20))
def test_any_text_parses_or_raises_a_selector_error(text: str) -> None:
    try:
        selector = Selector.parse(text)
    except SelectorError:
        return
    assert Selector.parse(str(selector)) == selector


@given(requirements, st.dictionaries(keys, values, max_size=3))
def test_a_negated_requirement_selects_the_rest(chosen: Requirement, labels: dict[str, str]) -> None:
    opposite = {
        Operator.EQUALS: Operator.NOT_EQUALS,
        Operator.IN: Operator.NOT_IN,
        Operator.EXISTS: Operator.DOES_NOT_EXIST,
    }.get(chosen.operator)
    if opposite is not None:
        assert chosen.matches(labels) is not Requirement(chosen.key, opposite, chosen.values).matches(labels)


@pytest.mark.parametrize(
    ("model", "head"),
    [
        ("meta-llama/Llama-3.1-8B", "meta-llama-Llama-3.1-8B-"),
        ("/models/llama", "models-llama-"),
        ("ends-", "ends--"),
        ("a" * 64, "a" * 54 + "-"),
        ("///", ""),
    ],
)
def test_a_model_key_is_recognisable(model: str, head: str) -> None:
    assert re.fullmatch(re.escape(head) + "[0-9a-f]{8}", model_key(model))


def test_a_model_key_is_stable() -> None:
    assert model_key("meta-llama/Llama-3.1-8B") == "meta-llama-Llama-3.1-8B-ac8584a0"


models = st.text(max_size=100) | st.text("ab/-._", max_size=70)


@given(models)
def test_a_model_key_is_a_legal_label_value(model: str) -> None:
    assert value_problem(model_key(model)) is None


@given(values)
def test_a_legal_name_is_its_own_key(model: str) -> None:
    assume(not re.search("[0-9a-f]{8}$", model))
    assert model_key(model) == model


@pytest.mark.parametrize("model", ["llama", "gpt-4o-20240806", "20240806", "a-deadbeef0", "llama-3.1-8b-deadbee", ""])
def test_versions_and_dates_stay_their_own_keys(model: str) -> None:
    assert model_key(model) == model


@pytest.mark.parametrize("model", ["meta-llama/Llama-3.1-8B", "///", "a" * 64, "ends-", "org/gpt 4", "x/y", "名前"])
def test_no_name_is_the_key_of_another_one(model: str) -> None:
    """A model named after another's key does not get into what is counted of that."""
    key = model_key(model)
    assert model_key(key) != key
    assert model_key(model_key(key)) not in {key, model_key(key)}


@given(st.sets(models, max_size=10))
def test_distinct_models_have_distinct_keys(chosen: set[str]) -> None:
    assert len({model_key(model) for model in chosen}) == len(chosen)
