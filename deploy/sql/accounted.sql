-- True if the accounting holds each frame that was sent, with no difference. Variable: sent.
select coalesce(bool_and(a.frames = s.frames and a.difference = 0), false)
from (values :sent) as s (sensor, frames)
left join (
  select sensor, sum(frames) as frames, sum(abs(difference)) as difference
  from hirundo.accounting(hirundo.quarter('2023Q1'))
  group by sensor
) a using (sensor);
