"""Code of the user's that runs in the middle of a cache's work: finalizers, comparisons, hashes, weighers, clocks, iterators.

Each script runs in a process of its own with a collection at every allocation, and a deadline that shows where it hung.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from caches import POLICIES

if TYPE_CHECKING:
    from pathlib import Path

PRELUDE = """
import faulthandler, gc, itertools, random, sys, threading, weakref
faulthandler.enable()
faulthandler.dump_traceback_later(100, exit=True)
from sparecall.cache import BytesCache, Cache
POLICY, FOLDER = sys.argv[1:]
unraisable = []
sys.unraisablehook = lambda raised: unraisable.append(raised.exc_type)

def uses(cache):
    '''Every method, one after the other, as often as asked for.'''
    def save():
        try:
            cache.save(FOLDER + '/inner', encode=lambda value: b'')
        except TypeError as error:
            assert 'a key holds an object of class Key' in str(error), error
    count = itertools.count()
    calls = [
        lambda: cache.get('a'), lambda: cache.set('a', 1), lambda: cache.set('b', 2, ttl=0.001, tags=['t']),
        lambda: cache.delete('a'), lambda: cache.stats(), lambda: len(cache), lambda: 'a' in cache, lambda: repr(cache),
        lambda: cache.get_many('abc'), lambda: cache.set_many({'c': 3, 'd': 4}), lambda: cache.delete_many('cd'),
        lambda: cache.invalidate_tag('t'), lambda: cache.invalidate_prefix('b'), lambda: cache.sweep(),
        lambda: cache.clear(), lambda: gc.collect(), save,
    ]
    def use():
        number = next(count)
        calls[number % len(calls)]()
        return number
    return use

def balance(cache):
    stats = cache.stats()
    assert stats.sets == stats.entries + sum(stats.evictions.values()), stats
    assert stats.weight <= stats.max_weight, stats

gc.set_threshold(1)
"""

SCRIPTS = {
    "a value's end uses the cache": """
class Value:
    def __del__(self):
        use()
cache = Cache(5, policy=POLICY)
use = uses(cache)
for step in range(600):
    cache.set(step % 11, Value(), ttl=None if step % 3 else 60, tags=['t'] if step % 2 else None)
    if step % 13 == 0:
        cache.delete(step % 11)
    if step % 41 == 0:
        cache.clear()
    if step % 17 == 0:
        cache.set_many((number, Value()) for number in range(20))
    balance(cache)
cache.clear()
assert not unraisable, unraisable
""",
    "a key's end uses the cache": """
class Key:
    def __init__(self, number): self.number = number
    def __hash__(self): return self.number % 3
    def __eq__(self, other): return isinstance(other, Key) and self.number == other.number
    def __del__(self): use()
cache = Cache(5, policy=POLICY)
use = uses(cache)
for step in range(400):
    cache[Key(step % 11)] = step
    assert cache.get(Key(step % 11)) in (None, step)
    cache.delete(Key(step % 7))
    balance(cache)
assert not unraisable, unraisable
""",
    "an end that raises breaks nothing": """
class Raising:
    def __del__(self): raise ZeroDivisionError
class Key(Raising):
    pass
cache = Cache(2, policy=POLICY)
for step in range(50):
    assert cache.set(step % 5, Raising()) is True
    assert isinstance(cache.get(step % 5), Raising)
    cache[Key()] = step
assert cache.set_many([(number, Raising()) for number in range(10)]) == 10
assert cache.delete(9) is True
cache.set('dead', Raising(), ttl=0)
cache.set('heavy', Raising(), weight=100)
cache.clear()
del cache
assert set(unraisable) == {ZeroDivisionError} and len(unraisable) == 50 * 2 + 10 + 2, len(unraisable)
""",
    "a comparison uses the cache": """
class Key:
    busy = False
    def __init__(self, number): self.number = number
    def __hash__(self): return 1
    def __eq__(self, other):
        if not Key.busy:
            Key.busy = True
            try: use()
            finally: Key.busy = False
        return isinstance(other, Key) and self.number == other.number
cache = Cache(6, policy=POLICY)
use = uses(cache)
for step in range(600):
    cache[Key(step % 9)] = step
    assert cache.get(Key(step % 9)) in (None, step)
    cache.get_many([Key(number) for number in range(3)])
    cache.delete_many([Key(step % 4)])
    balance(cache)
assert not unraisable, unraisable
""",
    "a hash uses the cache": """
class Key:
    def __hash__(self):
        use()
        return 1
cache = Cache(6, policy=POLICY)
use = uses(cache)
keys = [Key() for _ in range(4)]
for step in range(300):
    cache[keys[step % 4]] = step
    assert cache.get(keys[step % 4]) in (None, step)
    cache.set_many([(key, step) for key in keys])
    balance(cache)
""",
    "a weigher and a clock use the cache": """
