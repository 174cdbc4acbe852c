-- Gives up, by hand, an attempt whose node is silent: the run is final from now on. Its node, should it come back, hears
-- that the attempt is fenced, kills it, and what it tells of it is kept as an event.
-- run, attempt (the one the result was made for), actor, cause, silent_after_s, nonce, reason, to, result, meta, meta_key,
-- keep_s
-- answer: {said = 'final', state, new} | {said = 'waiting', state}: no node has it
--       | {said = 'speaks', node, silent_s (ledger time: outages of Redis do not count)}
--       | {said = 'again'}: another attempt runs | {said = 'safe' | 'unknown'}
local before = answered()
if before then return before end
local now, at = tick()
local r = get(A.run, 'state', 'attempt', 'claim', 'claim_node', 'dispatch')
local state = r[1]
if state == '' then return cjson.encode({said = 'unknown'}) end
if FINAL[state] then return answer({said = 'final', state = state, new = false}) end
if guarded(now) then return cjson.encode({said = 'safe', state = state}) end
if not held(state, r[5]) then return cjson.encode({said = 'waiting', state = state}) end
if tonumber(r[2]) ~= A.attempt then return cjson.encode({said = 'again', state = state}) end
local silent_s = now - (tonumber(redis.call('HGET', key('node', r[4]), 'seen') or '') or 0)
if silent_s < A.silent_after_s then
  return cjson.encode({said = 'speaks', state = state, node = r[4], silent_s = silent_s})
end
-- An end its node did not tell: what it tells later is another outcome.
put(A.run, 'lapsed', '1')
finalize(A.run, state, A.to, now, at, {actor = A.actor, cause = A.cause, token = token(r[2], r[3]), reason = A.reason,
  result = A.result, meta = A.meta, meta_key = A.meta_key, keep_s = A.keep_s, settle_in_s = 0})
return answer({said = 'final', state = A.to, new = true})
