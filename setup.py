"""Build the package from settings.ini, the one place its metadata is kept."""
import re
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

parser = ConfigParser(delimiters=["="])
parser.read(Path(__file__).parent / "settings.ini", encoding="utf-8")
cfg = parser["DEFAULT"]

EXTRAS = ["plot", "widgets", "io", "readers", "text", "encoders", "faiss", "dask", "dev"]
extras = {name: cfg[f"{name}_requirements"].split() for name in EXTRAS}
extras["all"] = sorted({req for name in EXTRAS if name != "dev" for req in extras[name]})
extras["dev"] += extras["all"]



def read_me():
    "README.md for a package index, where links into the repository lead nowhere unless they say where it is."
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    home = re.sub(r"^https://github\.com/", "https://raw.githubusercontent.com/", cfg["git_url"]) + f"/{cfg['branch']}/"
    text = re.sub(r"(!\[[^]]*\]\()(?![a-z]+:|#|/)", rf"\g<1>{home}", text)                               # pictures
    text = re.sub(r'(<img [^>]*src=")(?![a-z]+:|#|/)', rf"\g<1>{home}", text)
    return re.sub(r"((?<!!)\[[^]]*\]\()(?![a-z]+:|#|/)", rf"\g<1>{cfg['git_url']}/blob/{cfg['branch']}/", text)


setup(
    name=cfg["lib_name"],
    version=cfg["version"],
    description=cfg["description"],
    long_description=read_me(),
    long_description_content_type="text/markdown",
    author=cfg["author"],
    author_email=cfg["author_email"],
    url=cfg["git_url"],
    project_urls={
        "Documentation": cfg["doc_host"] + cfg["doc_baseurl"],
        "Source": cfg["git_url"],
        "Issues": cfg["git_url"] + "/issues",
    },
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    keywords=cfg["keywords"].split(),
    classifiers=[
        "Development Status :: 3 - Alpha",
        f"Intended Audience :: {cfg['audience']}",
        f"Natural Language :: {cfg['language']}",
        "Typing :: Typed",
    ] + [f"Programming Language :: Python :: 3.{minor}" for minor in (10, 11, 12, 13)],
    packages=find_packages(include=["embgeo_nb", "embgeo_nb.*"]),
    package_data={"embgeo_nb": ["py.typed", "widgets_static/*"]},
    python_requires=">=" + cfg["min_python"],
    install_requires=cfg["requirements"].split(),
    extras_require=extras,
    entry_points={
        "nbdev": [f"{cfg['lib_path']} = {cfg['lib_path']}._modidx:d"],  # links names in the book to their pages
        "console_scripts": cfg["console_scripts"].split(),
    },
    zip_safe=False,
)
