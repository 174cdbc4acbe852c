-- Places nothing new on a node, or does again. node, cordoned, why, actor
local now, at = tick()
redis.call('HSET', key('node', A.node), 'cordoned', A.cordoned and '1' or '', 'cordon_why', A.why or '', 'cordoned_by', A.actor)
fleet_event({at = num(at), kind = A.cordoned and 'cordoned' or 'uncordoned', node = A.node, why = A.why, actor = A.actor})
return '{"said":"ok"}'
