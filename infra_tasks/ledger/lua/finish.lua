-- An attempt ended. Ends the run, or lets it wait for its next attempt.
-- run, attempt, claim, actor, cause, to, reason, result, meta, meta_key, keep_s,
-- revoked = {result, meta}: what to write when somebody asked to cancel and no success came of it,
-- retry_in_s: wait this long for the next attempt instead of ending,
-- lost: 'lost' | 'unstarted' | 'stopped': run it again at once, without using a retry (the field that counts it),
-- lapsed: said by somebody who is not the holder: only if the lease has ended,
-- settle_in_s: 0 when nobody is about to carry on the canvas; survivors, holder (the node that has them)
-- answer: {said = 'final' | 'retry' | 'requeued' | 'fenced' | 'alive', state, result}; asked again, the same;
--         {said = 'safe'}: not now (or run or attempt are unknown: writes were lost); present the attempt, then report again
local now, at = tick()
local r = get(A.run, 'state', 'attempt', 'claim', 'cancel', 'result', 'claim_node', 'retries_used', 'dispatch', 'lease_until',
  'told', 'lapsed')
local state, mine = r[1], r[3] == A.claim and tonumber(r[2]) == A.attempt
local t = token(A.attempt, A.claim)

-- Kept in the story once, however often it is told.
local function refused(what)
  local cause = what .. A.cause
  local last = redis.call('LINDEX', key('story', A.run), -1)
  last = last and cjson.decode(last) or {}
  if last.token ~= t or last.cause ~= cause then event(A.run, at, state, state, A.actor, cause, t) end
  return cjson.encode({said = 'fenced', state = state, result = r[5]})
end

-- Whoever tells it, under whatever token: what could not be killed is still there.
if A.survivors and A.survivors > 0 and A.holder then
  redis.call('HSET', key('node', A.holder), 'cordoned', '1', 'survivors_at', num(at),
    'survivors_why', A.survivors .. ' processes of run ' .. A.run .. ' could not be killed')
  fleet_event({at = num(at), kind = 'cordoned', node = A.holder, run = A.run, survivors = A.survivors})
end
if FINAL[state] then
  if not mine or (r[11] ~= '' and not A.lapsed) then return refused('late outcome: ') end
  return cjson.encode({said = 'final', state = state, result = r[5]})
end
if guarded(now) or state == '' then return cjson.encode({said = 'safe', state = state}) end
-- A number that was not given yet: given before writes were lost.
if (tonumber(r[2]) or 0) < A.attempt then return cjson.encode({said = 'safe', state = state}) end
if not mine then return refused('refused, old token: ') end
if not held(state, r[8]) then return cjson.encode({said = state == 'RETRY' and 'retry' or 'requeued', state = state}) end
if A.lapsed and (r[9] == '' or tonumber(r[9]) > now) then return cjson.encode({said = 'alive', state = state}) end
if A.lapsed then put(A.run, 'lapsed', '1') end
-- What was announced before writes were lost is announced again, whatever has been asked since.
local cancelled = r[10] == 'REVOKED' or (r[10] == '' and r[4] ~= '')
if cancelled and A.to ~= 'SUCCESS' then
  finalize(A.run, state, 'REVOKED', now, at, {actor = A.actor, cause = 'cancelled: ' .. A.cause, token = t, result = A.revoked.result,
    meta = A.revoked.meta, meta_key = A.meta_key, keep_s = A.keep_s, settle_in_s = A.settle_in_s})
  return cjson.encode({said = 'final', state = 'REVOKED', result = A.revoked.result})
end
if A.lost then
  free_slot(A.run, r[6], now)
  redis.call('HINCRBY', key('run', A.run), A.lost, 1)
  put(A.run, 'lease_until', '')
  move(A.run, state, 'QUEUED', at, A.actor, A.cause, t)
  enqueue(A.run, now, 'QUEUED')
  return cjson.encode({said = 'requeued', state = 'QUEUED'})
end
if A.retry_in_s then
  free_slot(A.run, r[6], now)
  put(A.run, 'retries_used', (tonumber(r[7]) or 0) + 1, 'lease_until', '', 'reason', A.reason or '')
  pause(A.run, A.retry_in_s, now, at)
  move(A.run, state, 'RETRY', at, A.actor, A.cause, t)
  return cjson.encode({said = 'retry', state = 'RETRY'})
end
finalize(A.run, state, A.to, now, at, {actor = A.actor, cause = A.cause, token = t, reason = A.reason, result = A.result,
  meta = A.meta, meta_key = A.meta_key, keep_s = A.keep_s, settle_in_s = A.settle_in_s})
return cjson.encode({said = 'final', state = A.to, result = A.result})
