-- Shared by every script: ledger time, moves, indexes, hints. Loaded in front of each of them. MOVES and FINAL (from
-- infra_tasks.model.run) and plain_hint (from infra_tasks.model.hint) are put in front of this text; waiting.lua follows.
--
-- KEYS[1]  prefix of every key of the ledger
-- ARGV[1]  what the script takes, as JSON; absent means nil, never null
--
-- run:<id>            hash    the record of a run; an absent field is an empty one
-- story:<id>          list    {at, from, to, actor, cause, token}
-- due                 zset    run id -> ledger time at which the sweep must look at it (leases, expiry, settling)
-- moments             zset    PENDING or RETRY run -> wall time (Redis TIME) before which it must not go on
-- pauses              zset    of those, who waits between two tries -> ledger time at which it goes on, wherever the wall clock went
-- waiting:<queue>     zset    run that needs a hint in this queue (QUEUED; PENDING in a dispatch queue)
--                             -> ledger time its hint was last pushed (or seen in a worker's hands)
-- running:<what>, most_running, ahead:*, line:*, lines*   who waits for whom: see waiting.lua
-- queues              zset    queue -> ledger time a run last came to wait there
-- live                zset    runs that are not final, by submitted_at
-- ended               zset    runs that are final, by the ledger time of their end
-- recent, ids         zset    all runs by submitted_at; by name, for shortened ids
-- counts              hash    state -> how many
-- totals              hash    submitted, archived, forgotten (older than the history, not exported) -> how many, ever
-- unsettled           zset    final runs whose continuations are not known to be done
-- node:<name>         hash    what the agent said of its node;  node:<name>:live  set of run ids with a claim there
-- nodes               set     names;  draining  set  names of those that are drained, or were and are cordoned still
-- clock               hash    now = ledger time, seen = Redis TIME at the last call, silent_till = ledger time of the first call after
--                             nobody had called for longer than LARGEST_STEP_S;  swept = ledger time of the last sweep
-- epoch               hash    server = whose memory this is;  safe = since when (ledger time) safe mode is on;
--                             longest = the longest lost_after_s a node spoke of;  history_s = how long final runs are kept
-- safe                set     nodes that have not presented their attempts yet (also those that safe mode did not wait for
--                             any longer, and new ones); '*' = any node, none being known
-- sweeper             string  the node that sweeps;  archivist  string  the node that exports what leaves the history
-- events              list    what happened to the fleet, newest first
-- held                hash    node -> the releases it holds, as its agent said last (JSON list)
-- holders:<project>:<digest>  set  nodes that said they hold this release
-- expected            hash    "<project> <node>" -> digest of the release that should be there
-- check:<node>        string  the node was asked lately to check its code
-- syncs               list    "<wall time> <entry as JSON>", how releases came to nodes, newest first
-- root:<id>           hash    project -> release that the runs of a canvas share; id of the canvas' first run; kept as results are
-- schedules           hash    name -> schedule as JSON: those that users added
-- slots               hash    name -> how far a schedule is, as JSON (infra_tasks/ledger/schedules.py); '@RUN@' in what is to be
--                             written there becomes the id of the run that was submitted for its slot
-- idem:<key>          string  run id;   nonce:<nonce>  string  the answer that was given
-- followed, asked:*, out:*     reading along: see infra_tasks/ledger/output.py
-- brought:*                    outputs on their way home: see infra_tasks/ledger/bringing.py
local P = KEYS[1]
local A = cjson.decode(ARGV[1])

-- An outage or a jump of the clock does not count as time that passed for a lease.
local LARGEST_STEP_S = 10
local NONCE_KEPT_S = 3600
local STORY_KEPT = 200
local FLEET_EVENTS_KEPT = 1000
local SAFE_AT_MOST_S = 120
-- An older copy may not know every node. Agents call every second, so by then those have spoken, too.
local HEARD_WITHIN_S = 5
local SETTLE_AGAIN_S = 10
-- An end that was announced before writes were lost is only to be told again: nothing runs that could need the lease.
local TOLD_LEASE_S = 24 * 3600
-- A result outlasts its record: whoever exports that may come late, and removes both.
local RESULT_OUTLASTS_S = 7 * 24 * 3600

local function key(...) return P .. table.concat({...}, ':') end
local function num(x) return string.format('%.6f', x) end
local function token(attempt, claim) return attempt .. ':' .. claim end

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
  local read = {'now', num(now), 'seen', num(at)}
  if at - seen > LARGEST_STEP_S then read[5] = 'silent_till'; read[6] = num(now) end
  redis.call('HSET', key('clock'), unpack(read))
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

-- Fields of a run, '' where absent: an unknown run has the state ''.
local function get(id, ...)
  local r = redis.call('HMGET', key('run', id), ...)
  for i = 1, #r do r[i] = r[i] or '' end
  return r
end

local function put(id, ...) redis.call('HSET', key('run', id), ...) end

-- A node holds the claim. (SYNCING with a dispatcher's id is a dispatcher's business, nobody's claim.)
local function held(state, dispatch) return state == 'STARTED' or (state == 'SYNCING' and dispatch == '') end

local function line(at, from, to, actor, cause, token)
  return cjson.encode({at = num(at), from = from, to = to, actor = actor, cause = cause, token = token})
end

local function event(id, at, from, to, actor, cause, token)
  redis.call('RPUSH', key('story', id), line(at, from, to, actor, cause, token))
  redis.call('LTRIM', key('story', id), -STORY_KEPT, -1)
end

local function fleet_event(t)
  redis.call('LPUSH', key('events'), cjson.encode(t))
  redis.call('LTRIM', key('events'), 0, FLEET_EVENTS_KEPT - 1)
end

-- The one place where a state changes. A move that is not in the table is a defect of the calling script.
local function move(id, from, to, at, actor, cause, token)
  if not (MOVES[from] and MOVES[from][to]) then
    error('move ' .. from .. ' -> ' .. to .. ' of run ' .. id .. ' is not in the table of moves')
  end
  put(id, 'state', to)
  redis.call('HINCRBY', key('counts'), from, -1)
  redis.call('HINCRBY', key('counts'), to, 1)
  event(id, at, from, to, actor, cause, token)
end

-- Counts what the audit holds against what is there. A ledger of a version that did not count was given what it holds.
local function total(name, n)
  if redis.call('HEXISTS', key('totals'), 'submitted') == 0 then
    redis.call('HSET', key('totals'), 'submitted', redis.call('ZCARD', key('recent')))
  end
  redis.call('HINCRBY', key('totals'), name, n)
end

-- Whether a schedule is no longer where its caller saw it; a new one was '' before.
local function schedule_moved(name, before) return (redis.call('HGET', key('slots'), name) or '') ~= before end

local function look_at(id, due) redis.call('ZADD', key('due'), num(due), id) end

-- The text for the broker's list. A run without a canvas needs no text of its own.
local function hint_text(id, queue, hint, shown, task, n)
  local tag = id .. '.' .. n .. '.' .. string.sub(redis.sha1hex(num(wall()) .. id .. n), 1, 12)
  if hint == '' then return plain_hint(task, id, cjson.encode(shown), queue, tag) end
  local text = string.gsub(hint, '@QUEUE@', (string.gsub(queue, '%%', '%%%%')))
  return (string.gsub(text, '@TAG@', tag))
end

-- Pushes a hint for a run, to be the last one of its queue or (in_front) the next one; returns how many it has had.
local function push(id, queue, task, in_front)
  local r = get(id, 'hint', 'shown')
  local n = redis.call('HINCRBY', key('run', id), 'hints', 1)
  redis.call(in_front and 'RPUSH' or 'LPUSH', queue, hint_text(id, queue, task == RUN and r[1] or '', r[2], task, n))
  return n
end

-- Puts a hint that somebody took to the front of its queue again, or to its end.
local function push_back(id, queue, at_end)
  local r = get(id, 'hint', 'shown', 'hints')
  redis.call(at_end and 'LPUSH' or 'RPUSH', queue, hint_text(id, queue, r[1], r[2], RUN, r[3]))
end

local function watch_expiry(id, expires_due)
  if expires_due ~= '' then redis.call('ZADD', key('due'), expires_due, id) else redis.call('ZREM', key('due'), id) end
end

-- A run waits for a moment (wall time); its expiry goes on meanwhile.
local function wait_until(id, moment)
  redis.call('ZADD', key('moments'), num(moment), id)
  watch_expiry(id, get(id, 'expires_due')[1])
end

-- Between two tries. Should the wall clock be set back meanwhile, by an hour say, nobody is to wait for that.
local function pause(id, for_s, now, at)
  put(id, 'not_before', num(at + for_s))
  redis.call('ZADD', key('pauses'), num(now + for_s), id)
  wait_until(id, at + for_s)
end

local function wait_no_more(id)
  redis.call('ZREM', key('moments'), id)
  redis.call('ZREM', key('pauses'), id)
end

local function lease_s(lost_after_s, told) return told ~= '' and TOLD_LEASE_S or tonumber(lost_after_s) end

-- Which server process remembers this: another one may have loaded an older copy.
local function server()
  return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
end

local function begin_safe_mode(now)
  redis.call('HSET', key('epoch'), 'safe', num(now))
  local nodes = redis.call('SMEMBERS', key('nodes'))
  for _, node in ipairs(nodes) do redis.call('SADD', key('safe'), node) end
  -- A copy from before the first node spoke: claims may have been given since, so one node must speak first.
  if #nodes == 0 then redis.call('SADD', key('safe'), '*') end
  fleet_event({at = num(wall()), kind = 'safe_mode_on', cause = 'another server process answers'})
end

local function is_everybody_heard(now)
  local silent_till = tonumber(redis.call('HGET', key('clock'), 'silent_till') or -HEARD_WITHIN_S)
  return now - silent_till >= HEARD_WITHIN_S and redis.call('SCARD', key('safe')) == 0
end

-- Turns safe mode on when the server is not the one that answered last; returns whether it is on.
local function guarded(now)
  local e = redis.call('HMGET', key('epoch'), 'server', 'safe', 'longest')
  local id = server()
  if e[1] ~= id then
    redis.call('HSET', key('epoch'), 'server', id)
    if e[1] then begin_safe_mode(now) end
    return e[1] and true or false
  end
  if not e[2] or e[2] == '' then return false end
  if is_everybody_heard(now) or now - tonumber(e[2]) > tonumber(e[3] or SAFE_AT_MOST_S) then
    redis.call('HDEL', key('epoch'), 'safe')
    redis.call('SREM', key('safe'), '*')
    fleet_event({at = num(wall()), kind = 'safe_mode_off'})
    return false
  end
  return true
end
