-- The moves of a dispatcher: 'begin' takes a PENDING run, 'renew' keeps it, 'end' puts it into its queue with its release.
-- move, run, dispatch (random id: the dispatcher's token), lease_s, release, actor, node
-- answer: {said = 'ok', spec, project, release} | {said = 'refused', state}
local now, at = tick()
local r = get(A.run, 'state', 'dispatch', 'spec', 'project', 'release', 'queue')
local function refused() return cjson.encode({said = 'refused', state = r[1] or ''}) end
local ok = cjson.encode({said = 'ok', spec = r[3], project = r[4], release = r[5] or ''})
if guarded(now) then return refused() end
local mine = r[1] == 'SYNCING' and r[2] == A.dispatch
if A.move == 'begin' then
  if mine then return ok end
  if r[1] ~= 'PENDING' then return refused() end
  redis.call('HSET', key('run', A.run), 'dispatch', A.dispatch)
  redis.call('ZADD', key('due'), num(now + A.lease_s), A.run)
  move(A.run, 'PENDING', 'SYNCING', at, A.actor, 'dispatched on ' .. A.node, nil)
  return ok
end
if A.move == 'end' and r[1] == 'QUEUED' and r[5] == A.release then return ok end
if not mine then return refused() end
if A.move == 'renew' then
  redis.call('ZADD', key('due'), num(now + A.lease_s), A.run)
  return ok
end
redis.call('HSET', key('run', A.run), 'dispatch', '', 'release', A.release)
redis.call('HDEL', key('run', A.run), 'dispatch_hint')
move(A.run, 'SYNCING', 'QUEUED', at, A.actor, 'code ready: ' .. string.sub(A.release, 1, 12), nil)
enqueue(A.run, now)
return ok
