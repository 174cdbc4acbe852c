-- Notes how far a schedule is, and adds or removes one; only if it still is where the caller saw it.
-- schedule (its name), before, after ('' forgets it), entry (the schedule as JSON: a user adds it), removes (true: a user
-- removes it), turn (true: not in safe mode), nonce
-- answer: {said = 'ok' | 'moved' | 'safe' | 'known' (the schedule to add is there) | 'unknown' (the one to remove is not)}
local again = answered()
if again then return again end
local now = tick()
if A.turn and guarded(now) then return '{"said":"safe"}' end
local is_there = redis.call('HEXISTS', key('schedules'), A.schedule) == 1
if A.entry and is_there then return '{"said":"known"}' end
if A.removes and not is_there then return '{"said":"unknown"}' end
if schedule_moved(A.schedule, A.before) then return '{"said":"moved"}' end
if A.after == '' then
  redis.call('HDEL', key('slots'), A.schedule)
else
  redis.call('HSET', key('slots'), A.schedule, A.after)
end
if A.entry then redis.call('HSET', key('schedules'), A.schedule, A.entry) end
if A.removes then redis.call('HDEL', key('schedules'), A.schedule) end
return answer({said = 'ok'})
