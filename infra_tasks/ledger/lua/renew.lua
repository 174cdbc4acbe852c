-- The heartbeat of a node: renews all its leases, and carries back what the outside wants of each attempt.
-- node, uuid, boot_id, slots, labels (JSON), version, info (JSON), longest_s (longest lost_after_s of its runs),
-- live[]: {run, attempt, claim}
-- answer: {said = 'ok' | 'stranger', safe, attempts = {run -> {fenced | cancel, timeout_s, follow}},
--          unheld[] = runs the ledger thinks this node holds but did not name, pools[], cordoned}
local now, at = tick()
local n = key('node', A.node)
local uuid = redis.call('HGET', n, 'uuid')
if uuid and uuid ~= A.uuid then return cjson.encode({said = 'stranger', uuid = uuid}) end
local safe = guarded(now)
redis.call('SADD', key('nodes'), A.node)
redis.call('HSET', n, 'uuid', A.uuid, 'boot_id', A.boot_id, 'slots', A.slots, 'labels', A.labels, 'version', A.version,
  'info', A.info, 'seen_at', num(at), 'seen', num(now))
if A.longest_s and tonumber(redis.call('HGET', key('epoch'), 'longest') or 0) < A.longest_s then
  redis.call('HSET', key('epoch'), 'longest', A.longest_s)
end
local attempts, named = {}, {}
for _, a in ipairs(A.live) do
  named[a.run] = true
  local r = get(a.run, 'state', 'attempt', 'claim', 'cancel', 'timeout_s', 'lease_until', 'lost_after_s')
  local mine = r[3] == a.claim and tonumber(r[2]) == a.attempt and r[1] and not FINAL[r[1]]
  if mine then
    if r[6] and r[6] ~= '' then
      local till = num(now + tonumber(r[7]))
      redis.call('HSET', key('run', a.run), 'lease_until', till)
      redis.call('ZADD', key('due'), till, a.run)
    end
    attempts[a.run] = {cancel = r[4] or '', timeout_s = tonumber(r[5]), leased = r[6] ~= nil and r[6] ~= '',
      follow = redis.call('EXISTS', key('follow', a.run)) == 1}
  elseif safe then
    -- The ledger may have forgotten: nobody is told to stop on its word before the node has presented.
    attempts[a.run] = {unsure = true}
  else
    attempts[a.run] = {fenced = true, state = r[1] or ''}
  end
end
local unheld = {}
for _, id in ipairs(redis.call('SMEMBERS', key('node', A.node, 'live'))) do
  if not named[id] then
    local r = get(id, 'attempt', 'claim')
    unheld[#unheld + 1] = {run = id, attempt = tonumber(r[1] or 0), claim = r[2] or ''}
  end
end
return cjson.encode({said = 'ok', safe = safe, attempts = attempts, unheld = unheld,
  present = safe and redis.call('SISMEMBER', key('safe'), A.node) == 1,
  cordoned = redis.call('HGET', n, 'cordoned') == '1'})
