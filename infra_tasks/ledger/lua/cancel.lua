-- Ends a run that nobody has claimed (cancel, expiry, poison), or leaves the durable wish with its claim.
-- run, attempt (the one the result was made for), to, reason, actor, cause, kill, only_waiting, result, meta, meta_key, keep_s, nonce
-- answer: {said = 'final' | 'asked' | 'again' | 'safe' | 'unknown', state}
local before = answered()
if before then return before end
local now, at = tick()
local r = get(A.run, 'state', 'attempt', 'claim', 'claim_node', 'cancel', 'dispatch')
local state = r[1]
if not state then return cjson.encode({said = 'unknown'}) end
if FINAL[state] then return answer({said = 'final', state = state, new = false}) end
if guarded(now) then return cjson.encode({said = 'safe'}) end
local claimed = state == 'STARTED' or (state == 'SYNCING' and (not r[6] or r[6] == ''))
if claimed then
  if A.only_waiting then return cjson.encode({said = 'again', state = state}) end
  redis.call('HSET', key('run', A.run), 'cancel', A.kill and 'kill' or (r[5] == 'kill' and 'kill' or 'asked'))
  event(A.run, at, state, state, A.actor, A.kill and 'kill asked' or 'cancel asked', nil)
  return answer({said = 'asked', state = state})
end
if tonumber(r[2]) ~= A.attempt then return cjson.encode({said = 'again', state = state}) end
redis.call('HSET', key('run', A.run), 'dispatch', '')
finalize(A.run, state, A.to, now, at, {actor = A.actor, cause = A.cause, reason = A.reason, result = A.result, meta = A.meta,
  meta_key = A.meta_key, keep_s = A.keep_s, settle_in_s = 0})
return answer({said = 'final', state = A.to, new = true})
