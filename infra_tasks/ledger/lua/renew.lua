-- The heartbeat of a node: renews all its leases, and carries back what the outside wants of each attempt.
-- node, uuid, boot_id, slots, labels (JSON), version, info (JSON), longest_s (longest lost_after_s of its runs),
-- live[]: {run, attempt, claim}
-- answer: {said = 'ok', safe, cordoned, present = the node is asked to present its attempts,
--          attempts = {run@attempt -> {cancel, timeout_s, leased} | {fenced = true, state} | {unsure = true}},
--          unheld[] = {run, attempt, claim} the ledger thinks this node holds but the node did not name}
--       | {said = 'stranger', uuid}
local now, at = tick()
local n = key('node', A.node)
local known = redis.call('HMGET', n, 'uuid', 'cordoned')
if known[1] and known[1] ~= A.uuid then return cjson.encode({said = 'stranger', uuid = known[1]}) end
local safe = guarded(now)
-- A new node may be one the ledger has forgotten: it must be heard as well.
if redis.call('SADD', key('nodes'), A.node) == 1 then redis.call('SADD', key('safe'), A.node) end
redis.call('HSET', n, 'uuid', A.uuid, 'boot_id', A.boot_id or '', 'slots', A.slots or '', 'labels', A.labels or '',
  'version', A.version or '', 'info', A.info or '', 'seen_at', num(at), 'seen', num(now))
if A.longest_s and tonumber(redis.call('HGET', key('epoch'), 'longest') or 0) < A.longest_s then
  redis.call('HSET', key('epoch'), 'longest', A.longest_s)
end
local present = redis.call('SISMEMBER', key('safe'), A.node) == 1 or redis.call('SISMEMBER', key('safe'), '*') == 1
local attempts, named = {}, {}
for _, a in ipairs(A.live) do
  local one = a.run .. '@' .. a.attempt
  named[one .. a.claim] = true
  local r = get(a.run, 'state', 'attempt', 'claim', 'cancel', 'timeout_s', 'lease_until', 'lost_after_s', 'dispatch',
    'told')
  if r[3] == a.claim and tonumber(r[2]) == a.attempt and held(r[1], r[8]) then
    if r[6] ~= '' then
      local till = now + lease_s(r[7], r[9])
      put(a.run, 'lease_until', num(till))
      look_at(a.run, till)
    end
    attempts[one] = {cancel = r[4], timeout_s = tonumber(r[5]), leased = r[6] ~= ''}
  elseif r[1] == '' then
    -- Runs are never forgotten while they live: writes were lost, and the node has the record.
    attempts[one] = {unsure = true}
    present = true
  elseif safe or (tonumber(r[2]) or 0) < a.attempt then
    -- The ledger may have forgotten, or the claim is on its way: nobody is told to stop on its word.
    attempts[one] = {unsure = true}
  else
    attempts[one] = {fenced = true, state = r[1]}
  end
end
local unheld = {}
for _, id in ipairs(redis.call('SMEMBERS', key('node', A.node, 'live'))) do
  local r = get(id, 'attempt', 'claim')
  if not named[id .. '@' .. r[1] .. r[2]] then
    unheld[#unheld + 1] = {run = id, attempt = tonumber(r[1]) or 0, claim = r[2]}
  end
end
return cjson.encode({said = 'ok', safe = safe, attempts = attempts, unheld = unheld, present = present, cordoned = known[2] == '1'})
