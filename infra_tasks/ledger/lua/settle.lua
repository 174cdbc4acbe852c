-- What follows a final run has been done. run
-- answer: {said = 'ok' | 'live'}: a ledger that lost writes may think that the run still goes on; then nothing changes
local state = get(A.run, 'state')[1]
if state ~= '' and not FINAL[state] then return '{"said":"live"}' end
redis.call('ZREM', key('unsettled'), A.run)
redis.call('ZREM', key('due'), A.run)
if state ~= '' then redis.call('HDEL', key('run', A.run), 'hint') end
return '{"said":"ok"}'
