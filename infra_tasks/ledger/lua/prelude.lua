-- Shared by every script: ledger time, moves, indexes, hints. Loaded in front of each of them; MOVES and FINAL are
-- put in front of this text from infra_tasks.model.run.
--
-- KEYS[1]  prefix of every key of the ledger
-- ARGV[1]  what the script takes, as JSON; absent means nil, never null
--
-- run:<id>            hash    the record of a run
-- run:<id>:events     list    {at, from, to, actor, cause, token}
-- due                 zset    run id -> ledger time at which the sweep must look at it
-- waiting:<queue>     zset    QUEUED run -> ledger time its hint was last pushed (or seen in a worker's hands)
-- queues              set     every queue that ever held a waiting run
-- live                zset    runs that are not final, by submitted_at
-- recent, ids         zset    all runs by submitted_at; by name, for shortened ids
-- counts              hash    state -> how many
-- unsettled           zset    final runs whose continuations are not known to be done
-- node:<name>         hash    what the agent said of its node;  node:<name>:live  set of run ids with a claim there
-- nodes               set     names
-- clock               hash    now = ledger time, seen = Redis TIME at the last call
-- epoch               hash    server = whose memory this is;  safe = since when (ledger time) safe mode is on
-- safe                set     nodes that have not presented their attempts yet
-- idem:<key>          string  run id;   nonce:<nonce>  string  the answer that was given
-- follow:<id>         string  somebody reads along;  out:<id>:<attempt>:<stream>  list of chunks
local P = KEYS[1]
local A = cjson.decode(ARGV[1])

-- An outage or a jump of the clock does not count as time that passed for a lease.
local LARGEST_STEP_S = 10
local NONCE_KEPT_S = 3600
local EVENTS_KEPT = 200

local function key(...) return P .. table.concat({...}, ':') end
local function num(x) return string.format('%.6f', x) end

local function wall()
  local t = redis.call('TIME')
  return tonumber(t[1]) + tonumber(t[2]) / 1e6
end

-- Advances ledger time by min(TIME - last seen, 10 s); returns ledger time and Redis TIME.
local function tick()
  local at = wall()
  local c = redis.call('HMGET', key('clock'), 'now', 'seen')
  local now, seen = tonumber(c[1] or 0), tonumber(c[2] or num(at))
  now = now + math.max(0, math.min(at - seen, LARGEST_STEP_S))
  redis.call('HSET', key('clock'), 'now', num(now), 'seen', num(at))
  return now, at
end

local function answered()
  if not A.nonce then return nil end
  return redis.call('GET', key('nonce', A.nonce))
end

local function answer(t)
  local said = cjson.encode(t)
  if A.nonce then redis.call('SET', key('nonce', A.nonce), said, 'EX', NONCE_KEPT_S) end
  return said
end

local function get(id, ...)
  return redis.call('HMGET', key('run', id), ...)
end

local function event(id, at, from, to, actor, cause, token)
  local log = key('run', id, 'events')
  redis.call('RPUSH', log, cjson.encode({at = num(at), from = from, to = to, actor = actor, cause = cause, token = token}))
  redis.call('LTRIM', log, -EVENTS_KEPT, -1)
end

-- The one place where a state changes. A move that is not in the table is a defect of the calling script.
local function move(id, from, to, at, actor, cause, token)
  if not (MOVES[from] and MOVES[from][to]) then
    error('move ' .. from .. ' -> ' .. to .. ' of run ' .. id .. ' is not in the table of moves')
  end
  redis.call('HSET', key('run', id), 'state', to)
  redis.call('HINCRBY', key('counts'), from, -1)
  redis.call('HINCRBY', key('counts'), to, 1)
  event(id, at, from, to, actor, cause, token)
end

local function push(id, queue, hint)
  if not hint or hint == '' then return end
  local n = redis.call('HINCRBY', key('run', id), 'hints', 1)
  local text = string.gsub(hint, '@QUEUE@', queue)
  text = string.gsub(text, '@TAG@', id .. '.' .. n .. '.' .. string.sub(redis.sha1hex(num(wall()) .. id .. n), 1, 12))
  redis.call('LPUSH', queue, text)
end

-- A run waits in its queue from now on, and its hint says so.
local function enqueue(id, now)
  local r = get(id, 'queue', 'hint', 'expires_due')
  redis.call('SADD', key('queues'), r[1])
  redis.call('ZADD', key('waiting', r[1]), num(now), id)
  if r[3] and r[3] ~= '' then redis.call('ZADD', key('due'), r[3], id) else redis.call('ZREM', key('due'), id) end
  push(id, r[1], r[2])
end

local function leave_queue(id)
  redis.call('ZREM', key('waiting', get(id, 'queue')[1]), id)
end

-- Which server process remembers this: another one may have loaded an older copy.
local function server()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
end

-- Turns safe mode on when the server is not the one that answered last; returns whether it is on.
local function guarded(now)
  local e = redis.call('HMGET', key('epoch'), 'server', 'safe', 'longest')
  local id = server()
  if e[1] ~= id then
    redis.call('HSET', key('epoch'), 'server', id)
    local nodes = redis.call('SMEMBERS', key('nodes'))
    if #nodes == 0 then return false end
    redis.call('HSET', key('epoch'), 'safe', num(now))
    redis.call('DEL', key('safe'))
    redis.call('SADD', key('safe'), unpack(nodes))
    redis.call('LPUSH', key('events'), cjson.encode({at = num(wall()), kind = 'safe_mode_on', cause = 'another server process answers'}))
    redis.call('LTRIM', key('events'), 0, 999)
    return true
  end
  if not e[2] or e[2] == '' then return false end
  if redis.call('SCARD', key('safe')) == 0 or now - tonumber(e[2]) > tonumber(e[3] or 120) then
    redis.call('HDEL', key('epoch'), 'safe')
    redis.call('DEL', key('safe'))
    redis.call('LPUSH', key('events'), cjson.encode({at = num(wall()), kind = 'safe_mode_off'}))
    return false
  end
  return true
end

-- Ends a run for good: state, result, Celery's meta and its announcement, in one step.
-- meta_key, meta: as Celery's result backend writes them; keep_s: how long.
local function finalize(id, from, to, now, at, e)
  move(id, from, to, at, e.actor, e.cause, e.token)
  local r = get(id, 'canvas', 'claim_node', 'queue')
  redis.call('HSET', key('run', id), 'ended_at', num(at), 'reason', e.reason or '', 'cause', e.cause or '', 'result', e.result, 'lease_until', '')
  redis.call('ZREM', key('live'), id)
  redis.call('ZREM', key('waiting', r[3]), id)
  if r[2] and r[2] ~= '' then redis.call('SREM', key('node', r[2], 'live'), id) end
  redis.call('SET', e.meta_key, e.meta, 'EX', e.keep_s)
  redis.call('PUBLISH', e.meta_key, e.meta)
  if r[1] == '1' then
    redis.call('ZADD', key('unsettled'), num(now), id)
    redis.call('ZADD', key('due'), num(now + (e.settle_in_s or 5)), id)
    if (e.settle_in_s or 5) == 0 then push(id, r[3], get(id, 'hint')[1]) end
  else
    redis.call('ZREM', key('due'), id)
    redis.call('HDEL', key('run', id), 'hint', 'dispatch_hint')
  end
end

local function token(attempt, claim) return attempt .. ':' .. claim end
