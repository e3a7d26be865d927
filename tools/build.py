"""Build the web pages and the README from the notebooks, without quarto.

    python tools/build.py docs              # every page, linked, into _docs/
    python tools/build.py readme            # README.md from nbs/index.ipynb
    python tools/build.py readme --check    # fail if README.md is out of date

nbdev prepares the notebooks as it does for quarto: hidden cells go, exported
functions get their documentation, their names become links. What is left is
written as markdown and converted by pandoc, which quarto is built on too.
"""
import argparse
import base64
import difflib
import importlib.util
import os
import posixpath
import re
import shutil
import subprocess
import sys
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import pypandoc
import yaml
from execnb.nbio import read_nb
from nbdev.config import get_config
from nbdev.processors import FilterDefaults
from nbdev.serve import proc_nbs

from embgeo_nb.common import atomic_path

ROOT = Path(__file__).resolve().parents[1]
NBS, DOCS, TOOLS = ROOT / "nbs", ROOT / "_docs", ROOT / "tools"
BIBLIOGRAPHY = NBS / "references.bib"
CONFIG = get_config(path=ROOT)
SITE = CONFIG.doc_host + CONFIG.doc_baseurl + "/"
REPO = f"{CONFIG.git_url}/blob/{CONFIG.branch}/"


# Which pages there are

def page_name(notebook):
    "The page nbdev makes of a notebook: studies/01_x.ipynb -> studies/x.html"
    path = Path(notebook)
    return path.with_name(re.sub(r"^\d+[a-zA-Z0-9]*_", "", path.name.lower())).with_suffix(".html").as_posix()


def sidebar():
    "The sections of the book and their notebooks, in order, from _quarto.yml."
    contents = yaml.safe_load((ROOT / "_quarto.yml").read_text())["website"]["sidebar"]["contents"]
    return [(part["section"], part["contents"]) for part in contents]


def pages():
    "Each notebook with its page."
    return {nb.relative_to(NBS).as_posix(): page_name(nb.relative_to(NBS))
            for nb in sorted(NBS.rglob("*.ipynb")) if ".ipynb_checkpoints" not in nb.parts}


# From a notebook, processed by nbdev, to markdown

MIME = ["text/html", "text/markdown", "image/svg+xml", "image/png", "image/jpeg", "text/latex", "text/plain"]
WIDGET = "application/vnd.jupyter.widget-view+json"
KINDS = {"fig": "Figure", "tbl": "Table", "eq": "Equation", "sec": "Section"}


def text(value):
    return value if isinstance(value, str) else "".join(value or [])


def fence(content, kind):
    ticks = max([2] + [len(run) for run in re.findall(r"`+", content)]) * "`" + "`"
    return f"{ticks}{kind}\n{content.rstrip()}\n{ticks}"


def data_uri(content, mime):
    return f"data:{mime};base64," + base64.b64encode(content).decode()


def output_markdown(output, options, image):
    "One stored output as markdown; `image` turns a picture's bytes into an address."
    if output["output_type"] == "stream":
        if output["name"] == "stderr" and options.get("warning") is False:
            return ""
        printed = re.sub(r"[^\n]*\r(?!\n)", "", text(output["text"]))  # of a progress bar, what it came to
        return printed if options.get("output") == "asis" else fence(printed, "{.output}")
    if output["output_type"] == "error":
        raise ValueError("a stored output is an error: " + output["ename"])
    data = output["data"]
    mime = next((m for m in MIME if m in data), None)
    if mime is None or WIDGET in data and mime == "text/plain":
        return ""
    value = text(data[mime])
    if mime.startswith("image/"):
        content = value.encode() if "svg" in mime else base64.b64decode(value)
        size = output.get("metadata", {}).get(mime, {})
        attributes = [".figure"] + ([f"width={size['width']}"] if "width" in size else [])
        attributes += [f"#{options['label']}"] if "label" in options else []
        alt = options.get("fig-alt", options.get("fig-cap", "Figure: what the code above draws."))
        attributes.append(f'alt="{escape(alt)}"')
        return f'![{options.get("fig-cap", "")}]({image(content, mime)}){{{" ".join(attributes)}}}'
    if mime == "text/html":
        return "::: {.html-output .scroll}\n" + fence(readable(value), "{=html}") + "\n:::"
    return fence(value, "{.output}") if mime == "text/plain" else unlinked_code(value)


