"""The import graph of the package has no cycle, lazy and type-only imports included.

`lint-imports` checks the layers and cycles between siblings; a cycle through a package's own __init__ is found here.
"""

from __future__ import annotations

import grimp
import pytest


def strongly_connected(edges: dict[str, set[str]]) -> list[set[str]]:
    """Groups of two or more nodes that all reach each other (Kosaraju's algorithm)."""
    order, visited = [], set()
    for start in sorted(edges):
        stack = [(start, False)]
        while stack:
            node, done = stack.pop()
            if done:
                order.append(node)
            elif node not in visited:
                visited.add(node)
                stack += [(node, True), *((other, False) for other in edges[node])]
    reverse: dict[str, set[str]] = {node: set() for node in edges}
    for node, others in edges.items():
        for other in others:
            reverse[other].add(node)
    groups, assigned = [], set()
    for start in reversed(order):
        group, stack = set(), [start]
        while stack:
            node = stack.pop()
            if node not in assigned:
                assigned.add(node)
                group.add(node)
                stack += reverse[node]
        if len(group) > 1:
            groups.append(group)
    return groups


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, [{"b", "c"}]),
        ({"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"c"}}, [{"a", "b"}, {"c", "d"}]),
    ],
)
def test_cycles_are_found(edges: dict[str, set[str]], expected: list[set[str]]) -> None:
    groups = strongly_connected(edges)
    assert len(groups) == len(expected)
    assert all(group in groups for group in expected)


def test_package_has_no_import_cycle() -> None:
    graph = grimp.build_graph("ultralytics", cache_dir=None)
    edges = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert len(edges) > 50
    cycles = [sorted(group) for group in strongly_connected(edges)]
    assert not cycles, cycles
