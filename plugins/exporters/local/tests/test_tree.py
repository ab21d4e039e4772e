"""The call tree: sums, order, bounds."""

from collections import defaultdict
from collections.abc import Callable

from rover_core.model import Frame, Profile, StackSample
from rover_exporter_local.tree import MAX_DEPTH, CallTree, Kind, Place, build_tree, collapse

KEEP_ALL = 10**9


def as_paths(tree: CallTree) -> dict[tuple[str, ...], int]:
    """Own values by path of names."""
    paths: dict[tuple[str, ...], int] = {}
    path: list[str] = []
    for depth, place, own in zip(tree.depths, tree.places, tree.own, strict=True):
        path[depth:] = [tree.names[place].name]
        paths[tuple(path)] = own
    return paths


def test_values_lie_at_the_end_of_their_path_and_equal_stacks_are_added_up(profile: Profile) -> None:
    """Broken: two processes of one name drawn apart, or kernel frames not above user frames."""
    paths = as_paths(build_tree(collapse(profile), KEEP_ALL, KEEP_ALL))
    assert paths["all", "shop", "main", "read", "entry_SYSCALL_64", "vfs_read"] == 5
    assert paths["all", "shop", "main"] == 0
    assert sum(paths.values()) == 16


def test_places_say_what_they_are(profile: Profile) -> None:
    """Broken: wrong colours."""
    kinds = {place.name: place.kind for place in collapse(profile).places}
    assert kinds["shop"] is Kind.PROCESS
    assert kinds["vfs_read"] is Kind.KERNEL
    assert kinds["libssl.so.3 (no symbol)"] is kinds["[unknown]"] is Kind.UNRESOLVED


def test_pruning_keeps_every_sum(scattered: Callable[[int], Profile]) -> None:
    """Broken: boxes narrower than what was measured below them."""
    stacks = collapse(scattered(2000))
    full = build_tree(stacks, KEEP_ALL, KEEP_ALL)
    small = build_tree(stacks, 1000, KEEP_ALL)
    assert len(small.depths) <= 1000 < len(full.depths)
    assert sum(small.own) == sum(full.own) == full.total == small.total
    assert full.pruned_nodes == full.pruned_value == 0
    remainders = [n for n, place in enumerate(small.places) if small.names[place].kind is Kind.REMAINDER]
    assert small.pruned_nodes == len(full.depths) - (len(small.depths) - len(remainders))
    assert small.pruned_value == sum(small.own[n] for n in remainders)


def test_pruned_nodes_hold_what_the_full_tree_says(scattered: Callable[[int], Profile]) -> None:
    """Broken: the shortcut for unshared tails changes what is kept."""
    stacks = collapse(scattered(500))
    full = totals(build_tree(stacks, KEEP_ALL, KEEP_ALL))
    small = totals(build_tree(stacks, 300, KEEP_ALL))
    kept = {path: value for path, value in small.items() if path[-1] != "…"}
    assert kept == {path: full[path] for path in kept}
    assert min(kept.values()) >= max(value for path, value in full.items() if path not in kept)


def totals(tree: CallTree) -> dict[tuple[str, ...], int]:
    sums: dict[tuple[str, ...], int] = defaultdict(int)
    for path, own in as_paths(tree).items():
        for depth in range(1, len(path) + 1):
            sums[path[:depth]] += own
    return sums


def test_depth_is_bounded(profile: Profile) -> None:
    """Broken: a runaway recursion makes a page nobody can open."""
    recursion = StackSample(profile.samples[0].process, "deep", (Frame("f", "m", 0),) * 2000, (), (3, 0))
    deep = Profile("t", "p", 0, 1, profile.sample_types, (recursion,), profile.completeness)
    tree = build_tree(collapse(deep), KEEP_ALL, KEEP_ALL)
    assert max(tree.depths) == MAX_DEPTH + 1
    assert sum(tree.own) == 3
    assert tree.names[tree.places[-1]] == Place("…", "", Kind.REMAINDER)


def test_nothing_makes_a_root_alone(empty: Profile) -> None:
    """Broken: a task without samples fails to write its files."""
    tree = build_tree(collapse(empty), KEEP_ALL, KEEP_ALL)
    assert (list(tree.depths), tree.total) == ([0], 0)
