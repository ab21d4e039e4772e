"""The flame graph page: complete in itself, safe against names, right in its numbers."""

import base64
import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pages import CHROMIUM, HOSTILE, Elements, data_of, in_browser

from rover_core.model import Completeness, Profile, SampleType
from rover_exporter_local.formats import FORMATS
from rover_exporter_local.formats.html import Html
from rover_exporter_local.tree import Kind


def page_of(profile: Profile) -> str:
    out = io.BytesIO()
    FORMATS["html"].write(profile, out)
    return out.getvalue().decode()


def test_hostile_names_stay_data(profile: Profile) -> None:
    """Broken: a symbol name in somebody's binary runs as script in the reader's browser."""
    attributes = {"host": HOSTILE, "probe": HOSTILE}
    evil = Profile(
        HOSTILE, HOSTILE, 0, 1, (SampleType(HOSTILE, HOSTILE),), profile.samples, Completeness(), 0, attributes
    )
    for page in (page_of(profile), page_of(evil)):
        elements = Elements(page)
        tags = [tag for tag, _ in elements.tags]
        assert tags.count("script") == 2
        assert "img" not in tags
        assert not any(name.startswith("on") for _, attributes in elements.tags for name in attributes)
        assert "<img" not in page
    assert any("onerror=alert(1)" in name for name in data_of(page_of(profile))["names"])


def test_page_needs_nothing_else(profile: Profile) -> None:
    """Broken: the page fetches something, or the policy forbids its own script or style."""
    page = page_of(profile)
    elements = Elements(page)
    for _, attributes in elements.tags:
        assert "src" not in attributes
        assert (attributes.get("href") or "data:").startswith("data:")
    policy = next(a["content"] or "" for _, a in elements.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    for tag in ("script", "style"):
        inline = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert len(inline) == 1
        digest = base64.b64encode(hashlib.sha256(inline[0].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_page_says_what_it_shows(profile: Profile) -> None:
    """Broken: nobody can tell which host, when, how, and how complete."""
    page = page_of(profile)
    for words in ("ON CPU on web-1", "one sample every 10 ms", "task task-1", "probe: cpu-clock", "15 s"):
        assert words in page
    assert "incomplete: 94.1 % of 17 samples kept; lost: 1 map full" in page


def test_words_and_palette_come_from_the_profile(profile: Profile) -> None:
    """Broken: an off-CPU graph that speaks of CPU samples."""
    types = (SampleType("delay", "nanoseconds"),)
    waiting = Profile("t", "OFF_CPU", 0, 1, types, profile.samples, profile.completeness)
    data = data_of(page_of(waiting))
    assert (data["type"], data["unit"], data["palette"], data["period"]) == ("delay", "nanoseconds", "cool", 0)
    assert "every event" in page_of(waiting)
    assert "OFF CPU on" in page_of(waiting)
    assets = Path(__file__).parent.parent / "rover_exporter_local" / "assets"
    assert not any(re.search(r"cpu", each.read_text(), re.IGNORECASE) for each in assets.iterdir())


def test_marks_are_boxes_of_their_own_kind(waiting: Profile) -> None:
    """Broken: `[preempted]` is drawn as if it were a function."""
    data = data_of(page_of(waiting))
    kinds = {name for name, kind in zip(data["names"], data["kinds"], strict=True) if kind == Kind.MARK}
    assert kinds == {"[preempted]", "[still waiting]"}
    assert "mark:state" not in page_of(waiting)
    assert "No waits." in page_of(replace(waiting, samples=()))


def together(*profiles: Profile) -> str:
    out = io.BytesIO()
    Html().write_together(profiles, out)
    return out.getvalue().decode()


def test_profiles_together_are_one_safe_page(profile: Profile, waiting: Profile) -> None:
    """Broken: two profiles share identifiers, a name runs as script, or the page fetches something."""
    page = together(profile, replace(waiting, profiler=HOSTILE, task_id=HOSTILE))
    elements = Elements(page)
    identifiers = [attributes["id"] for _, attributes in elements.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    for _, attributes in elements.tags:
        for name in ("aria-controls", "aria-labelledby", "for"):
            assert attributes.get(name, identifiers[0]) in identifiers
        assert "src" not in attributes
        assert not any(name.startswith("on") for name in attributes)
    assert [tag for tag, _ in elements.tags].count("script") == 3
    assert "<img" not in page
    assert identifiers.count("search") == 1


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_one_search_drives_both_and_each_has_its_view(profile: Profile, waiting: Profile, tmp_path: Path) -> None:
    """Broken: the second profile is not drawn, not searched, or follows the first one's view."""
    shown = in_browser(together(profile, waiting), "search=vfs_read&view2=functions&zoom=shop", tmp_path)
    assert ">50.0 % matched<" in shown
    assert ">1 of 6 functions<" in shown
    assert 'id="tab-functions-2" data-view="functions" aria-controls="functions-2" aria-selected="true"' in shown
    assert "2.25 ms" not in shown
    assert '<span class="amount">1.50 ms</span>16.7 %' in shown


def test_numbers(profile: Profile) -> None:
    """Broken: values in the page differ from the profile's."""
    data = data_of(page_of(profile))
    assert len(data["levels"]) == len(data["nodes"]) == len(data["own"])
    assert sum(data["own"]) == 16
    assert data["names"][data["nodes"][0]] == "all"
    assert data["processes"][str(data["names"].index("shop"))] == "2 processes: pid 10, 11"
    assert "évil\\udcff.so" in data["modules"], "half a surrogate pair crashes browsers that print the page"
    assert data["hot"][0] == ["shop", "parse;line\nfeed", "shop", 5, 5]


def test_large_profiles_are_pruned_and_say_so(scattered: Callable[[int], Profile]) -> None:
    """Broken: a page of hundreds of megabytes, or one that hides what it left out."""
    profile = scattered(30_000)
    page = page_of(profile)
    assert len(page) < 8_000_000
    assert re.search(r"[\d,]+ boxes too small to be seen are summed up as “…” \([\d.e+]+ % of the total\)", page)
    assert sum(data_of(page)["own"]) == sum(sample.values[0] for sample in profile.samples)


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("", 'aria-selected="true">Callers first<'),
        ("search=libc", ">31.3 % matched<"),
        ("search=/^(main|parse)/", ">62.5 % matched<"),
        ("search=/(/", 'aria-invalid="true"'),
        ("zoom=shop&search=read", ">50.0 % matched<"),
        ("zoom=shop", 'aria-current="true">shop<'),
        ("view=leaf&zoom=read", 'aria-labelledby="tab-leaf"'),
        ("view=functions", 'title="&lt;/script&gt;'),
    ],
)
def test_page_works_in_a_browser(profile: Profile, tmp_path: Path, address: str, expected: str) -> None:
    """Broken: the script fails, or an address sent to a colleague shows something else."""
    assert expected in in_browser(page_of(profile), address, tmp_path)