def readable(html):
    "HTML of an output for readers who hear it: an empty corner of a table is no heading, and every picture has words."
    html = re.sub(r"<th([^>]*)>(?:\s|&nbsp;)*</th>", r"<td\1></td>", html)
    return re.sub(r"<img(?![^>]*\balt=)", '<img alt="A picture of the data"', html)


BY_NBDEV = r"\[(`[^`]+`)\]\(https?://[^)]*\)"                              # a name, made a link to its documentation


def unlinked_code(markdown):
    "Fenced code without the links that nbdev puts around names even there."
    return re.sub(r"^```.*?^```", lambda code: re.sub(BY_NBDEV, r"\1", code[0]), markdown, flags=re.M | re.S)


def unlinked_links(markdown):
    "Links without the links that nbdev puts around names inside their words."
    return re.sub(rf"\[{BY_NBDEV}\](?=\()", r"[\1]", markdown)


def cell_markdown(cell, image):
    if cell["cell_type"] != "code":
        return unlinked_links(text(cell["source"])) if cell["cell_type"] == "markdown" else ""
    source, options = text(cell["source"]), {}
    while match := re.match(r"#\| *([\w-]+): *(.*)(\n|$)", source):
        options[match[1]], source = yaml.safe_load(match[2]), source[match.end():]
    if options.get("include") is False:
        return ""
    parts = []
    if options.get("echo") is not False and source.strip():
        code = fence(source, "python")
        if "code-fold" in options:
            code = f"<details><summary>{options.get('code-summary', 'Code')}</summary>\n\n{code}\n\n</details>"
        parts.append(code)
    if options.get("output") is not False:
        parts += [output_markdown(output, options, image) for output in cell.get("outputs", [])]
    return "\n\n".join(filter(None, parts))


def cross_references(markdown):
    "Number what is labelled as quarto would (@fig-x, @eq-x, ...) and link the mentions."
    names = {}
    for label in re.findall(r"#((?:%s)-[\w-]+)" % "|".join(KINDS), markdown):
        kind = label.split("-")[0]
        count = sum(other.startswith(kind + "-") for other in names)
        names.setdefault(label, f"{KINDS[kind]} {count + 1}")
    markdown = re.sub(r"(\$\$.+?\$\$)\s*\{#(eq-[\w-]+)\}",
                      lambda m: f"[{m[1]} [({names[m[2]].split()[1]})]{{.number}}]{{#{m[2]} .equation}}",
                      markdown, flags=re.S)
    markdown = re.sub(r"\$\$((?:(?!\$\$).)+?)\\tag\{(\w+)\}\s*\$\$", r"[$$\1$$ [(\2)]{.number}]{.equation}", markdown, flags=re.S)
    return re.sub(r"\[?@((?:%s)-[\w-]+)\]?" % "|".join(KINDS),
                  lambda m: f"[{names[m[1]]}](#{m[1]})" if m[1] in names else m[0], markdown)


def to_markdown(nb, image):
    markdown = cross_references("\n\n".join(filter(None, (cell_markdown(cell, image) for cell in nb.cells))))
    keys = re.findall(r"^@\w+\{([^,]+),", BIBLIOGRAPHY.read_text(encoding="utf-8"), re.M)
    cited = re.search(r"@(%s)\b" % "|".join(keys), markdown)
    return markdown + ("\n\n## References\n\n::: {#refs}\n:::\n" if cited else "")


def processed(path, as_path=None):
    "A notebook after nbdev's processing, with its title and description."
    nb = read_nb(path)
    nb.path_ = str(as_path or path)
    os.environ["IN_TEST"] = "1"
    FilterDefaults()(nb)
    return nb


