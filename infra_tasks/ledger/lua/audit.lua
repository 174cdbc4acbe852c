-- What the ledger holds of some runs, for the audit: nothing is changed. With neither `runs` nor `most`: the sums of all.
-- runs[] | after (an id), most: the next ones by name; meta_prefix
-- answer: {at, now, rows[] = {id, f = fields by name, listed (by name), recent, live, ended, due, moments, unsettled, slot (in the live set of
--         the node that has the claim), waits (seconds since its hint was pushed, 0 in a line; absent: in no queue), result (state
--         Celery's result names, '' = none), code (exit code the result tells)}}
--       | {at, counts, totals, cards}
local at = wall()
local clock = redis.call('HMGET', key('clock'), 'now', 'seen')
local now = tonumber(clock[1] or 0) + math.max(0, math.min(at - tonumber(clock[2] or at), LARGEST_STEP_S))

local function hash(name)
  local flat, fields = redis.call('HGETALL', key(name)), {}
  for i = 1, #flat, 2 do fields[flat[i]] = tonumber(flat[i + 1]) end
  return fields
end

if not A.runs and not A.most then
  local cards = {}
  for _, index in ipairs({'recent', 'ids', 'live', 'ended'}) do cards[index] = redis.call('ZCARD', key(index)) end
  return cjson.encode({at = at, counts = hash('counts'), totals = hash('totals'), cards = cards})
end

local NAMES = {'state', 'attempt', 'claim', 'claim_node', 'node', 'queue', 'dispatch_queue', 'dispatch', 'lease_until', 'ended_at',
  'submitted_at', 'not_before', 'lapsed', 'in_line'}

local function within(index, id) return redis.call('ZSCORE', key(index), id) and true or false end

local function row(id)
  local values, f = get(id, unpack(NAMES)), {}
  for i, name in ipairs(NAMES) do f[name] = values[i] end
  local said = {id = id, f = f, listed = within('ids', id)}
  for _, index in ipairs({'recent', 'live', 'ended', 'due', 'moments', 'unsettled'}) do said[index] = within(index, id) end
  local pushed = f.queue ~= '' and redis.call('ZSCORE', key('waiting', f.queue), id)
  if not pushed and f.dispatch_queue ~= '' then pushed = redis.call('ZSCORE', key('waiting', f.dispatch_queue), id) end
  if pushed then said.waits = now - tonumber(pushed) end
  -- In a line it needs no hint yet.
  if not pushed and f.in_line ~= '' and redis.call('ZSCORE', key('line', f.in_line), id) then said.waits = 0 end
  said.slot = f.claim_node ~= '' and redis.call('SISMEMBER', key('node', f.claim_node, 'live'), id) == 1
  said.result = string.match(redis.call('GETRANGE', A.meta_prefix .. id, 0, 80), '"status": "(%u+)"') or ''
  if FINAL[f.state] then
    said.code = string.match(string.sub(redis.call('HGET', key('run', id), 'result') or '', 1, 1000), '"exit_code": (%-?%d+)') or ''
  end
  return said
end

local ids = A.runs or redis.call('ZRANGEBYLEX', key('ids'), A.after and '(' .. A.after or '-', '+', 'LIMIT', 0, A.most)
local rows = {}
for i, id in ipairs(ids) do rows[i] = row(id) end
return cjson.encode({at = at, now = now, rows = rows})
