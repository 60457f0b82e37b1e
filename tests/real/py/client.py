"""
The original's client library against a server: every data action, watches
and mirrors included. Usage: client.py PORT. Exits 0 if all answers were as
they must be.
"""

import sys

import anyio
from moat.kv.client import open_client
from moat.kv.exceptions import ServerError
from moat.util import NotGiven, P, Path


class Refused:
    """The block must be refused with an error whose text contains TEXT."""

    def __init__(self, text):
        self.text = text

    def __enter__(self):
        return self

    def __exit__(self, typ, exc, tb):
        assert exc is not None, f"not refused; expected {self.text!r}"
        assert isinstance(exc, ServerError), repr(exc)
        assert self.text in str(exc), f"{exc!s} does not say {self.text!r}"
        return True


async def one_entry(c):
    p = P("py.one")
    assert "value" not in await c.get(p)
    r = await c.set(p, value=1, nchain=2, chain=None)
    assert r.changed and r.chain.prev is None, r
    with Refused("Entry already exists"):
        await c.set(p, value=2, chain=None)
    r2 = await c.set(p, value=2, chain=r.chain, nchain=1)
    assert r2.changed and r2.chain.tick > r.chain.tick, r2
    with Refused("Chain is"):
        await c.set(p, value=3, chain=r.chain)
    with Refused("Data is 2 not 99"):
        await c.set(p, value=3, prev=99)
    r = await c.set(p, value=3, prev=2, nchain=1)
    again = await c.set(p, value=3, idem=True, nchain=1)
    assert not again.changed and again.chain == r.chain, again
    got = await c.get(p, nchain=-1)
    assert got.value == 3 and got.chain.tick == r.chain.tick, got
    by_tick = await c._request("get_value", node=got.chain.node, tick=got.chain.tick)
    assert by_tick.value == 3 and by_tick.path == p, by_tick
    with Refused("KeyError"):
        await c._request("get_value", node="nobody", tick=1)
    r = await c.delete(p, chain=got.chain, nchain=1)
    assert r.changed, r
    got = await c.get(p, nchain=1)
    assert "value" not in got and got.chain == r.chain, got
    r = await c.set(p, value="new", chain=None, nchain=1)
    assert r.changed, r
    with Refused("Call 'delete_value'"):
        await c._request("set_value", path=p)
    with Refused("Null path element"):
        await c.get(Path("py", None))


async def kinds_of_values(c):
    values = [
        None, True, False, 0, -1, 127, 128, -32, -33, 2**31, 2**63, 2**64 - 1, -(2**63),
        2**64, 2**200, 1.5, -0.0, 1e300, float("inf"), "", "text", "ü€😀", "x" * 70000,
        b"", b"\x00\xff", b"y" * 300, [], [1, [2, [3]]], {}, {"a": {"b": [1, None]}},
        {1: "one", None: 2, b"k": 3}, P("a.b:1"), Path(), Path("x", ("y", 1), None),
        {"p": P("q.r")}, list(range(1000)), {f"k{i}": i for i in range(1000)},
    ]
    for i, v in enumerate(values):
        p = Path("py", "values", i)
        await c.set(p, value=v)
        got = (await c.get(p)).value
        want = as_read(v)
        assert same(got, want), f"{v!r}: {got!r}"
    # and all of them at once
    seen = {}
    async for r in c.get_tree(P("py.values"), min_depth=1):
        seen[r.path[0]] = r.value
    assert len(seen) == len(values)
    for i, v in enumerate(values):
        assert same(seen[i], as_read(v)), f"{v!r}: {seen[i]!r}"


def as_read(v):
    """Lists and tuples are one on the wire."""
    if isinstance(v, Path):
        return v
    if isinstance(v, (list, tuple)):
        return tuple(as_read(x) for x in v)
    if isinstance(v, dict):
        return {k: as_read(x) for k, x in v.items()}
    return v


def same(a, b):
    a, b = as_read(a), as_read(b)
    return type(a) is type(b) and a == b if not isinstance(b, dict) else dict(a) == b


async def names_and_trees(c):
    for name, v in (("a", 1), ("a.b", 2), ("a.b.c", 3), ("d.e", 4), ("a.f", None)):
        await c.set(P("py.tree") + P(name), value=v)
    await c.set(Path("py", "tree", 7), value="seven")
    assert list(await c.list(P("py.tree"))) == ["a", "d", 7]
    assert dict(await c.list(P("py.tree"), with_data=True)) == {"a": 1, 7: "seven"}
    assert dict(await c.list(P("py.tree"), with_data=True, empty=True)) == {
        "a": 1, "d": None, 7: "seven",
    }
    with Refused("KeyError"):
        await c.list(P("py.nowhere"))

    async def tree(**kw):
        return [(r.path, r.get("value", NotGiven)) async for r in c.get_tree(P("py.tree"), **kw)]

    everything = [
        (P("a"), 1), (P("a.b"), 2), (P("a.b.c"), 3), (P("a.f"), None), (P("d.e"), 4),
        (Path(7), "seven"),
    ]
    assert await tree() == everything
    assert await tree(max_depth=1) == [(P("a"), 1), (Path(7), "seven")]
    assert await tree(min_depth=3) == [(P("a.b.c"), 3)]
    assert (P("d"), NotGiven) in await tree(empty=True)
    with Refused("KeyError"):
        async for _ in c.get_tree(P("py.nowhere")):
            pass
    # many, so that flow control matters
    for i in range(200):
        await c.set(Path("py", "many", i), value=i)
    got = [(r.path[0], r.value) async for r in c.get_tree(P("py.many"), nchain=2)]
    assert got == [(i, i) for i in range(200)]