def pandoc(nb, *args, image=data_uri):
    "Convert a notebook, taking every warning (a citation that is not there, unreadable maths) for an error."
    head = {"title": nb.frontmatter_["title"], "subtitle": nb.frontmatter_.get("description", ""), "lang": "en"}
    markdown = f"---\n{yaml.dump(head)}---\n\n{to_markdown(nb, image)}"
    command = [pypandoc.get_pandoc_path(), "--from=markdown", "--citeproc", f"--bibliography={BIBLIOGRAPHY}",
               "--metadata=link-citations:true", "--fail-if-warnings", *args]
    done = subprocess.run(command, input=markdown, text=True, capture_output=True, encoding="utf-8")
    if done.returncode:
        raise SystemExit(f"{head['title']}: {done.stderr}")
    return done.stdout


# From markdown to linked pages

def to_html(nb, *args):
    html = pandoc(nb, "--to=html5", "--standalone", "--mathml", "--toc", "--toc-depth=2", f"--template={TOOLS / 'page.html'}",
                  *args)
    html = re.sub(r"(<table.*?</table>)", r'<div class="scroll">\1</div>', html, flags=re.S)
    return steady_headings(spoken_headers(html))


def spoken_headers(html):
    "Headers of tables that hold nothing but a formula get its TeX as a name; empty ones become plain cells."
    def named(match):
        attributes, inside = match[1], match[2]
        if not inside.strip():
            return f"<td{attributes}></td>"
        tex = re.findall(r"<annotation[^>]*>(.*?)</annotation>", inside, re.S)
        bare = re.sub(r"<math.*?</math>|<[^>]*>", "", inside, flags=re.S).strip()
        return f'<th{attributes}><span class="unseen">{tex[0].strip()}</span>{inside}</th>' if tex and not bare else match[0]

    return re.sub(r"<th((?:\s[^>]*)?)>(.*?)</th>", named, html, flags=re.S)


def steady_headings(html):
    "No heading more than one level below the one before it."
    last, changed = 1, []

    def stepped(match):
        nonlocal last
        if match[1]:                                          # a closing tag: as its opening one
            return f"</h{changed.pop()}>"
        last = min(int(match[2]), last + 1)
        changed.append(last)
        return f"<h{last}{match[3]}>"

    head, main, body = html.partition("<main")
    return head + main + re.sub(r"<(/?)h([1-6])((?:\s[^>]*)?)>", stepped, body)


def relink(html, rewrite):
    "Pass every address of a page through `rewrite`."
    return re.sub(r'(href|src)="([^"]+)"', lambda m: f'{m[1]}="{rewrite(m[2])}"', html)


def navigation(current, titles):
    "The list of chapters that stands beside each page, or folded above it."
    rows = [f'<details id="chapters" open><summary>{escape(CONFIG.title)}</summary><nav aria-label="Chapters">']
    for section, notebooks in sidebar():
        rows.append(f"<p>{escape(section)}</p><ul>")
        for page in map(page_name, notebooks):
            mark = ' aria-current="page"' if page == current else ""
            rows.append(f'<li><a href="{from_page(page, current)}"{mark}>{escape(titles[page])}</a></li>')
        rows.append("</ul>")
    return "\n".join(rows + ["</nav></details>"])


def from_page(target, current):
    "The address of a page of the book, seen from another."
    return posixpath.relpath(target, posixpath.dirname(current) or ".")


def bar(current):
    "What stands above every page: a way past it, search, and the theme."
    root = from_page(".", current).rstrip("/") + "/"
    return (f'<a class="skip" href="#content">To the text</a>\n<div class="bar" role="banner">'
            f'<form id="search" role="search" hidden><input name="q" type="search" placeholder="Search the book" '
            f'aria-label="Search the book" autocomplete="off"><ul id="found" aria-label="What was found"></ul></form>'
            f'<button id="theme" type="button" hidden>Dark</button></div>\n'
            f'<script src="{root}page.js" data-root="{root}"></script>')