class Around:
    def __init__(self, answer): self.answer, self.busy = answer, False
    def __call__(self, *_):
        if not self.busy:
            self.busy = True
            try: use()
            finally: self.busy = False
        return self.answer()
now = itertools.count()
cache = Cache(20, policy=POLICY, ttl=30, weigher=Around(lambda: next(now) % 8), clock=Around(lambda: float(next(now))))
use = uses(cache)
for step in range(600):
    cache[step % 9] = step
    assert cache.get(step % 9) in (None, step)
    cache.set_many({number: step for number in range(3)})
    cache.sweep()
    balance(cache)
""",
    "an iterable of tags, keys or pairs uses the cache": """
def around(items):
    for item in items:
        use()
        yield item
cache = Cache(20, policy=POLICY)
use = uses(cache)
for step in range(300):
    cache.set('x', step, tags=around(['s', 't']))
    cache.get_many(around(['x', 'y']))
    cache.set_many(around([('x', step), ('y', step)]), tags=around(['s']))
    cache.delete_many(around(['x']))
    balance(cache)
""",
    "encode and decode use the cache": """
def around(answer):
    use()
    return answer
cache = Cache(50, policy=POLICY)
use = uses(cache)
for step in range(40):
    cache.set_many((number, number) for number in range(30))
    cache.save(FOLDER + '/outer', encode=lambda value: around(b'%d' % value))
    cache.load(FOLDER + '/outer', decode=lambda content: around(int(content)))
    balance(cache)
""",
    "a collection inside of every callback": """
class Key:
    def __init__(self, number): self.number = number
    def __hash__(self): gc.collect(); return 1
    def __eq__(self, other): gc.collect(); return self.number == other.number
    def __del__(self): gc.collect()
class Value(Key):
    def __init__(self): self.cycle = [self, cache]
def weigh(key, value): gc.collect(); return 1
def clock(): gc.collect(); return 1.0
cache = Cache(3, policy=POLICY, weigher=weigh, clock=clock)
for step in range(12):
    cache.set(Key(step % 4), Value(), ttl=5, tags=(gc.collect() and 't' or 't' for _ in range(2)))
    cache.get(Key(step % 4))
    balance(cache)
""",
    "threads compare, collect and finalize at once": """
class Key:
    def __init__(self, number): self.number = number
    def __hash__(self): return self.number % 3
    def __eq__(self, other): return [self.number] == [other.number]
    def __del__(self): cache.get('none')
class Value:
    def __init__(self, number): self.number, self.cycle = number, [self]
    def __del__(self): cache.set('last', self.number)
cache = Cache(7, policy=POLICY)
wrong = []
def hammer(seed):
    for step in range(250):
        number = (step * 7 + seed) % 12
        found = cache.get(Key(number))
        if found is not None and found.number != number: wrong.append((found.number, number))
        cache[Key(number)] = Value(number)
        if step % 10 == 0: cache.delete(Key(number)); gc.collect(0)