async def recursive_deletion(c):
    for name in ("x", "x.y", "x.y.z", "w.v"):
        await c.set(P("py.gone") + P(name), value=name)
    r = await c.delete_tree(P("py.gone.x"))
    assert r.changed == 3, r
    left = [r.path async for r in c.get_tree(P("py.gone"))]
    assert left == [P("w.v")], left
    with Refused("root"):
        await c._request("delete_tree", path=[])


async def watching(c):
    await c.set(P("py.watch.old"), value=0)
    seen = []
    async with c.watch(P("py.watch"), fetch=True, nchain=2) as w:
        async for r in w:
            if "path" not in r:
                assert r.state == "uptodate", r
                break
            seen.append((r.path, r.value))
        assert seen == [(P("py.watch.old"), 0)], seen
        # below, beside and above it
        for i in range(40):
            await c.set(Path("py", "watch", "n", i), value=i)
        await c.set(P("py.beside"), value=1)
        await c.delete(P("py.watch.old"))
        await c.set(P("py.watch"), value="top")
        with anyio.fail_after(30):
            for i in range(40):
                r = await w.__anext__()
                assert (r.path, r.value) == (Path("py", "watch", "n", i), i), r
                assert r.chain.tick, r
            r = await w.__anext__()
            assert r.path == P("py.watch.old") and "value" not in r, r
            r = await w.__anext__()
            assert r.path == P("py.watch") and r.value == "top", r
    # only one level
    async with c.watch(P("py.watch"), min_depth=1, max_depth=1) as w:
        await c.set(P("py.watch.n.deep"), value=1)
        await c.set(P("py.watch.here"), value=2)
        with anyio.fail_after(30):
            r = await w.__anext__()
        assert r.path == P("py.watch.here"), r


async def mirroring(c):
    await c.set(P("py.mirror.a"), value=1)
    async with c.mirror(P("py.mirror"), need_wait=True) as m:
        with anyio.fail_after(30):
            await m.wait_loaded()
            assert m["a"].value == 1
            r = await c.set(P("py.mirror.b.c"), value={"x": 2}, nchain=3)
            await m.wait_chain(r.chain)
            assert m["b"]["c"].value == {"x": 2}
            r = await m["a"].update(5, wait=True)
            assert (await c.get(P("py.mirror.a"))).value == 5
            r = await c.delete(P("py.mirror.b.c"), nchain=3)
            await m.wait_chain(r.chain)
            assert "b" not in m or m["b"].get("c") is None or m["b"]["c"].value is NotGiven
            await m["a"].delete()
            assert "value" not in await c.get(P("py.mirror.a"))


async def messages(c):
    with anyio.fail_after(30):
        async with c.msg_monitor(["py", "+"]) as one, c.msg_monitor(["py", "b"], raw=True) as raw:
            await c.msg_send(["py", "a"], data={"x": [1, 2]})
            await c.msg_send(["py", "b"], raw=b"\xc1 raw")
            await c.msg_send(["other"], data=0)
            await c.msg_send(["py", "b"], data="last")
            r = await one.__anext__()
            assert tuple(r.topic) == ("py", "a") and r.data == {"x": (1, 2)}, r
            r = await raw.__anext__()
            assert tuple(r.topic) == ("py", "b") and r.raw == b"\xc1 raw", r
            r = await raw.__anext__()
            assert r.raw == b"\xa4last", r


async def bookkeeping(c):
    r = await c._request("get_state", nodes=True, known=True, present=True, missing=True)
    assert r.nodes[c.server_name] >= 1 and not r.missing, r
    t1, t2 = await c.get_tock(), await c.get_tock()
    assert t2 > t1
    ticks = (await c._request("enum_node", node=c.server_name)).result
    assert 1 in ticks and list(ticks) == sorted(ticks), ticks
    two = (await c._request("enum_node", node=c.server_name, max=2, current=True)).result
    assert len(two) == 2, two
    with Refused("has entry"):
        await c._request("kill_node", node=c.server_name)
    await c._request("check_deleted", nodes={c.server_name: [[1, 4]]})
    assert (await c.stop(4711)).result is False


async def internals(c):
    await c._request("set_internal", path=P("py.x"), value={"k": 1})
    r = await c._request("get_internal", path=P("py.x"))
    assert r.value == {"k": 1}, r
    assert (await c.get(Path(None, "py", "x"))).value == {"k": 1}
    assert "py" in (await c._request("enum_internal", path=Path(), empty=True)).result
    found = []
    async for r in await c._request("get_tree_internal", path=P("py"), iter=True):
        found.append(r.value)
    assert found == [{"k": 1}], found
    await c._request("delete_internal", path=P("py.x"))
    assert "value" not in await c._request("get_internal", path=P("py.x"))
    with Refused("This node can't have data."):
        await c._request("set_internal", path=P("type"), value=1)


async def main(port):
    checks = [
        one_entry, kinds_of_values, names_and_trees, recursive_deletion, watching, mirroring,
        messages, bookkeeping, internals,
    ]
    async with open_client(conn={"host": "127.0.0.1", "port": port}) as c:
        assert (await c.get(Path())).value == "Testing"
        for check in checks:
            print("check:", check.__name__, flush=True)
            await check(c)


anyio.run(main, int(sys.argv[1]), backend="trio")