def turning(current, titles):
    "The previous and the next chapter, the notebook of this one, and the version."
    order = [page_name(notebook) for _, notebooks in sidebar() for notebook in notebooks]
    place = order.index(current)
    around = [(order[place - 1], "Previous: ", "prev") if place else None,
              (order[place + 1], "Next: ", "next") if place + 1 < len(order) else None]
    links = [f'<a rel="{rel}" href="{from_page(page, current)}">{word}{escape(titles[page])}</a>' if page else "<span></span>"
             for page, word, rel in (one or ("", "", "") for one in around)]
    notebook = next(name for name, page in pages().items() if page == current)
    return (f'<nav class="turn" aria-label="Previous and next chapter">{"".join(links)}</nav>\n'
            f'<footer>{escape(CONFIG.title)} {CONFIG.version} · <a href="{REPO}nbs/{notebook}">this page as a notebook</a> · '
            f'<a href="{CONFIG.git_url}">source</a></footer>')


def framed(page, current, titles):
    "A page within the book."
    page = re.sub("<body[^>]*>", lambda m: m[0] + "\n" + bar(current) + "\n" + navigation(current, titles), page, count=1)
    return page.replace("<main", "<main data-pagefind-body", 1).replace("</body>", turning(current, titles) + "\n</body>", 1)


def index_words():
    "The search index, by pagefind where it is installed."
    if not importlib.util.find_spec("pagefind"):
        return print("pagefind is not installed: the pages have no search")
    subprocess.run([sys.executable, "-m", "pagefind", "--site", str(DOCS), "--quiet"], check=True)
    shutil.rmtree(DOCS / "pagefind" / "ui", ignore_errors=True)


def page_links(notebook, known, anchors):
    "How the links of a notebook become links between pages; nbdev's own fall back to the page."
    here, place = posixpath.dirname(notebook), posixpath.dirname(known[notebook])

    def rewrite(address):
        if address.startswith(SITE):
            target, _, anchor = address.removeprefix(SITE).partition("#")
            anchor = anchor if anchor in anchors.get(target, ()) else ""
        elif re.match(r"[a-z]+:|#|//", address):
            return address
        else:
            target, _, anchor = address.partition("#")
            target = posixpath.normpath(posixpath.join(here, target))
            target = known.get(target, target)
        return posixpath.relpath(target or "index.html", place or ".") + ("#" + anchor if anchor else "")

    return rewrite


class Links(HTMLParser):
    "What a page can be linked at, and where its own links lead."

    def __init__(self, html):
        super().__init__()
        self.anchors, self.targets = set(), []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.anchors |= {attrs[key] for key in ("id", "name") if attrs.get(key)}
        self.targets += [attrs[key] for key in ("href", "src") if attrs.get(key)]


