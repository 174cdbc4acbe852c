-- The moves of a dispatcher: 'begin' takes a PENDING run, 'renew' keeps it, 'warn' tells who wants it, 'end' puts it into
-- its queue with its release, 'later' gives it back for another try after retry_in_s, using one retry.
-- move, run, dispatch (random id: the dispatcher's token), lease_s, release, actor, node, retry_in_s, cause,
-- rules (JSON text: how a node makes the release ready; kept from the first dispatch, as the release is), keep_s,
-- warning (for the person who wants the run), overdue_s (age of a hint that should have been taken)
-- The first run of a canvas that is dispatched fixes the release of the project for all its other runs (root:<run>).
-- answer: {said = 'ok', spec, project, release, retries_used} | {said = 'refused', state} | {said = 'fixed', release}: its
--         canvas was faster, with another release: bring that one, and say 'end' again
local now, at = tick()
local r = get(A.run, 'state', 'dispatch', 'spec', 'project', 'release', 'not_before', 'retries_used', 'rules',
  'root', 'canvas', 'warning', 'dispatch_queue')
local root = r[9] ~= '' and r[9] or (r[10] == '1' and A.run)
if r[5] == '' and root then r[5] = redis.call('HGET', key('root', root), r[4]) or '' end
local function refused() return cjson.encode({said = 'refused', state = r[1]}) end
local ok = cjson.encode({said = 'ok', spec = r[3], project = r[4], release = r[5], retries_used = tonumber(r[7]) or 0})
if guarded(now) then
  -- Its hint is used up, and so overdue at once: the first sweep after safe mode pushes another one.
  if r[1] == 'PENDING' then redis.call('ZADD', key('waiting', r[12]), 'XX', num(now - A.overdue_s), A.run) end
  return refused()
end
local mine = r[1] == 'SYNCING' and r[2] == A.dispatch
if A.move == 'begin' then
  if mine then return ok end
  if r[1] ~= 'PENDING' or r[4] == '' then return refused() end
  -- Its moment has also come when the sweep took it out, whatever the wall clock says since.
  if redis.call('ZSCORE', key('moments'), A.run) and (tonumber(r[6]) or 0) > at then return refused() end
  leave_queue(A.run, now)
  wait_no_more(A.run)
  put(A.run, 'dispatch', A.dispatch)
  look_at(A.run, now + A.lease_s)
  move(A.run, 'PENDING', 'SYNCING', at, A.actor, 'dispatched on ' .. A.node, nil)
  return ok
end
if A.move == 'end' and r[1] == 'QUEUED' and r[5] == A.release then return ok end
if not mine then return refused() end
if A.move == 'renew' then
  look_at(A.run, now + A.lease_s)
elseif A.move == 'warn' then
  if r[11] ~= A.warning then event(A.run, at, r[1], r[1], A.actor, A.warning, nil) end
  put(A.run, 'warning', A.warning)
elseif A.move == 'later' then
  put(A.run, 'dispatch', '', 'retries_used', (tonumber(r[7]) or 0) + 1)
  pause(A.run, A.retry_in_s, now, at)
  move(A.run, 'SYNCING', 'PENDING', at, A.actor, A.cause or 'its code could not be brought', nil)
else
  if root then
    local fixed = redis.call('HGET', key('root', root), r[4])
    if fixed and fixed ~= A.release then return cjson.encode({said = 'fixed', release = fixed}) end
    redis.call('HSET', key('root', root), r[4], A.release)
    redis.call('EXPIRE', key('root', root), A.keep_s)
  end
  put(A.run, 'dispatch', '', 'release', A.release, 'rules', r[8] ~= '' and r[8] or A.rules or '')
  move(A.run, 'SYNCING', 'QUEUED', at, A.actor, A.cause or 'code ready: ' .. string.sub(A.release, 1, 12), nil)
  enqueue(A.run, now, 'QUEUED')
end
return ok
