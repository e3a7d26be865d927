"""The house: who imports whom, and how long a cell may be.

    python tests/test_house.py    # draws the picture again
"""
import ast
import json
import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, NBS = ROOT / "embgeo_nb", ROOT / "nbs"
GUIDE, PICTURE = ROOT / "CONTRIBUTING.md", NBS / "images" / "house.svg"

# The floors, from the ground up, and their rooms. A room imports from the floors below its own and from nowhere else:
# a new module gets its place here.
FLOORS = [
    ("common ground", ["common", "multiplicity", "contrasts"]),
    ("files", ["files"]),
    ("what comes in, pieces of work", ["inputs", "resume"]),
    ("other stores", ["readers"]),
    ("the data", ["corpora", "embeddings"]),
    ("one model", ["encoders", "kernel", "linear"]),
    ("a random graph, coins", ["rdpg", "coins"]),
    ("all models in one space, tails", ["omnibus", "tail"]),
    ("a pair's frame, models as points", ["manifold", "frame"]),
    ("draws, answers", ["taxonomy", "perspective", "fitted_nulls", "features"]),
    ("tests, scores", ["distances", "datum_test", "score", "bulk"]),
    ("reruns, scales, a class", ["teaching", "multiscale", "replicates"]),
    ("the front door", ["calibration", "comparison"]),
    ("figures, large data, time", ["over_time", "scale", "plot"]),
    ("pages, explorers", ["widgets", "report"]),
    ("the command line", ["cli"]),
]
# A result opens its own figure or page when asked to: in the functions named here, and there only.
OPENED_LATER = {("calibration", "plot"): {"plot"}, ("comparison", "plot"): {"plot"}, ("comparison", "report"): {"report"},
                ("datum_test", "plot"): {"plot"}, ("manifold", "plot"): {"plot", "_plot"},
                ("over_time", "plot"): {"plot_chart", "_plot_statistic"}, ("taxonomy", "plot"): {"plot_branches", "_leaves"}}
# Private names that cross a room, and who is to mend it. This list can only shrink.
CROSSINGS: dict[tuple[str, str], str] = {}


# Reading the imports

def room_of(name):
    return name.removeprefix("embgeo_nb").lstrip(".").split(".")[0]


def inside(tree):
    "Each node with the name of the function it stands in, if any."
    stack = [(node, None) for node in ast.iter_child_nodes(tree)]
    while stack:
        node, function = stack.pop()
        yield node, function
        here = node.name if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else function
        stack += [(child, here) for child in ast.iter_child_nodes(node)]


def imports(source):
    "Of a module: the rooms it imports, each with the function that does (None: at once), and names of rooms in it."
    arrows, aliases = set(), {}
    for node, function in inside(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("embgeo_nb")):
            room = room_of(node.module or "")
            if room:
                arrows.add((room, function))
                aliases |= {alias.asname or alias.name: (room, alias.name) for alias in node.names}
            else:                                             # from embgeo_nb import room
                arrows |= {(alias.name, function) for alias in node.names}
                aliases |= {alias.asname or alias.name: (alias.name, None) for alias in node.names}
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("embgeo_nb."):
                    arrows.add((room_of(alias.name), function))
    return arrows, aliases


def private(name):
    return name.startswith("_") and not name.endswith("_")       # __version__ and _repr_html_ are public


def crossings(source):
    "Private names of other rooms that a module uses: imported, taken from a module, or from an object that is not its own."
    tree, own = ast.parse(source), set()
    _, aliases = imports(source)
    found = {name for _, name in aliases.values() if name and private(name)}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            own.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            own.add(node.attr)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr) and node.attr not in own:
            found.add(node.attr)
    return found


def house():
    "The rooms, each with its source."
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))
            if not path.name.startswith("_")}


def faults(sources, floors, later={}):
    "What is wrong with a house, in words."
    level = {room: number for number, (_, rooms) in enumerate(floors) for room in rooms}
    for room in sorted(set(sources) - set(level)):
        yield f"{room} has no floor: give it one in FLOORS of tests/test_house.py, above all that it imports"
    for room in sorted(set(level) - set(sources)):
        yield f"{room} has a floor and is no module: take it out of FLOORS of tests/test_house.py"
    for room, source in sources.items():
        for below, function in sorted(imports(source)[0], key=str):
            if below not in sources or room not in level or below not in level or below == room:
                continue
            if (room, below) in later:
                if function not in later[room, below]:
                    yield f"{room} imports {below} outside of its function for it ({function or 'at once'})"
            elif level[below] >= level[room]:
                yield (f"{room} (floor {level[room]}) imports {below} (floor {level[below]}): an arrow that does not "
                       f"lead down")


