-- The heartbeat of a node: renews all its leases, and carries back what the outside wants of each attempt.
-- node, uuid, boot_id, slots, labels (JSON), version, info (JSON), longest_s (longest lost_after_s of its runs),
-- live[]: {run, attempt, claim}, most_running = {project -> how many of its runs may run, 0 for no limit} of all whose source is
-- here
-- answer: {said = 'ok', safe, cordoned, present = the node is asked to present its attempts,
--          attempts = {run@attempt -> {cancel, timeout_s, leased, down = its node is drained, and the deadline has come} | {fenced = true, state} | {unsure = true}},
--          unheld[] = {run, attempt, claim} the ledger thinks this node holds but the node did not name}
--       | {said = 'stranger', uuid}

-- The projects whose source is on this node, and how many runs of each may run: the last word of the one nodes.json that
-- has a say in it.
local function limit_projects(wanted, node, now)
  local before, owners = redis.call('HGETALL', key('most_running')), redis.call('HGETALL', key('most_running:by'))
  local most, owner = {}, {}
  for i = 1, #before, 2 do most[before[i]] = before[i + 1] end
  for i = 1, #owners, 2 do owner[owners[i]] = owners[i + 1] end
  local function limit(project, n)
    if most[project] == n then return end
    if n then redis.call('HSET', key('most_running'), project, n) else redis.call('HDEL', key('most_running'), project) end
    let_all_through('project:' .. project, now)
  end
  for project, name in pairs(owner) do
    if name == node and not wanted[project] then
      redis.call('HDEL', key('most_running:by'), project)
      limit(project, nil)
    end
  end
  for project, n in pairs(wanted) do
    if owner[project] ~= node then redis.call('HSET', key('most_running:by'), project, node) end
    limit(project, n > 0 and tostring(n) or nil)
  end
end

local now, at = tick()
local n = key('node', A.node)
local known = redis.call('HMGET', n, 'uuid', 'cordoned', 'drain_until', 'drain_by')
if known[1] and known[1] ~= A.uuid then return cjson.encode({said = 'stranger', uuid = known[1]}) end
local safe = guarded(now)
-- A new node may be one the ledger has forgotten: it must be heard as well.
if redis.call('SADD', key('nodes'), A.node) == 1 then redis.call('SADD', key('safe'), A.node) end
redis.call('HSET', n, 'uuid', A.uuid, 'boot_id', A.boot_id or '', 'slots', A.slots or '', 'labels', A.labels or '',
  'version', A.version or '', 'info', A.info or '', 'seen_at', num(at), 'seen', num(now))
if A.longest_s and tonumber(redis.call('HGET', key('epoch'), 'longest') or 0) < A.longest_s then
  redis.call('HSET', key('epoch'), 'longest', A.longest_s)
end
if A.most_running then limit_projects(A.most_running, A.node, now) end
local present = redis.call('SISMEMBER', key('safe'), A.node) == 1 or redis.call('SISMEMBER', key('safe'), '*') == 1
local down = (tonumber(known[3] or '') or math.huge) <= now
local attempts, named, mine = {}, {}, {}

-- Told in the story once for each attempt.
local function drained(a, state, told)
  local t = token(a.attempt, a.claim)
  if not down or told == t then return end
  put(a.run, 'drain_told', t)
  event(a.run, at, state, state, known[4] or '', 'asked to stop: the drain of ' .. A.node .. ' has reached its deadline', t)
end

for _, a in ipairs(A.live) do
  local one = a.run .. '@' .. a.attempt
  named[one .. a.claim] = true
  local r = get(a.run, 'state', 'attempt', 'claim', 'cancel', 'timeout_s', 'lease_until', 'lost_after_s', 'dispatch',
    'told', 'drain_told')
  if r[3] == a.claim and tonumber(r[2]) == a.attempt and held(r[1], r[8]) then
    -- Claimed by the scripts of an older version, it has no place of its project and name yet.
    take_slot(a.run, A.node)
    if r[6] ~= '' then
      local till = now + lease_s(r[7], r[9])
      put(a.run, 'lease_until', num(till))
      look_at(a.run, till)
    end
    attempts[one] = {cancel = r[4], timeout_s = tonumber(r[5]), leased = r[6] ~= '', down = down}
    mine[a.run] = true
    drained(a, r[1], r[10])
  elseif r[1] == '' then
    -- Runs are never forgotten while they live: writes were lost, and the node has the record.
    attempts[one] = {unsure = true}
    present = true
  elseif safe or (tonumber(r[2]) or 0) < a.attempt then
    -- The ledger may have forgotten, or the claim is on its way: nobody is told to stop on its word.
    attempts[one] = {unsure = true}
  else
    attempts[one] = {fenced = true, state = r[1]}
  end
end
local unheld = {}
for _, id in ipairs(redis.call('SMEMBERS', key('node', A.node, 'live'))) do
  local r = not mine[id] and get(id, 'attempt', 'claim')
  if r and not named[id .. '@' .. r[1] .. r[2]] then
    unheld[#unheld + 1] = {run = id, attempt = tonumber(r[1]) or 0, claim = r[2]}
  end
end
return cjson.encode({said = 'ok', safe = safe, attempts = attempts, unheld = unheld, present = present, cordoned = known[2] == '1'})
