"""
The ISO tables that pycountry ships as JSON, as entries of a tree:
PATH.TABLE.CODE holds the record.

tables.py lines PATH         print them as lines {"path": …, "value": …}
tables.py write PORT PATH    store them through the original's client library
tables.py check PORT PATH    read them back through it and compare
"""

import json
import sys
from importlib.resources import files

import anyio
from moat.kv.client import open_client
from moat.util import P, Path

# table and the field that names a record
TABLES = [
    ("iso3166-1", "3166-1", "alpha_2"),
    ("iso3166-2", "3166-2", "code"),
    ("iso4217", "4217", "alpha_3"),
    ("iso639-3", "639-3", "alpha_3"),
    ("iso639-5", "639-5", "alpha_3"),
    ("iso15924", "15924", "alpha_4"),
]


def entries():
    """Path below the base, and record."""
    for file, key, name in TABLES:
        text = files("pycountry").joinpath("databases", file + ".json").read_text("utf-8")
        for record in json.loads(text)[key]:
            yield Path(file, record[name]), record


async def write(port, base):
    async with open_client(conn={"host": "127.0.0.1", "port": port}) as c:
        for path, record in entries():
            await c.set(base + path, value=record)


async def check(port, base):
    wanted = dict(entries())
    async with open_client(conn={"host": "127.0.0.1", "port": port}) as c:
        found = {r.path: r.value async for r in c.get_tree(base, min_depth=1)}
    assert len(wanted) > 5000, len(wanted)
    for path, record in wanted.items():
        assert path in found, f"{path} is missing"
        assert dict(found[path]) == record, f"{path}: {found[path]} is not {record}"
    assert len(found) == len(wanted), f"{len(found)} entries instead of {len(wanted)}"


what, *args = sys.argv[1:]
if what == "lines":
    for path, record in entries():
        print(json.dumps({"path": str(P(args[0]) + path), "value": record}))
elif what == "write":
    anyio.run(write, int(args[0]), P(args[1]), backend="trio")
elif what == "check":
    anyio.run(check, int(args[0]), P(args[1]), backend="trio")
else:
    sys.exit(__doc__)
