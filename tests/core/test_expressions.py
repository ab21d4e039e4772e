"""The expressions that name services, and the regular expressions of configurations."""

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rover_core.errors import UsageError
from rover_core.expressions import MAX_RESULT, ExpressionError, Member, compile_filter, compile_template
from rover_core.patterns import compile_pattern

LABELS = {"app": "shop", "tier": "web"}


def label(subject: dict[str, str], keys: str, default: str) -> str:
    return next((subject[key] for key in keys.split(",") if key in subject), default)


VOCABULARY = {
    "Pod": {
        "Name": Member(lambda pod: pod["name"]),
        "LabelValue": Member(label, (str, str)),
        "HasContainer": Member(lambda pod, name: name in pod["containers"], (str,)),
        "Ready": Member(lambda pod: True),
    },
    "Finder": {"RegexMatchGroup": Member(lambda finder, number: finder[number], (int,))},
}
POD = {"name": "web-0", "containers": "nginx istio-proxy", **LABELS}
SUBJECTS = {"Pod": POD, "Finder": ("all", "first")}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("plain }} text", "plain }} text"),
        ("{{.Pod.Name}}", "web-0"),
        ("a-{{ .Pod.Name }}-{{.Finder.RegexMatchGroup 1}}", "a-web-0-first"),
        ('{{.Pod.LabelValue "service.istio.io/canonical-name,app" ""}}.{{.Pod.Name}}', "shop.web-0"),
        ('{{.Pod.LabelValue "none" "}} \\"x\\""}}', '}} "x"'),
        (r'{{"\tA\u00e9\101\\"}}', "\tAéA\\"),
        (r"{{`raw \n`}}", r"raw \n"),
        ("{{true}}{{12}}{{-3}}", "true12-3"),
        ("{{(eq 1 1)}}{{((.Pod.Name))}}", "trueweb-0"),
        ('{{eq .Pod.Name "web-0"}}', "true"),
        ('{{eq .Pod.Name "a" "web-0"}}', "true"),
        ('{{ne .Pod.Name "web-0"}}', "false"),
        ('{{and (eq 1 1) (not (eq .Pod.Name "x"))}}', "true"),
        ('{{or "" .Pod.Name}}{{and 0 .Pod.Name}}', "web-00"),
        ('{{or true (eq 1 "never evaluated")}}', "true"),
        ('{{equalsOrDefault "web-0" "main" .Pod.Name}}', "main"),
        ('{{equalsOrDefault "x" "main" .Pod.Name}}', "web-0"),
    ],
)
def test_expressions_mean_what_they_mean_in_go(text: str, value: str) -> None:
    """Broken: an existing configuration names services otherwise than it did."""
    assert compile_template(text, VOCABULARY, "service_name").render(SUBJECTS) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "{{.Pod.Nam}}",
            "character 3: there is no .Pod.Nam; known are .Pod.Name, .Pod.LabelValue, .Pod.HasContainer",
        ),
        ("{{.Pods.Name}}", "character 3: there is no .Pods; known are .Pod, .Finder"),
        ("{{.Pod}}", "character 3: there is no .Pod; known are .Pod.Name"),
        ("{{.Pod.Name.__class__}}", "there is no .Pod.Name.__class__; known are .Pod.Name"),
        ("{{len .Pod.Name}}", "there is no function len; known are and, eq, equalsOrDefault, ne, not, or"),
        ("{{.Pod.LabelValue}}", ".Pod.LabelValue takes a text and a text"),
        ("{{.Finder.RegexMatchGroup `1`}}", ".Finder.RegexMatchGroup takes a whole number"),
        ("{{.Pod.Name 1}}", ".Pod.Name takes no arguments"),
        ("{{eq 1}}", "eq takes 2 or more arguments"),
        ("{{not}}", "not takes 1 argument"),
        ("{{ne 1 2 3}}", "ne takes 2 arguments"),
        ("x {{.Pod.Name", "character 14: the closing }} is missing"),
        ("{{}}", "an expression is empty"),
        ("{{1 2}}", "1 takes no arguments"),
        ("{{(1) 2}}", "( takes no arguments"),
        ("{{.Pod.Name | not}}", "'| not}}' is not understood"),
        ("{{$x}}", "character 3: '$x}}' is not understood"),
        ('{{"\\q"}}', "an escape sequence that Go has not"),
        ("{{(eq 1 2 3}}", "}} is unexpected here"),
        ("{{)}}", "is unexpected here"),
        ("{{" + "(" * 40 + "1" + ")" * 40 + "}}", "nested more than 16 deep"),
        ("x" * 5000, "longer than 4096 characters"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_at_the_start(text: str, sentence: str) -> None:
    """Broken: a typo in a configuration is found only when the first process matches, or not at all."""
    with pytest.raises(ExpressionError) as caught:
        compile_template(text, VOCABULARY, "regex[0].service_name")
    assert str(caught.value).startswith("regex[0].service_name: ")
    assert sentence in str(caught.value)


def test_what_makes_no_sense_for_a_subject_is_an_error_too() -> None:
    """Broken: values of different types compare as unequal without a word, which Go refuses."""
    for text in ("{{eq .Pod.Name 1}}", "{{.Finder.RegexMatchGroup (or 0 .Pod.Name)}}"):
        template = compile_template(text, VOCABULARY, "key")
        with pytest.raises(ExpressionError, match=r"^key: .* at character 3: "):
            template.render(SUBJECTS)


def test_filters_are_expressions_without_braces() -> None:
    """Broken: Kubernetes analyzers cannot say which containers they mean."""
    assert compile_filter('.Pod.HasContainer "istio-proxy"', VOCABULARY, "filters[0]").test(SUBJECTS)
    assert not compile_filter('ne .Pod.Name "web-0"', VOCABULARY, "filters[0]").test(SUBJECTS)
    with pytest.raises(ExpressionError, match="gives 'web-0', not true or false"):
        compile_filter(".Pod.Name", VOCABULARY, "filters[0]").test(SUBJECTS)


def test_a_result_is_bounded() -> None:
    """Broken: a process that calls itself a megabyte fills the backend's names."""
    template = compile_template("{{.Pod.Name}}{{.Pod.Name}}", VOCABULARY, "key")
    assert len(template.render({"Pod": {"name": "x" * 10**6}})) == MAX_RESULT


@given(st.text(alphabet='{}().PodName"\\ eq1`|$é\n', max_size=60))
def test_any_text_is_an_expression_or_an_expression_error(text: str) -> None:
    """Broken: some configuration ends the agent with a traceback."""
    with suppress(ExpressionError):
        compile_template("{{" + text, VOCABULARY, "key").render(SUBJECTS)


def test_patterns_give_their_groups() -> None:
    """Broken: `.Finder.RegexMatchGroup 1` is another part of the command line."""
    pattern = compile_pattern(r"service-(\w+)(-x)?", "key")
    assert pattern.groups("run service-web") == ("service-web", "web", "")
    assert pattern.groups("nothing") is None
    assert pattern.matches("a service-b")
    assert pattern.matches("\ud800 service-c"), "half a pair of surrogates, as JSON may spell it"


@pytest.mark.parametrize("text", ["(", "(?=a)", r"(a)\1", "(a{1000}){1000}", "x" * 5000])
def test_what_is_no_pattern_is_one_sentence_with_its_key(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Broken: a traceback, lines of a C++ library on stderr, or no word of which key is meant."""
    with pytest.raises(UsageError, match=r"^regex\[0\]\.match_cmd: .*regular expression"):
        compile_pattern(text, "regex[0].match_cmd")
    assert capfd.readouterr().err == ""


def test_no_pattern_takes_exponential_time() -> None:
    """Broken: one expression of a configuration and one hostile command line hang the agent."""
    pattern, start_s = compile_pattern("^(a+)+$", "key"), time.process_time()
    assert not pattern.matches("a" * 100_000 + "b")
    assert time.process_time() - start_s < 5, "a backtracking engine takes longer than the universe is old"
