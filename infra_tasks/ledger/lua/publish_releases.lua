-- A node says which releases it holds: all of them. Asked again it changes nothing.
-- node, held (JSON text of a list of {project, digest, ...}, kept as it is)
-- answer: {said = 'ok'}
local function each(text, call)
  for _, one in ipairs(cjson.decode(text)) do redis.call(call, key('holders', one.project, one.digest), A.node) end
end
local before = redis.call('HGET', key('held'), A.node)
if before ~= A.held then
  each(before or '[]', 'SREM')
  each(A.held, 'SADD')
  if A.held == '[]' then redis.call('HDEL', key('held'), A.node) else redis.call('HSET', key('held'), A.node, A.held) end
end
return '{"said":"ok"}'
