"""docs/tables.md: its protocol is that of `compare`, and its commands measure every figure of each table by that protocol."""

import re
import shlex
from pathlib import Path

import pytest

from dsrna_jax.commands import attack, certify, search, train
from dsrna_jax.commands.flags import config_flags, define, parse
from dsrna_jax.commands.presets import PRESETS
from dsrna_jax.comparison import paper_tables
from dsrna_jax.comparison.paper_tables import CLEAN, COST, CW, FGSM, L2, LINF, PARAMS
from dsrna_jax.evaluation.attack.budgets import attack_rows, pixels

TEXT = (Path(__file__).parents[2] / "docs" / "tables.md").read_text(encoding="utf-8")
SECTIONS = {
    int(n): text for n, text in re.findall(r"^## Table (\d): these commands\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
}
COMMANDS = {"search": search.COMMAND, "train": train.COMMAND, "attack": attack.COMMAND, "certify": certify.COMMAND}


def every_figure():
    """(table, row, data set, title) of all figures of the paper."""
    names = {*paper_tables.ROWS.values(), *dict(paper_tables.METHODS)}
    return [
        (figure.table, name, data, title)
        for name in sorted(names)
        for data in paper_tables.SEARCHED_ON
        for title, figure in paper_tables.figures(name, data).items()
    ]


def stated():
    """The rows of the page's table of protocols: (table, title, data set) -> (split, training, attack)."""
    rows = {}
    for line in re.findall(r"^\| \d .*\|$", TEXT, re.MULTILINE):
        table, titles, datasets, split, training, ball = (cell.strip() for cell in line.strip("|").split("|"))
        for title in titles.split(", "):
            rows |= {(int(table), title, dataset): (split, training, ball) for dataset in datasets.split(", ")}
    return rows


def test_the_page_states_the_protocol_of_every_figure_and_of_no_other():
    rows, seen = stated(), set()
    for table, name, data, title in every_figure():
        wanted = paper_tables.protocol(title, name, data)
        split, training, ball = rows[table, title, data]
        seen.add((table, title, data))
        if title == COST:
            assert (split, training, ball) == ("", "", "")
            continue
        own = [part for part in training.split("; ") if name in part] or training.split("; ")[:1]
        radius = "radius not stated" if wanted.radius is None else pixels(wanted.radius, wanted.norm)
        separator = ", " if wanted.radius is None else " "
        assert split == wanted.split and own[0].endswith("adversarial") == wanted.is_adversarial, (table, name, title)
        assert ball == (f"{wanted.norm}{separator}{radius}" if wanted.norm else ""), (table, name, title)
    assert seen == set(rows)


def test_the_page_names_the_preset_of_every_row_whose_search_runs():
    table = re.findall(r"^\| ([^|]+) \| `(\w+)` \|$", TEXT, re.MULTILINE)
    assert {row for row, _ in table} == set(dict(paper_tables.METHODS)) and len(table) == len(dict(table))
    for row, preset in table:
        assert paper_tables.method(vars(PRESETS[preset]), "cifar10") == row


def calls(section):
    """The calls of a section, as (command, its configuration, its flags), with those of the sections before for their folders."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE):
        for line in filter(None, block.splitlines()):
            program, name, *arguments = shlex.split(line)
            assert program == "dsrna_jax"
            if name == "compare":
                found.append((name, arguments, None))
                continue
            command = COMMANDS[name]
            values = config_flags(command.defaults)
            for flag in command.own:
                define(values, flag, command.own[flag].default, command.own[flag].text, command.own[flag].choices)
            define(values, "resume", False, "")
            define(values, "devices", 0, "")
            parse(values, [name, *arguments], command.defaults)
            found.append((name, command.settings(values)[0], values))
    return found


def until(table):
    return [call for number in sorted(SECTIONS) if number <= table for call in calls(SECTIONS[number])]


def trainings(table):
    return {values.run_dir: config for name, config, values in until(table) if name == "train"}


def titles(config):
    """The paper's titles of the attacks of a configuration, with their balls."""
    names = {"C&W-l2": CW, "PGD-10": "PGD (10)", "PGD-20": "PGD (20)", "PGD-100": "PGD (100)"}
    return {
        (FGSM if r.name.startswith("FGSM") else names.get(r.name), r.norm, round(r.radius, 6)) for r in attack_rows(config, 10)
    }


@pytest.mark.parametrize("table", range(1, 7))
def test_the_commands_measure_every_column_by_its_protocol(table):
    """The clean figures come from a training of the method, attacks and bounds from a checkpoint that was trained so."""
    trained = trainings(table)
    of_searches = {values.run_dir: config for name, config, values in until(table) if name == "search"}
    for number, name, data, title in every_figure():
        if number != table or name not in ("DSRNA-CB", "DSRNA-Jacobian"):
            continue
        wanted = paper_tables.protocol(title, name, data)
        fitting = {
            folder
            for folder, config in trained.items()
            if config.dataset == data and config.is_adversarial == wanted.is_adversarial and config.image_size in wanted.sides
            and paper_tables.method(vars(of_searches[config.genotype]) if config.genotype in of_searches else {}, data) == name
        }  # fmt: skip
        if title in (CLEAN, PARAMS, COST):
            assert fitting, (name, title)
            continue
        kind = "certify" if title in (LINF, L2) else "attack"
        measured = [(config, values) for called, config, values in calls(SECTIONS[table]) if called == kind]
        measured = [config for config, values in measured if values.checkpoint in fitting and config.split == wanted.split]
        if kind == "certify":
            assert any(config.norm == {LINF: "linf", L2: "l2"}[title] for config in measured), (name, data, title)
        elif wanted.radius is None:
            assert any((title, wanted.norm) in {found[:2] for found in titles(config)} for config in measured), (
                name,
                data,
                title,
            )
        else:
            assert any((title, wanted.norm, round(wanted.radius, 6)) in titles(config) for config in measured), (
                name,
                data,
                title,
            )
        assert all(config.examples == 0 for config in measured) or kind == "certify"


@pytest.mark.parametrize("table", range(1, 7))
def test_each_section_ends_in_a_comparison_of_what_it_trained(table):
    compared = [arguments for name, arguments, _ in calls(SECTIONS[table]) if name == "compare"]
    assert len(compared) == 1 and compared[0] and set(compared[0]) <= set(trainings(table))
