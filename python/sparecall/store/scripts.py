"""The steps that Redis takes as one, in Lua.

All versions stand in one hash, beside the store's epoch: what Redis loses of them it loses together. The epoch is the version of every
name that was never invalidated, and a new one is greater than any version before it: with the hash gone, or the server another or
started anew (it may have lost invalidations that it had acknowledged), nothing that was ever marked is good any longer.
"""

_BEGIN = """
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local function text(number) return string.format('%.0f', number) end
local function start(least)
    redis.call('DEL', KEYS[1])
    redis.call('HSET', KEYS[1], 'epoch', text(least), 'server', server, 'last', text(least))
    return text(least)
end
local known = redis.call('HMGET', KEYS[1], 'epoch', 'server', 'last')
local least = math.max(now, tonumber(ARGV[1]) + 1, (tonumber(known[3] or 0) or 0) + 1)
"""

EPOCH = (
    _BEGIN
    + """
if not string.find(redis.call('INFO', 'replication'), 'role:master', 1, true) then
    return redis.error_reply('READONLY this server is a replica')
end
if known[1] and known[2] == server then return known[1] end
return start(least)
"""
)
"""KEYS: the hash. ARGV: the greatest version that the caller ever saw. Gives the epoch, a new one where need be; READONLY of a replica."""

BUMP = (
    _BEGIN
    + """
if not (known[1] and known[2] == server) or redis.call('HLEN', KEYS[1]) > tonumber(ARGV[2]) then
    start(least)
    least = least + 1
end
local version = text(least)
for i = 5, #ARGV do redis.call('HSET', KEYS[1], ARGV[i], version) end
redis.call('HSET', KEYS[1], 'last', version)
redis.call('PUBLISH', ARGV[3], version .. ' ' .. ARGV[4])
return {redis.call('HGET', KEYS[1], 'epoch'), version}
"""
)
"""KEYS: the hash. ARGV: the greatest version seen, the most names kept, the channel, the message, the names' digests. Gives epoch and version."""

RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
"""KEYS: the lease. ARGV: its token."""
