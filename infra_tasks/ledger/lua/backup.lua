-- Notes that a copy of the ledger is about to be taken, and says what is in it at this moment. Whose memory it is must
-- stand in it: whoever loads the copy is another server, and so goes to safe mode.
-- node, actor, nonce
-- answer: {at, server, safe, counts, submitted}
local again = answered()
if again then return again end
local now, at = tick()
local safe = guarded(now)
local flat, counts = redis.call('HGETALL', key('counts')), {}
for i = 1, #flat, 2 do counts[flat[i]] = tonumber(flat[i + 1]) end
fleet_event({at = num(at), kind = 'backup', node = A.node, cause = A.actor})
total('submitted', 0)
return answer({at = at, server = server(), safe = safe, counts = counts,
  submitted = tonumber(redis.call('HGET', key('totals'), 'submitted'))})
