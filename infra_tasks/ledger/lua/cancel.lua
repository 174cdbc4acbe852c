-- Ends a run that nobody has claimed (cancel, expiry, code that cannot be brought), or leaves the durable wish with its
-- claim.
-- run, attempt (the one the result was made for), to, reason, actor, cause, kill, only_waiting, nonce,
-- dispatch (only while this dispatcher has it), result, meta, meta_key, keep_s
-- answer: {said = 'final' | 'asked' | 'again' | 'safe' | 'unknown', state}
local before = answered()
if before then return before end
local now, at = tick()
local r = get(A.run, 'state', 'attempt', 'cancel', 'dispatch')
local state = r[1]
if FINAL[state] then return answer({said = 'final', state = state, new = false}) end
if guarded(now) then return cjson.encode({said = 'safe', state = state}) end
if state == '' then return cjson.encode({said = 'unknown'}) end
if A.dispatch and A.dispatch ~= r[4] then return cjson.encode({said = 'again', state = state}) end
if held(state, r[4]) then
  if A.only_waiting then return cjson.encode({said = 'again', state = state}) end
  put(A.run, 'cancel', (A.kill or r[3] == 'kill') and 'kill' or 'asked')
  if r[3] == '' or (A.kill and r[3] ~= 'kill') then
    event(A.run, at, state, state, A.actor, A.kill and 'kill asked' or 'cancel asked', nil)
  end
  return answer({said = 'asked', state = state})
end
if tonumber(r[2]) ~= A.attempt then return cjson.encode({said = 'again', state = state}) end
finalize(A.run, state, A.to, now, at, {actor = A.actor, cause = A.cause, reason = A.reason, result = A.result, meta = A.meta,
  meta_key = A.meta_key, keep_s = A.keep_s, settle_in_s = 0})
return answer({said = 'final', state = A.to, new = true})
