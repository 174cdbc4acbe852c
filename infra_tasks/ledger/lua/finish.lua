-- An attempt ended. Ends the run, or lets it wait for its next attempt.
-- run, attempt, claim, actor, cause, to, reason, result, meta, meta_key, keep_s,
-- revoked = {result, meta}: what to write when somebody asked to cancel and no success came of it,
-- retry_in_s: wait this long for the next attempt instead of ending,
-- lost: 'lost' | 'unstarted': run it again at once, without using a retry,
-- settle_in_s: 0 when nobody is about to carry on the canvas, survivors
-- answer: {said = 'final' | 'retry' | 'requeued' | 'safe' | 'fenced', state, result}; asked again, the same.
local now, at = tick()
local r = get(A.run, 'state', 'attempt', 'claim', 'cancel', 'result', 'claim_node', 'retries_used', 'ended_by')
local state, mine = r[1], r[3] == A.claim and tonumber(r[2]) == A.attempt
if state and FINAL[state] then
  if not mine and r[8] ~= A.claim then event(A.run, at, state, state, A.actor, 'late outcome: ' .. A.cause, token(A.attempt, A.claim)) end
  return cjson.encode({said = mine and 'final' or 'fenced', state = state, result = r[5]})
end
if guarded(now) then return cjson.encode({said = 'safe'}) end
if not mine or (state ~= 'STARTED' and state ~= 'SYNCING') then
  if state and mine then return cjson.encode({said = state == 'RETRY' and 'retry' or 'requeued', state = state}) end
  if state then event(A.run, at, state, state, A.actor, 'refused, old token: ' .. A.cause, token(A.attempt, A.claim)) end
  return cjson.encode({said = 'fenced', state = state or ''})
end
local t = token(A.attempt, A.claim)
if A.survivors and A.survivors > 0 and r[6] and r[6] ~= '' then
  redis.call('HSET', key('node', r[6]), 'cordoned', '1', 'cordon_why', A.survivors .. ' processes of run ' .. A.run .. ' could not be killed')
  redis.call('LPUSH', key('events'), cjson.encode({at = num(at), kind = 'cordoned', node = r[6], run = A.run, survivors = A.survivors}))
end
local cancelled = r[4] and r[4] ~= ''
local function free() redis.call('SREM', key('node', r[6], 'live'), A.run) end
if cancelled and A.to ~= 'SUCCESS' then
  finalize(A.run, state, 'REVOKED', now, at, {actor = A.actor, cause = 'cancelled: ' .. A.cause, token = t, result = A.revoked.result,
    meta = A.revoked.meta, meta_key = A.meta_key, keep_s = A.keep_s, settle_in_s = A.settle_in_s})
  return cjson.encode({said = 'final', state = 'REVOKED', result = A.revoked.result})
end
if A.lost then
  free()
  redis.call('HINCRBY', key('run', A.run), A.lost, 1)
  redis.call('HSET', key('run', A.run), 'lease_until', '')
  move(A.run, state, 'QUEUED', at, A.actor, A.cause, t)
  enqueue(A.run, now)
  return cjson.encode({said = 'requeued', state = 'QUEUED'})
end
if A.retry_in_s then
  free()
  redis.call('HSET', key('run', A.run), 'retries_used', tonumber(r[7]) + 1, 'not_before', num(at + A.retry_in_s), 'lease_until', '', 'reason', A.reason or '')
  redis.call('ZADD', key('due'), num(now + A.retry_in_s), A.run)
  move(A.run, state, 'RETRY', at, A.actor, A.cause, t)
  return cjson.encode({said = 'retry', state = 'RETRY'})
end
redis.call('HSET', key('run', A.run), 'ended_by', A.claim)
finalize(A.run, state, A.to, now, at, {actor = A.actor, cause = A.cause, token = t, reason = A.reason, result = A.result,
  meta = A.meta, meta_key = A.meta_key, keep_s = A.keep_s, settle_in_s = A.settle_in_s})
return cjson.encode({said = 'final', state = A.to, result = A.result})
