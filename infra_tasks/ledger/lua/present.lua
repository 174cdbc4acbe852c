-- A ledger that lost writes is told by a node what it really holds: living attempts and kept exit records. An attempt
-- number above the ledger's proves that the ledger forgot, so the node's word is newer.
-- node, uuid, done (last call of this presentation), keep_s (how long a canvas is held to its release),
-- attempts[]: {run, attempt, claim, ended, told (final state the ledger gave it, if it was reported),
--              fields = {the record as it was claimed: the proof that it was, and what a lost run is restored from}}
-- answer: {said = 'ok' | 'stranger', taken[], fenced[], known[]} of run ids: taken = the ledger follows the node from now
-- on, known = it did all the time (of both: an ended one is to be finished once safe mode is over)
local now, at = tick()
local safe = guarded(now)
local uuid = redis.call('HGET', key('node', A.node), 'uuid')
if uuid and uuid ~= A.uuid then return cjson.encode({said = 'stranger'}) end
local said = {said = 'ok', taken = {}, fenced = {}, known = {}}

local KEPT = {'spec', 'print', 'queue', 'shown', 'hint', 'canvas', 'node', 'project', 'name', 'most_named', 'labels', 'timeout_s',
  'lost_after_s', 'rerun_lost', 'dispatch_queue', 'release', 'rules', 'idem', 'retry_of', 'root', 'expires_due',
  'home_node', 'pool', 'schedule', 'slot', 'line'}
local COUNTED = {'retries_used', 'lost', 'unstarted', 'stopped'}

local function text(value) return (type(value) == 'string' or type(value) == 'number') and tostring(value) or '' end

local function restorable(f)
  if type(f) ~= 'table' then return false end
  for _, name in ipairs({'spec', 'queue', 'timeout_s', 'lost_after_s'}) do if text(f[name]) == '' then return false end end
  return true
end

local function restore(a)
  local f, submitted = a.fields, tonumber(text(a.fields.submitted_at)) or at
  put(a.run, 'state', 'QUEUED', 'attempt', 0, 'submitted_at', num(submitted))
  for _, name in ipairs(KEPT) do
    if text(f[name]) ~= '' then put(a.run, name, text(f[name])) end
  end
  if text(f.idem) ~= '' then redis.call('SET', key('idem', f.idem), a.run, 'NX') end
  total('submitted', 1)
  redis.call('ZADD', key('live'), num(submitted), a.run)
  redis.call('ZADD', key('recent'), num(submitted), a.run)
  redis.call('ZADD', key('ids'), 0, a.run)
  redis.call('HINCRBY', key('counts'), 'QUEUED', 1)
  event(a.run, at, '', 'QUEUED', 'safe mode', 'restored from the record on ' .. A.node, nil)
end

local function count_up(a, old)
  if type(a.fields) ~= 'table' then return end
  for i, name in ipairs(COUNTED) do
    local there = tonumber(text(a.fields[name]))
    if there and there > (tonumber(old[i]) or 0) then put(a.run, name, there) end
  end
end

-- The copy may be from before its dispatch, which fixed the release for all its attempts, and for its canvas if it was the first.
local function fix_release(a)
  if type(a.fields) ~= 'table' or text(a.fields.release) == '' then return end
  put(a.run, 'release', text(a.fields.release), 'rules', text(a.fields.rules))
  local r = get(a.run, 'project', 'root', 'canvas')
  local root = r[2] ~= '' and r[2] or (r[3] == '1' and a.run)
  if not root then return end
  redis.call('HSETNX', key('root', root), r[1], text(a.fields.release))
  redis.call('EXPIRE', key('root', root), A.keep_s)
end

-- Any state that is not final goes to the claim the node holds, by way of QUEUED.
local function follow(a, state)
  local r = get(a.run, 'claim_node', 'node', 'lost_after_s')
  free_slot(a.run, r[1], now)
  leave_queue(a.run, now)
  wait_no_more(a.run)
  count_up(a, get(a.run, unpack(COUNTED)))
  fix_release(a)
  if state ~= 'QUEUED' then move(a.run, state, 'QUEUED', at, 'safe mode', 'its node knows better', nil) end
  local till = now + tonumber(r[3])
  put(a.run, 'attempt', a.attempt, 'claim', a.claim, 'claim_node', A.node, 'dispatch', '', 'lease_until', r[2] == '' and num(till) or '')
  if type(a.fields) == 'table' and text(a.fields.claimed_at) ~= '' then put(a.run, 'claimed_at', text(a.fields.claimed_at)) end
  move(a.run, 'QUEUED', 'STARTED', at, 'safe mode', 'held by ' .. A.node, token(a.attempt, a.claim))
  take_slot(a.run, A.node)
  if r[2] == '' then look_at(a.run, till) else redis.call('ZREM', key('due'), a.run) end
end

local function judge(a)
  local r = get(a.run, 'state', 'attempt', 'claim', 'dispatch')
  if r[1] == '' and restorable(a.fields) then
    restore(a)
    r = get(a.run, 'state', 'attempt', 'claim', 'dispatch')
  end
  if r[1] == '' or FINAL[r[1]] then return 'fenced' end
  if r[3] == a.claim and tonumber(r[2]) == a.attempt then return held(r[1], r[4]) and 'known' or 'fenced' end
  -- Without a record it may never have been claimed (the entry is made before), and nothing has started.
  if (tonumber(r[2]) or 0) < a.attempt and type(a.fields) == 'table' and (safe or not held(r[1], r[4])) then
    follow(a, r[1])
    return 'taken'
  end
  return 'fenced'
end

for _, a in ipairs(A.attempts) do
  local verdict = judge(a)
  table.insert(said[verdict], a.run)
  if verdict ~= 'fenced' and FINAL[a.told] then
    put(a.run, 'told', a.told)
    if get(a.run, 'lease_until')[1] ~= '' then
      put(a.run, 'lease_until', num(now + TOLD_LEASE_S))
      look_at(a.run, now + TOLD_LEASE_S)
    end
  end
end
if A.done then
  redis.call('SREM', key('safe'), A.node, '*')
  guarded(now)
end
return cjson.encode(said)