def circle(sources):
    "A circle of imports made at once, as a list of rooms; empty if there is none."
    arrows = {room: sorted({below for below, function in imports(source)[0] if function is None and below in sources})
              for room, source in sources.items()}
    done, path = set(), []

    def walk(room):
        if room in path:
            return path[path.index(room):] + [room]
        if room in done:
            return []
        path.append(room)
        found = next(filter(None, map(walk, arrows[room])), [])
        path.pop()
        done.add(room)
        return found

    return next(filter(None, map(walk, arrows)), [])


# The picture

def reduced(sources):
    "Arrows without those that a longer way implies: {room: rooms below it}."
    level = {room: number for number, (_, rooms) in enumerate(FLOORS) for room in rooms}
    arrows = {room: {below for below, _ in imports(sources[room])[0] if level.get(below, 99) < level[room]}
              for room in level if room in sources}
    reach = {}
    for room in sorted(arrows, key=level.get):
        reach[room] = set().union(*({below} | reach[below] for below in arrows[room]))
    return {room: {below for below in belows if not any(below in reach[other] for other in belows)}
            for room, belows in arrows.items()}


def places(arrows, width=880, box=112):
    "x of every room: near the rooms it imports, and not on top of one another."
    x = {}
    for _, rooms in FLOORS:
        wanted = {room: sum(x[b] for b in arrows[room]) / len(arrows[room]) if arrows[room] else
                  width * (rooms.index(room) + 0.5) / len(rooms) for room in rooms}
        order, gap = sorted(rooms, key=lambda room: (wanted[room], room)), box + 40
        spread = [wanted[room] for room in order]
        for _ in range(200):
            for i in range(len(spread) - 1):
                if (lack := gap - (spread[i + 1] - spread[i])) > 0:
                    spread[i], spread[i + 1] = spread[i] - lack / 2, spread[i + 1] + lack / 2
            spread = [min(max(at, box / 2), width - box / 2) for at in spread]
        x |= {room: round(at) for room, at in zip(order, spread)}
    return x


def svg(sources, step=64, left=236, box=112):
    "The house as a picture: arrows lead from a room to those it imports."
    arrows = reduced(sources)
    x, top = places(arrows), len(FLOORS) * step
    y = {room: top - step * number - 40 for number, (_, rooms) in enumerate(FLOORS) for room in rooms}
    words = f"{len(arrows)} modules on {len(FLOORS)} floors; every arrow leads down"
    rows = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1130 {top + 8}" font-family="sans-serif" '
            f'font-size="14" role="img" aria-label="{words}"><title>{words}</title>',
            f'<rect width="1130" height="{top + 8}" fill="#fff"/>']
    for number, (name, _) in enumerate(FLOORS):
        at = top - step * number
        rows.append(f'<rect x="0" y="{at - 60}" width="1130" height="52" fill="#f2f4f6"/>'
                    f'<text x="8" y="{at - 29}" fill="#444">{name}</text>')
    for room, belows in arrows.items():
        for below in sorted(belows):
            x1, y1, x2, y2 = left + x[room], y[room] + 14, left + x[below], y[below] - 14
            bend = (y2 - y1) / 2
            rows.append(f'<path d="M{x1},{y1} C{x1},{y1 + bend:.0f} {x2},{y2 - bend:.0f} {x2},{y2}" fill="none" '
                        f'stroke="#5b6b7a" stroke-width="1.2"/>')
    for room in arrows:
        rows.append(f'<rect x="{left + x[room] - box // 2}" y="{y[room] - 14}" width="{box}" height="28" rx="5" '
                    f'fill="#fff" stroke="#234"/><text x="{left + x[room]}" y="{y[room] + 5}" text-anchor="middle" '
                    f'fill="#111">{room}</text>')
    return "\n".join(rows + ["</svg>"]) + "\n"


BEGIN, END = "<!-- house: made by `python tests/test_house.py` -->", "<!-- house: end -->"


def table(sources):
    "The same in words, for the contributors' page."
    arrows = reduced(sources)
    rows = [BEGIN, "", f"![The house: {len(arrows)} modules on {len(FLOORS)} floors, every arrow leads down](nbs/images/house.svg)",
            "", "| Floor | Room: what it stands on |", "|---|---|"]
    for name, rooms in reversed(FLOORS):
        cells = [f"`{room}`" + (": " + ", ".join(sorted(arrows[room])) if arrows[room] else "") for room in rooms]
        rows.append(f"| {name} | {'; '.join(cells)} |")
    opened = ", ".join(f"`{above}` → `{below}`" for above, below in sorted(OPENED_LATER))
    return "\n".join([*rows, "", textwrap.fill(
        "Of the arrows, only those are listed that no longer way implies. Beside them, a result opens its own figure "
        f"or page when asked to, inside one named function: {opened}.", 10 ** 6), "", END])


# The cells

def docstring_lines(tree):
    "Numbers of the lines that docstrings take."
    lines = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)) and ast.get_docstring(node, clean=False) is not None:
            lines |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return lines


