-- Gives a run more time. run, by_s, ceiling_s, actor, nonce
-- answer: {said = 'ok', timeout_s} | {said = 'final', state} | {said = 'ceiling', timeout_s} | {said = 'unknown'}
local before = answered()
if before then return before end
local now, at = tick()
local r = get(A.run, 'state', 'timeout_s')
if r[1] == '' then return cjson.encode({said = 'unknown'}) end
if FINAL[r[1]] then return answer({said = 'final', state = r[1]}) end
local wanted = tonumber(r[2]) + A.by_s
if wanted > A.ceiling_s then return answer({said = 'ceiling', timeout_s = tonumber(r[2])}) end
put(A.run, 'timeout_s', num(wanted))
event(A.run, at, r[1], r[1], A.actor, string.format('limit extended by %g s to %g s', A.by_s, wanted), nil)
return answer({said = 'ok', timeout_s = wanted, state = r[1]})
