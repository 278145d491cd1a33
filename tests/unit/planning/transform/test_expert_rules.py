"""Names of experts' tensors, and maps of them."""

from __future__ import annotations

import pytest

from shardctl.errors import UsageError
from shardctl.planning.request import ExpertRule
from shardctl.planning.transform.expert_rules import KNOWN, as_part, parse_map

RULE = ExpertRule("mlp.experts.gate_up", ("mlp.experts.*.gate.weight", "mlp.experts.*.up.weight"))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.mlp.experts.0.gate.weight", ("a.", 0, 0)),
        ("mlp.experts.12.up.weight", ("", 12, 1)),
        ("a.mlp.experts.007.up.weight", None),
        ("a.mlp.experts.x.up.weight", None),
        ("a.mlp.experts.².up.weight", None),
        ("a.mlp.experts.٣.up.weight", None),
        ("a.mlp.experts..up.weight", None),
        ("a.mlp.experts.1234567890.up.weight", None),
        ("a.xmlp.experts.0.up.weight", None),
        ("a.mlp.shared_experts.0.up.weight", None),
        ("a.mlp.experts.0.up.weight.absmax", None),
        ("experts.0.up.weight", None),
    ],
)
def test_names_of_parts(name: str, found: tuple[str, int, int] | None) -> None:
    """A name follows a rule if it ends with a part's, from a dot on, and its number is written as
    numbers are.
    """
    assert as_part(name, RULE) == found


def test_known_rules_do_not_contradict_each_other() -> None:
    """No part is in two rules, so that it is clear what a tensor becomes."""
    parts = [part for rule in KNOWN for part in rule.parts]
    assert len(set(parts)) == len(parts)
    scale = ExpertRule(
        "mlp.experts.gate_up_proj_scale_inv",
        (
            "mlp.experts.*.gate_proj.weight_scale_inv",
            "mlp.experts.*.up_proj.weight_scale_inv",
        ),
    )
    assert scale in KNOWN


@pytest.mark.parametrize(
    "text",
    [
        '{"m.e.gu": ["m.e.*.g.w", "m.e.*.u.w"], "m.e.d": ["m.e.*.d.w"]}',
        '{"m": {"e": {"gu": ["m.e.*.g.w", "m.e.*.u.w"], "d": "m.e.*.d.w"}}}',
        '"m.e.gu" = ["m.e.*.g.w", "m.e.*.u.w"]\n"m.e.d" = "m.e.*.d.w"\n',
        'm.e.gu = ["m.e.*.g.w", "m.e.*.u.w"]\nm.e.d = "m.e.*.d.w"  # without quotes\n',
    ],
)
def test_maps_in_json_and_toml(text: str) -> None:
    """JSON and TOML say the same, with quoted names or tables, one part in a list or alone."""
    assert parse_map(text) == (
        ExpertRule("m.e.gu", ("m.e.*.g.w", "m.e.*.u.w")),
        ExpertRule("m.e.d", ("m.e.*.d.w",)),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("{}", "it is empty"),
        ("{", "Expecting"),
        ("[1]", "it is empty"),
        ("x", "after a key"),
        ('{"a": 1}', "no list of names"),
        ('{"a": []}', "no list of names"),
        ('{"a": ["b.w"]}', "no single"),
        ('{"a": ["b.*.*.w"]}', "no single"),
        ('{"a": ["b.x*.w"]}', "no single"),
        ('{"a": [3]}', "no single"),
        ('{"a.*": ["b.*.w"]}', "has a"),
        ('{"": ["b.*.w"]}', "no list of names"),
        ('{"a": ["b.*.w"], "c": ["b.*.w"]}', "two parts are equal"),
        ('{"a":' * 100_000, "nested too deep|recursion"),
    ],
)
def test_maps_that_cannot_be_used(text: str, said: str) -> None:
    """Whatever is not a map of names to lists of names with a number is a usage error."""
    with pytest.raises(UsageError, match=said) as caught:
        parse_map(text)
    assert "`experts_map`" in str(caught.value)
    assert "JSON or TOML" in caught.value.hint