def measures(source):
    "Of a cell: lines of code outside classes, functions above 40 lines, lines above 120 characters. Docstrings, comments and blank lines are no code."
    lines, tree = source.splitlines(), ast.parse(source)
    words = docstring_lines(tree)
    code = {number for number, line in enumerate(lines, 1) if line.strip() and not line.strip().startswith("#")} - words
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            code -= set(range(min([node.lineno, *(d.lineno for d in node.decorator_list)]), node.end_lineno + 1))
    functions = [node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
                 and len(set(range(node.lineno, node.end_lineno + 1)) - words) > 40]
    return len(code), functions, [line for line in lines if len(line) > 120]


def exported(path):
    "The exported cells of a notebook."
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and re.search(r"^#\| *exports?i?\b", source, re.M):
            yield source


def first_name(source):
    "What a cell is known by: the first thing it defines."
    for node in ast.parse(source).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            return node.name
    return "imports"


def too_long(path):
    "What a notebook has beyond the measures."
    found = {"cells": [], "functions": [], "lines": []}
    for source in exported(path):
        count, functions, lines = measures(source)
        found["cells"] += [first_name(source)] if count > 30 else []
        found["functions"] += functions
        found["lines"] += lines
    return found


NOTEBOOKS = sorted(path for path in NBS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts)


def test_every_arrow_leads_down():
    assert not list(faults(house(), FLOORS, OPENED_LATER))
    assert not circle(house())


@pytest.mark.parametrize("room", sorted(house()))
def test_no_private_name_crosses_a_room(room):
    new = {name for name in crossings(house()[room]) if (room, name) not in CROSSINGS}
    assert not new, f"{room} uses private names of other rooms: {', '.join(sorted(new))}; make them public or move them"


def test_the_picture_is_of_this_house():
    words = "is not up to date: run `python tests/test_house.py`"
    assert table(house()) in GUIDE.read_text(encoding="utf-8"), f"CONTRIBUTING.md {words}"
    assert PICTURE.read_text(encoding="utf-8") == svg(house()), f"{PICTURE.name} {words}"


def test_faults_are_found():
    "A house with one fault of each kind."
    floors = [("ground", ["low"]), ("roof", ["high"])]
    good = {"low": "", "high": "from .low import name"}
    assert not list(faults(good, floors)) and not circle(good)
    upward = {"low": "def f():\n    from embgeo_nb.high import name", "high": ""}
    assert ["low (floor 0) imports high" in fault for fault in faults(upward, floors)] == [True]
    assert not list(faults({**upward, "low": upward["low"].replace("f()", "plot()")}, floors, {("low", "high"): {"plot"}}))
    assert list(faults(upward, floors, {("low", "high"): {"plot"}})) == ["low imports high outside of its function for it (f)"]
    assert circle({"low": "import embgeo_nb.high", "high": "from embgeo_nb import low"}) == ["low", "high", "low"]
    assert "has no floor" in next(faults({**good, "new": ""}, floors)) and "no module" in next(faults({"low": ""}, floors))
    assert crossings("from .low import _x, y") == {"_x"} and not crossings("from .low import __version__")
    assert crossings("from embgeo_nb import low\nlow._x(low.y)") == {"_x"} and crossings("f()._x + f()._repr_html_()") == {"_x"}
    assert not crossings("class C:\n    _x = 1\n\nC()._x")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.relative_to(NBS).as_posix())
def test_a_cell_has_one_idea(path):
    found = too_long(path)
    for what, limit in (("cells", "30 lines of code"), ("functions", "40 lines"), ("lines", "120 characters")):
        assert not found[what], f"exported {what} above {limit}: {', '.join(found[what])}; split them"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.relative_to(NBS).as_posix())
def test_no_progress_bar_is_stored(path):
    "What a busy machine prints is no output of a chapter."
    outputs = [output for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] for output in cell.get("outputs", ())]
    assert not [output for output in outputs if "\r" in "".join(output.get("text", ()))], "clear these and store it again"


def test_a_long_cell_is_found():
    body = "".join(f"    x{i} = {i}\n" for i in range(30))
    long = "def f():\n" + body
    assert measures(long) == (31, [], []) and measures('def f():\n    "Words."\n\n    # more words\n' + body)[0] == 31
    assert measures("class C:\n    def g(self):\n" + textwrap.indent(body + body, "    "))[:2] == (0, ["g"])
    assert measures("x = '" + "a" * 120 + "'")[2] and not measures("x = '" + "a" * 110 + "'")[2]


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(svg(house()), encoding="utf-8")
    guide = GUIDE.read_text(encoding="utf-8")
    start, stop = guide.index(BEGIN), guide.index(END) + len(END)
    GUIDE.write_text(guide[:start] + table(house()) + guide[stop:], encoding="utf-8")
