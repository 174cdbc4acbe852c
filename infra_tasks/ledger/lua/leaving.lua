-- Which final runs are older than the history, oldest first, for the one node that exports them. Runs that others may
-- still follow stay: the next look begins behind them.
-- node, lease_s (who exports), history_s, most, skip (what the last answer said)
-- answer: {said = 'ok' | 'other' | 'safe', who, ids[], skip}
local now, at = tick()
if guarded(now) then return cjson.encode({said = 'safe'}) end
local who = redis.call('GET', key('archivist'))
if who and who ~= A.node then return cjson.encode({said = 'other', who = who}) end
redis.call('SET', key('archivist'), A.node, 'PX', math.floor(A.lease_s * 1000))
redis.call('HSET', key('epoch'), 'history_s', A.history_s)
local LOOKED_THROUGH = 2000
local found = redis.call('ZRANGEBYSCORE', key('ended'), '-inf', num(now - A.history_s), 'LIMIT', A.skip, LOOKED_THROUGH)
local ids, passed = {}, 0
for _, id in ipairs(found) do
  if #ids == A.most then break end
  if redis.call('ZSCORE', key('unsettled'), id) then passed = passed + 1 else ids[#ids + 1] = id end
end
local skip = (#found == LOOKED_THROUGH and #ids < A.most) and A.skip + passed or 0
return cjson.encode({said = 'ok', ids = ids, skip = skip})
