-- A node takes a run. The claim id is the nonce: asked again, the same claim gets the same answer.
-- run, node, uuid, attempt (the number the node has locked), claim, slots, labels[] (of the node), actor
-- answer: {said = 'claimed', fields = the whole record} | {said = 'final', state, result} | {said = 'refused', why, ...}
local now, at = tick()
local function refused(why, more) local t = more or {}; t.said = 'refused'; t.why = why; return cjson.encode(t) end
if guarded(now) then return refused('safe') end
local r = get(A.run, 'state', 'attempt', 'claim', 'node', 'labels', 'queue', 'project', 'lost_after_s', 'result', 'expires_due', 'cause')
local state = r[1]
if not state then return refused('unknown') end
if FINAL[state] then return cjson.encode({said = 'final', state = state, result = r[9], cause = r[11]}) end
local function claimed()
  local flat, fields = redis.call('HGETALL', key('run', A.run)), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return cjson.encode({said = 'claimed', fields = fields})
end
if r[3] == A.claim then return claimed() end
if state ~= 'QUEUED' then return refused('state', {state = state}) end
if r[4] ~= '' and r[4] ~= A.node then return refused('node', {node = r[4]}) end
local n = redis.call('HMGET', key('node', A.node), 'uuid', 'cordoned')
if n[1] and n[1] ~= A.uuid then return refused('stranger') end
if n[2] == '1' then return refused('cordoned') end
local has = {}
for _, label in ipairs(A.labels) do has[label] = true end
for _, label in ipairs(cjson.decode(r[5])) do
  if not has[label] then return refused('labels', {label = label}) end
end
if A.attempt ~= tonumber(r[2]) + 1 then return refused('attempt', {attempt = tonumber(r[2])}) end
if r[10] ~= '' and tonumber(r[10]) <= now then return refused('expired') end
if redis.call('SCARD', key('node', A.node, 'live')) >= A.slots then
  -- The hint is in good hands: its worker asks again until a slot is free.
  redis.call('ZADD', key('waiting', r[6]), 'XX', num(now), A.run)
  return refused('full')
end
local to = r[7] ~= '' and 'SYNCING' or 'STARTED'
redis.call('HSET', key('run', A.run), 'attempt', A.attempt, 'claim', A.claim, 'claim_node', A.node, 'claimed_at', num(at),
  'lease_until', r[4] == '' and num(now + tonumber(r[8])) or '')
leave_queue(A.run)
redis.call('SADD', key('node', A.node, 'live'), A.run)
if r[4] == '' then redis.call('ZADD', key('due'), num(now + tonumber(r[8])), A.run) else redis.call('ZREM', key('due'), A.run) end
move(A.run, state, to, at, A.actor, 'claimed by ' .. A.node, token(A.attempt, A.claim))
return claimed()
