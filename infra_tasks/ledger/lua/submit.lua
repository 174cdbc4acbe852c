-- Accepts runs. The same id with the same spec is the same run; an idempotency key answers with the run it made.
-- runs[]: id, spec, print (fingerprint), state, queue, hint, canvas ('1' when something follows the run),
--         node, project, name, labels, timeout_s, submitter, dispatch_queue, dispatch_hint, delay_s | at (wall),
--         expires_s, idem, retry_of, lost_after_s, rerun_lost ('1': an attempt that was lost is run again), meta_key
-- answer: [{id, state, new} | {id, conflict = other id or true}]
local now, at = tick()
local said = {}
for i, r in ipairs(A.runs) do
  local known = r.idem and redis.call('GET', key('idem', r.idem))
  local id = known or r.id
  local have = get(id, 'state', 'print')
  if have[1] then
    if have[2] == r.print then said[i] = {id = id, state = have[1], new = false}
    else said[i] = {id = id, conflict = true} end
  elseif redis.call('EXISTS', r.meta_key) == 1 then
    said[i] = {id = id, conflict = true}
  else
    local not_before = r.at or (r.delay_s and at + r.delay_s)
    local expires_due = r.expires_s and num(now + r.expires_s) or ''
    local state = (r.dispatch_hint or (not_before and not_before > at)) and 'PENDING' or 'QUEUED'
    redis.call('HSET', key('run', id), 'state', state, 'spec', r.spec, 'print', r.print, 'queue', r.queue,
      'hint', r.hint, 'canvas', r.canvas or '', 'node', r.node or '', 'project', r.project or '', 'name', r.name or '',
      'labels', r.labels, 'timeout_s', r.timeout_s, 'dispatch_queue', r.dispatch_queue or '',
      'dispatch_hint', r.dispatch_hint or '', 'not_before', not_before and num(not_before) or '',
      'expires_due', expires_due, 'idem', r.idem or '', 'retry_of', r.retry_of or '', 'lost_after_s', r.lost_after_s,
      'submitted_at', num(at), 'attempt', 0, 'retries_used', 0, 'lost', 0, 'unstarted', 0, 'claim', '', 'cancel', '', 'dispatch', '', 'rerun_lost', r.rerun_lost)
    redis.call('ZADD', key('live'), num(at), id)
    redis.call('ZADD', key('recent'), num(at), id)
    redis.call('ZADD', key('ids'), 0, id)
    redis.call('HINCRBY', key('counts'), state, 1)
    if r.idem then redis.call('SET', key('idem', r.idem), id) end
    event(id, at, '', state, r.actor or 'submit', 'submitted', nil)
    if state == 'QUEUED' then
      enqueue(id, now)
    elseif not_before and not_before > at then
      redis.call('ZADD', key('due'), num(now + not_before - at), id)
    else
      redis.call('ZADD', key('due'), num(now + A.dispatch_patience_s), id)
      push(id, r.dispatch_queue, r.dispatch_hint)
    end
    said[i] = {id = id, state = state, new = true}
  end
end
return cjson.encode(said)
