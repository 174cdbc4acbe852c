-- Accepts runs, all of a call or, when one of them is in conflict, none. The same id with the same spec is the same
-- run; an idempotency key answers with the run it made.
-- runs[]: id, spec, print (fingerprint), queue, shown (what Flower prints), hint (only with a canvas), canvas ('1' when
--         something follows the run), node, project, name, labels (JSON), timeout_s, dispatch_queue, delay_s | at (wall),
--         expires_s, idem, retry_of, root (the first run of its canvas), lost_after_s, rerun_lost ('1': an attempt that was
--         lost is run again), most_named (how many of its name may run), meta_key, actor, home_node (where its outputs are wanted),
--         pool (the queue it would wait in, had not the fleet pinned it to the only node that can take it),
--         schedule (the name of the one it is of), slot
-- schedule: the one run is for a slot of this schedule. It is noted there in the same step, or nothing happens: by the slot's
--         key a run that was made for it before counts, also if its spec was another one.
-- answer: [{id, state, new} | {id, conflict = true}]; with a schedule also {said = 'moved' | 'safe'}
local now, at = tick()
if A.schedule then
  if guarded(now) then return '{"said":"safe"}' end
  if schedule_moved(A.schedule.name, A.schedule.before) then return '{"said":"moved"}' end
end
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
if A.schedule then
  local after = string.gsub(A.schedule.after, '@RUN@', (string.gsub(said[1].id, '%%', '%%%%')))
  redis.call('HSET', key('slots'), A.schedule.name, after)
end
if conflict then
  for _, one in ipairs(said) do one.new = false end
  return cjson.encode(said)
end

local by_moment, by_name, counts, queues, lines = {}, {}, {}, {}, {}

local function write(r, state)
  local fields = {'state', state, 'spec', r.spec, 'print', r.print, 'queue', r.queue, 'timeout_s', r.timeout_s,
    'lost_after_s', r.lost_after_s, 'rerun_lost', r.rerun_lost, 'submitted_at', num(at), 'attempt', 0}
  for _, name in ipairs({'node', 'project', 'name', 'most_named', 'labels', 'shown', 'hint', 'canvas', 'dispatch_queue',
    'idem', 'retry_of', 'root', 'home_node', 'pool', 'schedule', 'slot'}) do
    if r[name] then fields[#fields + 1] = name; fields[#fields + 1] = r[name] end
  end
  if r.moment then fields[#fields + 1] = 'not_before'; fields[#fields + 1] = num(r.moment) end
  if r.expires_s then
    fields[#fields + 1] = 'expires_due'; fields[#fields + 1] = num(now + r.expires_s)
    look_at(r.id, now + r.expires_s)
  end
  if not r.later then fields[#fields + 1] = 'line'; fields[#fields + 1] = r.number end
  if r.in_line then fields[#fields + 1] = 'in_line'; fields[#fields + 1] = r.in_line end
  put(r.id, unpack(fields))
end

-- A gate in front of its lane may be shut for this one.
local function is_gated(r) return r.most_named or (r.name and redis.call('EXISTS', key('lines', 'name:' .. r.name)) == 1) end

-- Most runs of a large call find their lane shut: those are put into its line all at once.
local function stands(r, queue)
  local line = 'lane:' .. (r.project or '') .. '@' .. queue
  if not lines[line] or is_gated(r) then return false end
  r.in_line = line
  local members = lines[line]
  members[#members + 1] = r.number
  members[#members + 1] = r.id
  return true
end

local function admit_first(r, queue)
  admit(r.id, queue, now)
  local lane = {what = 'lane:' .. (r.project or '')}
  lane.line = lane.what .. '@' .. queue
  if not lines[lane.line] and not is_open(lane) then lines[lane.line] = {} end
end

local stamp = num(now)
-- Safe mode must outlast every lease that may have been given.
local longest = tonumber(redis.call('HGET', key('epoch'), 'longest')) or 0
for _, one in ipairs(fresh) do longest = math.max(longest, tonumber(one[1].lost_after_s) or 0) end
redis.call('HSET', key('epoch'), 'longest', longest)
local number = redis.call('INCRBY', key('line_number'), #fresh) - #fresh
for _, one in ipairs(fresh) do
  local r, state = one[1], one[2]
  local queue = not r.later and (r.dispatch_queue or r.queue)
  number = number + 1
  r.number = number
  local in_line = queue and stands(r, queue)
  write(r, state)
  redis.call('RPUSH', key('story', r.id), line(at, '', state, r.actor or 'submit', 'submitted', nil))
  if r.idem then redis.call('SET', key('idem', r.idem), r.id) end
  -- A microsecond apart: lists by moment keep the order in which they were handed in.
  by_moment[#by_moment + 1] = num(at + #by_moment / 2 * 1e-6); by_moment[#by_moment + 1] = r.id
  by_name[#by_name + 1] = 0; by_name[#by_name + 1] = r.id
  counts[state] = (counts[state] or 0) + 1
  if r.later then redis.call('ZADD', key('moments'), num(r.moment), r.id) end
  if queue then queues[queue] = true end
  if queue and not in_line then admit_first(r, queue) end
end
if #fresh > 0 then
  total('submitted', #fresh)
  redis.call('ZADD', key('live'), unpack(by_moment))
  redis.call('ZADD', key('recent'), unpack(by_moment))
  redis.call('ZADD', key('ids'), unpack(by_name))
end
for state, n in pairs(counts) do redis.call('HINCRBY', key('counts'), state, n) end
for queue in pairs(queues) do redis.call('ZADD', key('queues'), stamp, queue) end
for line, members in pairs(lines) do
  if #members > 0 then
    redis.call('ZADD', key('line', line), unpack(members))
    redis.call('SADD', key('lines'), line)
    redis.call('SADD', key('lines', gate_of(line)), line)
  end
end
return cjson.encode(said)