def broken_links(folder):
    "Links of the pages in `folder` to files or anchors that are not there, and those that are still markdown."
    texts = {page: page.read_text(encoding="utf-8") for page in sorted(folder.rglob("*.html"))}
    found = {page: Links(text) for page, text in texts.items()}
    for page, links in found.items():
        yield from (f"{page.relative_to(folder)}: {raw}" for raw in re.findall(r"\]\(https?://[^)\s]*\)", texts[page]))
        for target in links.targets:
            if re.match(r"[a-z]+:|//", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.is_file() or anchor and file in found and anchor not in found[file].anchors:
                yield f"{page.relative_to(folder)}: {target}"


def build_docs():
    known = pages()
    listed = [notebook for _, notebooks in sidebar() for notebook in notebooks]
    if set(listed) != set(known):
        raise SystemExit(f"The sidebar and the notebooks differ: {sorted(set(listed) ^ set(known))}")
    cache = proc_nbs(n_workers=2, force=True)
    shutil.rmtree(DOCS, ignore_errors=True)
    shutil.copytree(cache, DOCS, ignore=shutil.ignore_patterns("*.ipynb", "_*", "data"))
    for name in ("page.css", "page.js"):
        shutil.copy(TOOLS / name, DOCS)
    shutil.copytree(TOOLS / "fonts", DOCS / "fonts")
    html, titles = {}, {}
    for notebook in listed:
        nb = read_nb(cache / notebook)
        nb.frontmatter_ = next(yaml.safe_load_all(text(nb.cells[0].source)))
        titles[known[notebook]] = nb.frontmatter_["title"].replace("`", "")
        html[notebook] = to_html(nb, f"--css={SITE}page.css", f"--css={SITE}styles.css",
                                 f"--css={SITE}fonts/math.css", f"--variable=book:{CONFIG.title}")
    anchors = {known[notebook]: Links(page).anchors for notebook, page in html.items()}
    for notebook, page in html.items():
        page = relink(page, page_links(notebook, known, anchors))
        page = framed(page, known[notebook], titles)
        (DOCS / known[notebook]).parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(DOCS / known[notebook]) as temporary:
            temporary.write_text(page, encoding="utf-8")
        print(f"{notebook} -> _docs/{known[notebook]}")
    if broken := list(broken_links(DOCS)):
        raise SystemExit("Links that lead nowhere:\n  " + "\n  ".join(broken))
    index_words()
    print(f"{len(html)} pages; start at {DOCS / 'index.html'}")


def single_page(path, source):
    "The notebook at `path`, a run of `source`, as one web page that needs no other file."
    notebooks = {page: notebook for notebook, page in pages().items()}
    home = source.relative_to(NBS).parent.as_posix() if source.is_relative_to(NBS) else "."

    def rewrite(address):
        "Chapters are linked as the notebooks beside this folder."
        if address.startswith(SITE):
            target = notebooks.get(address.removeprefix(SITE).partition("#")[0], "index.ipynb")
        elif re.match(r"[a-z]+:|#|//", address):
            return address
        else:
            target = posixpath.join(home, address.partition("#")[0])
        return Path(os.path.relpath(NBS / target, path.parent)).as_posix()

    html = to_html(processed(path, source), f"--css={TOOLS / 'page.css'}", f"--css={NBS / 'styles.css'}", "--embed-resources")
    return relink(html, rewrite)


# README

def readme():
    "README.md and its pictures, as a dict from path to content."
    images = {}

    def image(content, mime):
        name = f"nbs/images/index-{len(images) + 1}.{mime.split('/')[1].split('+')[0]}"
        images[name] = content
        return name

    source = {page: "nbs/" + notebook for notebook, page in pages().items()}

    def rewrite(match):
        address = match[2]
        if address.startswith(SITE):
            address = source.get(address.removeprefix(SITE).partition("#")[0] or "index.html", address)
        elif address.startswith(REPO):
            address = address.removeprefix(REPO)
        elif not re.match(r"[a-z]+:|#|//|nbs/images/index-", address):
            address = posixpath.normpath("nbs/" + address)
        return match[1] + address + match[3]

    nb = processed(NBS / "index.ipynb")
    body = pandoc(nb, "--to=gfm-raw_attribute+smart", "--wrap=preserve", image=image)
    body = re.sub(r"<!-- WARNING:.*?-->\s*", "", body)
    body = re.sub(r"<style.*?</style>\s*", "", body, flags=re.S)
    body = re.sub(r"(\]\()([^)\s]+)([)\s])", rewrite, body)
    body = re.sub(r'((?:href|src)=")([^"]+)(")', rewrite, body)
    title, description = nb.frontmatter_["title"], nb.frontmatter_["description"]
    head = f"# {title}\n\n<!-- Made from nbs/index.ipynb by `make readme`; edit that. -->\n\n> {description}\n\n"
    return {"README.md": (head + body.strip() + "\n").encode(), **images}


def build_readme(check):
    wanted = readme()
    kept = {path.relative_to(ROOT).as_posix() for path in NBS.glob("images/index-*")} | {"README.md"}
    have = {name: (ROOT / name).read_bytes() for name in kept if (ROOT / name).exists()}
    if have == wanted:
        return print("README.md is up to date.")
    if check:
        old, new = (files.get("README.md", b"").decode().splitlines() for files in (have, wanted))
        print(*difflib.unified_diff(old, new, "README.md", "nbs/index.ipynb", lineterm=""), sep="\n")
        raise SystemExit("README.md is out of date: run `make readme`.")
    for name in set(have) - set(wanted):
        (ROOT / name).unlink()
    for name, content in wanted.items():
        (ROOT / name).parent.mkdir(exist_ok=True)
        with atomic_path(ROOT / name) as temporary:
            temporary.write_bytes(content)
        print("wrote", name)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=["docs", "readme"])
    parser.add_argument("--check", action="store_true", help="only compare README.md with what it is made from")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    build_docs() if arguments.what == "docs" else build_readme(arguments.check)
