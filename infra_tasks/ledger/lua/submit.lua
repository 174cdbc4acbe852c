-- Accepts runs, all of a call or, when one of them is in conflict, none. The same id with the same spec is the same
-- run; an idempotency key answers with the run it made.
-- runs[]: id, spec, print (fingerprint), queue, shown (what Flower prints), hint (only with a canvas), canvas ('1' when
--         something follows the run), node, project, name, labels (JSON), timeout_s, dispatch_queue, delay_s | at (wall),
--         expires_s, idem, retry_of, root (the first run of its canvas), lost_after_s, rerun_lost ('1': an attempt that was
--         lost is run again), meta_key, actor, home_node (where its outputs are wanted)
-- answer: [{id, state, new} | {id, conflict = true}]
local now, at = tick()
local said, fresh, made, keys, conflict = {}, {}, {}, {}, false

for i, r in ipairs(A.runs) do
  local id = r.id
  local known = r.idem and (keys[r.idem] or redis.call('GET', key('idem', r.idem)))
  if known and (made[known] or redis.call('EXISTS', key('run', known)) == 1) then id = known end
  local have = made[id] or get(id, 'state', 'print')
  if have[1] ~= '' then
    local same = have[2] == r.print
    said[i] = same and {id = id, state = have[1], new = false} or {id = id, conflict = true}
    conflict = conflict or not same
  elseif redis.call('EXISTS', r.meta_key) == 1 then
    said[i], conflict = {id = id, conflict = true}, true
  else
    r.moment = r.at or (r.delay_s and at + r.delay_s)
    r.later = r.moment and r.moment > at
    local state = (r.dispatch_queue or r.later) and 'PENDING' or 'QUEUED'
    said[i] = {id = id, state = state, new = true}
    made[id] = {state, r.print}
    if r.idem then keys[r.idem] = id end
    fresh[#fresh + 1] = {r, state}
  end
end
if conflict then
  for _, one in ipairs(said) do one.new = false end
  return cjson.encode(said)
end

local by_moment, by_name, counts, queues, hints = {}, {}, {}, {}, {}

local function write(r, state)
  local fields = {'state', state, 'spec', r.spec, 'print', r.print, 'queue', r.queue, 'timeout_s', r.timeout_s,
    'lost_after_s', r.lost_after_s, 'rerun_lost', r.rerun_lost, 'submitted_at', num(at), 'attempt', 0}
  for _, name in ipairs({'node', 'project', 'name', 'labels', 'shown', 'hint', 'canvas', 'dispatch_queue', 'idem', 'retry_of',
    'root', 'home_node'}) do
    if r[name] then fields[#fields + 1] = name; fields[#fields + 1] = r[name] end
  end
  if r.moment then fields[#fields + 1] = 'not_before'; fields[#fields + 1] = num(r.moment) end
  if r.expires_s then
    fields[#fields + 1] = 'expires_due'; fields[#fields + 1] = num(now + r.expires_s)
    look_at(r.id, now + r.expires_s)
  end
  if not r.later then fields[#fields + 1] = 'hints'; fields[#fields + 1] = 1 end
  put(r.id, unpack(fields))
end

local function append(lists, name, ...)
  local list = lists[name] or {}
  lists[name] = list
  for _, value in ipairs({...}) do list[#list + 1] = value end
end

local stamp, stamp_at = num(now), num(at)
-- Safe mode must outlast every lease that may have been given.
local longest = tonumber(redis.call('HGET', key('epoch'), 'longest')) or 0
for _, one in ipairs(fresh) do longest = math.max(longest, tonumber(one[1].lost_after_s) or 0) end
redis.call('HSET', key('epoch'), 'longest', longest)
for _, one in ipairs(fresh) do
  local r, state = one[1], one[2]
  write(r, state)
  redis.call('RPUSH', key('story', r.id), line(at, '', state, r.actor or 'submit', 'submitted', nil))
  if r.idem then redis.call('SET', key('idem', r.idem), r.id) end
  by_moment[#by_moment + 1] = stamp_at; by_moment[#by_moment + 1] = r.id
  by_name[#by_name + 1] = 0; by_name[#by_name + 1] = r.id
  counts[state] = (counts[state] or 0) + 1
  if r.later then
    redis.call('ZADD', key('moments'), num(r.moment), r.id)
  else
    local queue = r.dispatch_queue or r.queue
    append(queues, queue, stamp, r.id)
    append(hints, queue, hint_text(r.id, queue, not r.dispatch_queue and r.hint or '', r.shown or '',
      r.dispatch_queue and DISPATCH or RUN, 1))
  end
end
if #fresh > 0 then
  redis.call('ZADD', key('live'), unpack(by_moment))
  redis.call('ZADD', key('recent'), unpack(by_moment))
  redis.call('ZADD', key('ids'), unpack(by_name))
end
for state, n in pairs(counts) do redis.call('HINCRBY', key('counts'), state, n) end
for queue, members in pairs(queues) do
  redis.call('ZADD', key('queues'), stamp, queue)
  redis.call('ZADD', key('waiting', queue), unpack(members))
  redis.call('LPUSH', queue, unpack(hints[queue]))
end
return cjson.encode(said)
