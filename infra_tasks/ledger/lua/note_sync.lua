-- A line for the sync log. entry (JSON text, kept as it is), most (lines that are kept), nonce
-- answer: {said = 'ok'}
local before = answered()
if before then return before end
redis.call('LPUSH', key('syncs'), num(wall()) .. ' ' .. A.entry)
redis.call('LTRIM', key('syncs'), 0, A.most - 1)
return answer({said = 'ok'})