sys.setswitchinterval(1e-5)
threads = [threading.Thread(target=hammer, args=(seed,)) for seed in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not wrong, wrong
balance(cache)
""",
    "collections in every generation while ten thousand containers come": """
gc.set_threshold(2, 2, 2)
cache = Cache(3000, policy=POLICY)
for _ in range(2):
    assert cache.set_many((number, [number, {}]) for number in range(10_000)) == 10_000
    assert all(value is None or value[0] == number for number, value in enumerate(cache.get_many(range(10_000))))
    balance(cache)
gc.set_threshold(700)
""",
    "cycles through a cache are collected": """
gone = []
class Thing:
    def __init__(self, name): self.name = name
    def __del__(self): gone.append(self.name)
    def __call__(self, *_): return 1
    def __hash__(self): return 1
def make(name):
    thing = Thing(name)
    if name == 'value': thing.cache = Cache(9, policy=POLICY); thing.cache['key'] = thing
    if name == 'key': thing.cache = Cache(9, policy=POLICY); thing.cache[thing] = 1
    if name == 'in a tuple': thing.cache = Cache(9, policy=POLICY); thing.cache[(1, thing)] = 1
    if name == 'clock': thing.cache = Cache(9, policy=POLICY, clock=thing)
    if name == 'clock of bytes': thing.cache = BytesCache(9, policy=POLICY, clock=thing)
    if name == 'weigher': thing.cache = Cache(9, policy=POLICY, weigher=thing)
    if name == 'two caches':
        thing.one, thing.other = Cache(9, policy=POLICY), Cache(9, policy=POLICY)
        thing.one[1] = thing.other; thing.other[1] = thing.one; thing.other[2] = thing
    if name == 'itself': thing.cache = Cache(9, policy=POLICY); thing.cache[1] = thing.cache; thing.cache[2] = thing
gc.disable()
names = ['value', 'key', 'in a tuple', 'clock', 'clock of bytes', 'weigher', 'two caches', 'itself']
for name in names: make(name)
assert gone == [], gone
gc.collect()
assert sorted(gone) == sorted(names), gone
own = Cache(9, policy=POLICY); own['self'] = own
gc.collect()
assert own['self'] is own
""",
    "a cache the collector has cleared still answers": """
answers = []
class Late:
    def __init__(self, cache): self.cache = cache
    def __del__(self):
        answers.append((self.cache.get('key'), len(self.cache) in (0, 2)))
        self.cache['again'] = self
        answers.append(self.cache['again'] is self)
        balance(self.cache)
for _ in range(20):
    one, other = Cache(5, policy=POLICY), Cache(5, policy=POLICY)
    one['late'], other['late'] = Late(other), Late(one)
    one['other'], other['other'] = other, one
    del one, other
    gc.collect()
gc.collect()
assert len(answers) >= 40 and all(answers), answers
assert not unraisable, unraisable
""",
    "what survives its end in a cache is whole": """
class Phoenix:
    def __init__(self): self.content = [1, 2, 3]; self.cycle = self
    def __del__(self): cache[len(cache)] = self
cache = Cache(100, policy=POLICY)
for _ in range(50): Phoenix(); gc.collect()
assert [value.content for value in cache.get_many(range(50))] == [[1, 2, 3]] * 50
""",
    "chains of caches end without a frame for each": """
gc.disable()
def chain(link):
    last = None
    for _ in range(100_000):
        last = link(last)
class Holder:
    pass
def cache_of(value, key=1):
    cache = Cache(5, policy=POLICY); cache[key] = value
    return cache
def held(value):
    holder = Holder(); holder.cache = cache_of(value)
    return holder
chain(cache_of)
chain(lambda last: cache_of([last]))
chain(held)
chain(lambda last: cache_of(1, last if last is not None else 'first'))
value = None
for _ in range(100_000): value = [value]
cache = cache_of(value)
del value
cache.clear()
""",
    "values that end after a deep recursion": """
gc.set_threshold(700)
class Value:
    def __del__(self): use()
cache = Cache(3, policy=POLICY)
use = uses(cache)
def deep(level):
    cache[level % 5] = Value()
    cache.get(level % 5)
    return deep(level + 1)
for _ in range(5):
    try: deep(0)
    except RecursionError: pass
balance(cache)
class Key:
    def __hash__(self): return 1
    def __eq__(self, other): return cache.get(Key()) is None
cache.clear()
cache[Key()] = 1
try: cache.get(Key())
except RecursionError: pass
else: sys.exit('no end')
cache['fine'] = 1
assert cache['fine'] == 1
""",
    "an interpreter that ends with full caches": """
class Value:
    def __init__(self, cache): self.cache = cache
    def __del__(self):
        use()
        self.cache['last'] = 1
cache = Cache(1000, policy=POLICY)
use = uses(cache)
cache.set_many((number, Value(cache)) for number in range(500))
bytes_cache = BytesCache(1 << 20, policy=POLICY, compress_above=10)
bytes_cache.set_many((str(number), bytes(100)) for number in range(500))
kept = sys.modules['kept'] = Cache(1000, policy=POLICY, clock=lambda: float(len(bytes_cache)))
kept.set_many((number, Value(kept)) for number in range(500))
sys.unraisablehook = lambda raised: None
threading.Thread(target=lambda: all(bytes_cache.set('x', b'y') for _ in iter(int, 1)), daemon=True).start()
""",
    "threads that end with a cache of their own": """
ends = []
class Value:
    def __del__(self): ends.append(1)
local = threading.local()
def work():
    local.cache = Cache(100, policy=POLICY)
    local.cache.set_many((number, Value()) for number in range(50))
    local.cache['nested'] = Cache(5, policy=POLICY)
for _ in range(10):
    thread = threading.Thread(target=work); thread.start(); thread.join()
gc.collect()
assert len(ends) == 500, len(ends)
""",
}


RUNS = [
    # Every script with one policy here, with all of them in the long run.
    pytest.param(name, policy, id=f"{name}, {policy}", marks=[] if (at + other) % 3 == 0 else [pytest.mark.soak])
    for at, name in enumerate(SCRIPTS)
    for other, policy in enumerate(POLICIES)
]


@pytest.mark.parametrize(("script", "policy"), RUNS)
def test_code_that_comes_back_in_finds_the_cache_whole(script: str, policy: str, tmp_path: Path) -> None:
    code = f"{PRELUDE}\n{SCRIPTS[script]}\nprint('done', flush=True)"
    done = subprocess.run(
        [sys.executable, "-c", code, policy, tmp_path], capture_output=True, text=True, timeout=110, check=False
    )
    assert (done.stderr, done.stdout, done.returncode) == ("", "done\n", 0)
