-- A node takes a run. The claim id is the nonce: asked again while it holds, the same claim gets the same answer.
-- run, node, uuid, attempt (the number the node has locked), claim, slots, labels[] (of the node), actor, version (of the node)
-- answer: {said = 'claimed', fields = the whole record} | {said = 'final', state, result, cause}
--       | {said = 'refused', why, handed_back = any node may take it, and its hint is in its queue again, ...}
local now, at = tick()
local function refused(why, more) local t = more or {}; t.said = 'refused'; t.why = why; return cjson.encode(t) end
local safe = guarded(now)
local r = get(A.run, 'state', 'attempt', 'claim', 'node', 'labels', 'queue', 'project', 'lost_after_s', 'result',
  'expires_due', 'cause', 'dispatch', 'name', 'declined')
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
local leased = r[4] == ''
-- Of a pool: another node may have a slot now, and takes it as the next one. Who is refused takes no hint for a moment.
local function handed_back(at_end)
  if leased and redis.call('ZSCORE', key('waiting', r[6]), A.run) then push_back(A.run, r[6], at_end) end
  return leased
end
local n = redis.call('HMGET', key('node', A.node), 'uuid', 'cordoned')
if n[1] and n[1] ~= A.uuid then return refused('stranger') end
if n[2] == '1' then
  -- Who is refused takes no more from pools.
  return refused('cordoned', {handed_back = handed_back()})
end
local has = {}
for _, label in ipairs(A.labels) do has[label] = true end
for _, label in ipairs(r[5] ~= '' and cjson.decode(r[5]) or {}) do
  if not has[label] then return refused('labels', {label = label}) end
end
local declined = leased and r[14] ~= '' and cjson.decode(r[14])[A.node]
if declined and declined.version == A.version and tonumber(declined.till) > now then
  -- To the end of the queue: should no other node come for it, it must not keep this one from what it can do.
  hold_up_nobody(A.run, r[7], r[13], r[6], now)
  return refused('older', {handed_back = handed_back(true)})
end
-- A number may be left out (its folder was buried before its claim arrived), never used again.
if A.attempt <= last then return refused('attempt', {attempt = last}) end
if r[10] ~= '' and tonumber(r[10]) <= now then return refused('expired') end
local has_slot = redis.call('SCARD', key('node', A.node, 'live')) < A.slots
for _, gate in ipairs(gates(A.run, r[6])) do
  if is_full(gate) or is_kept(A.run, gate, now) then
    step_back(A.run, gate, has_slot, now)
    return refused('running', {of = gate.what})
  end
end
if not has_slot then
  redis.call('ZADD', key('waiting', r[6]), 'XX', num(now), A.run)
  if leased then return refused('full', {handed_back = handed_back()}) end
  -- The hint is in good hands: its worker asks again until a slot is free. So those behind may have theirs.
  hold_up_nobody(A.run, r[7], r[13], r[6], now)
  return refused('full')
end
local till = now + tonumber(r[8])
take_slot(A.run, A.node)
leave_queue(A.run, now)
put(A.run, 'attempt', A.attempt, 'claim', A.claim, 'claim_node', A.node, 'claimed_at', num(at),
  'lease_until', leased and num(till) or '')
if leased then look_at(A.run, till) else redis.call('ZREM', key('due'), A.run) end
move(A.run, state, r[7] ~= '' and 'SYNCING' or 'STARTED', at, A.actor, 'claimed by ' .. A.node, token(A.attempt, A.claim))
return claimed()
