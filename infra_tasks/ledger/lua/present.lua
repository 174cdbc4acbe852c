-- Safe mode: a node says what it really holds, living attempts and kept exit records. The node's word is newer.
-- node, uuid, done (last call of this presentation), attempts[]: {run, attempt, claim, ended, fields = {what a lost record needs}}
-- answer: {said, taken[], fenced[], known[]}: taken = the ledger follows the node from now on (an ended one: finish it now)
local now, at = tick()
guarded(now)
local uuid = redis.call('HGET', key('node', A.node), 'uuid')
if uuid and uuid ~= A.uuid then return cjson.encode({said = 'stranger'}) end
local said = {said = 'ok', taken = {}, fenced = {}, known = {}}
local safe = redis.call('HGET', key('epoch'), 'safe')

local function restore(a)
  local f = a.fields
  redis.call('HSET', key('run', a.run), 'state', 'QUEUED', 'attempt', 0, 'claim', '', 'cancel', '', 'lost', 0, 'unstarted', 0,
    'retries_used', 0, 'hints', 0, 'dispatch', '')
  for name, value in pairs(f) do redis.call('HSET', key('run', a.run), name, value) end
  redis.call('ZADD', key('live'), f.submitted_at, a.run)
  redis.call('ZADD', key('recent'), f.submitted_at, a.run)
  redis.call('ZADD', key('ids'), 0, a.run)
  redis.call('HINCRBY', key('counts'), 'QUEUED', 1)
  event(a.run, at, '', 'QUEUED', 'safe mode', 'restored from the record on ' .. A.node, nil)
end

-- Any state that is not final goes to the claim the node holds, by way of QUEUED: nobody else can hold it in safe mode.
local function follow(a, state)
  local r = get(a.run, 'claim_node', 'node', 'lost_after_s', 'project')
  if r[1] and r[1] ~= '' then redis.call('SREM', key('node', r[1], 'live'), a.run) end
  leave_queue(a.run)
  if state == 'PENDING' or state == 'RETRY' then move(a.run, state, 'QUEUED', at, 'safe mode', 'its node knows better', nil) end
  if state == 'SYNCING' or state == 'STARTED' then move(a.run, state, 'QUEUED', at, 'safe mode', 'its node knows better', nil) end
  redis.call('HSET', key('run', a.run), 'attempt', a.attempt, 'claim', a.claim, 'claim_node', A.node, 'dispatch', '',
    'lease_until', (not r[2] or r[2] == '') and num(now + tonumber(r[3] or 120)) or '')
  move(a.run, 'QUEUED', 'STARTED', at, 'safe mode', 'held by ' .. A.node, token(a.attempt, a.claim))
  redis.call('SADD', key('node', A.node, 'live'), a.run)
  if not r[2] or r[2] == '' then redis.call('ZADD', key('due'), num(now + tonumber(r[3] or 120)), a.run) else redis.call('ZREM', key('due'), a.run) end
  said.taken[#said.taken + 1] = a.run
end

for _, a in ipairs(A.attempts) do
  local r = get(a.run, 'state', 'attempt', 'claim')
  if not r[1] and a.fields then restore(a); r = get(a.run, 'state', 'attempt', 'claim') end
  if not r[1] or FINAL[r[1]] then
    said.fenced[#said.fenced + 1] = a.run
  elseif r[3] == a.claim and tonumber(r[2]) == a.attempt then
    if r[1] == 'STARTED' or r[1] == 'SYNCING' then said.known[#said.known + 1] = a.run else said.fenced[#said.fenced + 1] = a.run end
  elseif safe and tonumber(r[2]) < a.attempt then
    follow(a, r[1])
  else
    said.fenced[#said.fenced + 1] = a.run
  end
end
if A.done then redis.call('SREM', key('safe'), A.node); guarded(now) end
return cjson.encode(said)
