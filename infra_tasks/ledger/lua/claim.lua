-- A node takes a run. The claim id is the nonce: asked again while it holds, the same claim gets the same answer.
-- run, node, uuid, attempt (the number the node has locked), claim, slots, labels[] (of the node), actor
-- answer: {said = 'claimed', fields = the whole record} | {said = 'final', state, result, cause}
--       | {said = 'refused', why, ...}
local now, at = tick()
local function refused(why, more) local t = more or {}; t.said = 'refused'; t.why = why; return cjson.encode(t) end
local safe = guarded(now)
local r = get(A.run, 'state', 'attempt', 'claim', 'node', 'labels', 'queue', 'project', 'lost_after_s', 'result',
  'expires_due', 'cause', 'dispatch')
local state, last = r[1], tonumber(r[2]) or 0
if FINAL[state] then return cjson.encode({said = 'final', state = state, result = r[9], cause = r[11]}) end
local function claimed()
  local flat, fields = redis.call('HGETALL', key('run', A.run)), {}
  for i = 1, #flat, 2 do fields[flat[i]] = flat[i + 1] end
  return cjson.encode({said = 'claimed', fields = fields})
end
if r[3] == A.claim and last == A.attempt and held(state, r[12]) then return claimed() end
if safe then return refused('safe') end
if state == '' then return refused('unknown') end
if state ~= 'QUEUED' then return refused('state', {state = state}) end
if r[4] ~= '' and r[4] ~= A.node then return refused('node', {node = r[4]}) end
local n = redis.call('HMGET', key('node', A.node), 'uuid', 'cordoned')
if n[1] and n[1] ~= A.uuid then return refused('stranger') end
if n[2] == '1' then return refused('cordoned') end
local has = {}
for _, label in ipairs(A.labels) do has[label] = true end
for _, label in ipairs(r[5] ~= '' and cjson.decode(r[5]) or {}) do
  if not has[label] then return refused('labels', {label = label}) end
end
-- A number may be left out (its folder was buried before its claim arrived), never used again.
if A.attempt <= last then return refused('attempt', {attempt = last}) end
if r[10] ~= '' and tonumber(r[10]) <= now then return refused('expired') end
if redis.call('SCARD', key('node', A.node, 'live')) >= A.slots then
  -- The hint is in good hands: its worker asks again until a slot is free.
  redis.call('ZADD', key('waiting', r[6]), 'XX', num(now), A.run)
  return refused('full')
end
local leased = r[4] == ''
local till = now + tonumber(r[8])
leave_queue(A.run)
put(A.run, 'attempt', A.attempt, 'claim', A.claim, 'claim_node', A.node, 'claimed_at', num(at),
  'lease_until', leased and num(till) or '')
redis.call('SADD', key('node', A.node, 'live'), A.run)
if leased then look_at(A.run, till) else redis.call('ZREM', key('due'), A.run) end
move(A.run, state, r[7] ~= '' and 'SYNCING' or 'STARTED', at, A.actor, 'claimed by ' .. A.node, token(A.attempt, A.claim))
return claimed()
